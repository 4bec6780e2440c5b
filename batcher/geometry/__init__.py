"""Where the source picture lies in a model's output, and what becomes of its labels there.

    placing.py   Geometry (a model's rule, as its catalogue file states it), Placement, place()
    boxes.py     Labels: read from columns or YOLO text, carried through a placement

Law: pure, and never a guess. Where the rule does not explain the delivered picture there is no placement.
"""

from batcher.geometry.boxes import LabelError, Labels, as_lists, carried, from_columns, from_yolo, strays
from batcher.geometry.placing import Geometry, Placement, Size, as_text, from_text, place, same_shape

__all__ = [
    "Geometry",
    "LabelError",
    "Labels",
    "Placement",
    "Size",
    "as_lists",
    "as_text",
    "carried",
    "from_columns",
    "from_text",
    "from_yolo",
    "place",
    "same_shape",
    "strays",
]
