"""Where the source picture lies in a model's output, and what becomes of its labels there.

    placement.py     Geometry (a model's rule, as its catalogue file states it), Placement, place()
    boxes.py         Labels, and the columns they stand in; carried through a placement
    polygons.py      the outlines of objects
    rle.py           their masks, as COCO's runs
    rle_outlines.py  the outlines of these
    yolo_rows.py     Labels from YOLO text

Rule: pure, and never a guess. Where the rule does not explain the delivered picture there is no placement.
"""

from batcher.job.geometry.boxes import (
    LABEL_COLUMNS,
    LabelError,
    Labels,
    are_objects,
    as_columns,
    carry,
    from_columns,
    from_row,
    misfit,
)
from batcher.job.geometry.placement import (
    Geometry,
    Placement,
    Size,
    as_text,
    asked_size,
    from_text,
    place,
    same_shape,
)
from batcher.job.geometry.yolo_rows import from_yolo

__all__ = [
    "LABEL_COLUMNS",
    "Geometry",
    "LabelError",
    "Labels",
    "Placement",
    "Size",
    "are_objects",
    "as_columns",
    "as_text",
    "asked_size",
    "carry",
    "from_columns",
    "from_row",
    "from_text",
    "from_yolo",
    "misfit",
    "place",
    "same_shape",
]
