"""Where a task's source lies in a delivered picture, and its boxes there, as metadata.jsonl tells it.

Law: of files nothing is read here: what was seen of them is kept in the ledger (`originals.py`). Boxes of a
column are the plan's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from batcher import geometry
from batcher.geometry import Geometry, LabelError, Labels, Size


def names_file(value: Any) -> TypeGuard[str]:
    """Whether a `labels` cell is the path of a YOLO text file, and not a label itself."""
    return isinstance(value, str) and value.lower().endswith(".txt") and "\n" not in value


def of_picture(
    rule: Callable[[], Geometry | None],
    facts: str | None,
    columns: Mapping[str, Any],
    params: Mapping[str, Any],
    size: Size,
) -> dict[str, Any]:
    """The keys of a metadata line: `placement`, `boxes` and `box_classes` in pixels of the delivered picture,
    `source_boxes` and `source_box_classes` in those of the source; each where it is known.

    `rule` gives the geometry of the picture's model.
    """
    known: dict[str, Any] = {} if facts is None else json.loads(facts)
    told: dict[str, Any] = {}
    placement = None
    source = (known["width"], known["height"]) if known else None
    if source is not None and (found := rule()) is not None:
        placement = geometry.place(found, params, source, size)
    if placement is not None:
        x, y, width, height = placement.x, placement.y, placement.width, placement.height
        told["placement"] = {"x": x, "y": y, "width": width, "height": height}
    try:
        labels = _labels(known, columns)
        if labels is not None and source is not None and (stray := geometry.strays(labels, source)):
            raise LabelError(stray)
    except LabelError as error:
        return told | {"labels_problem": str(error)}
    if labels is None:
        return told
    if placement is not None and source is not None:
        told |= _keys("", geometry.carried(labels, source, placement, size))
    return told | _keys("source_", labels)


def _labels(known: Mapping[str, Any], columns: Mapping[str, Any]) -> Labels | None:
    if columns.get("boxes") is not None:
        return geometry.from_columns(columns["boxes"], columns.get("box_classes"))
    if "problem" in known:
        raise LabelError(known["problem"])
    if "boxes" in known:
        return Labels(tuple(map(tuple, known["boxes"])), tuple(known["classes"]))
    return None


def _keys(prefix: str, labels: Labels) -> dict[str, Any]:
    keys: dict[str, Any] = {f"{prefix}boxes": geometry.as_lists(labels)}
    if labels.classes is not None:
        keys[f"{prefix}box_classes"] = list(labels.classes)
    return keys
