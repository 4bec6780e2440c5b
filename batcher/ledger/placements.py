"""Where a task's source lies in a delivered picture, and its boxes there, as metadata.jsonl tells it.

Rule: of files nothing is read here: what was seen of them is kept in the ledger (`source_facts.py`). Boxes of
a column are the plan's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from batcher.job import geometry
from batcher.job.geometry import Geometry, LabelError, Labels, Size


def of_picture(
    rule: Callable[[], Geometry | None],
    facts: str | None,
    columns: Mapping[str, Any],
    params: Mapping[str, Any],
    size: Size,
) -> dict[str, Any]:
    """The keys of a metadata line: `placement`, and `boxes` with the other columns of labels in pixels of the
    delivered picture, `source_boxes` and so on in those of the source; each where it is known.

    `rule` gives the geometry of the picture's model.
    """
    recorded: dict[str, Any] = {} if facts is None else json.loads(facts)
    line: dict[str, Any] = {}
    placement = None
    source = (recorded["width"], recorded["height"]) if recorded else None
    if source is not None and (model_geometry := rule()) is not None:
        placement = geometry.place(model_geometry, params, source, size)
    if placement is not None:
        x, y, width, height = placement.x, placement.y, placement.width, placement.height
        line["placement"] = {"x": x, "y": y, "width": width, "height": height}
    try:
        labels = _labels(recorded, columns)
        if labels is not None and source is not None and (stray := geometry.misfit(labels, source)):
            raise LabelError(stray)
    except LabelError as error:
        return line | {"labels_problem": str(error)}
    if labels is None:
        return line
    if placement is not None and source is not None:
        line |= geometry.as_columns(geometry.carry(labels, source, placement, size))
    return line | geometry.as_columns(labels, "source_")


def _labels(recorded: Mapping[str, Any], columns: Mapping[str, Any]) -> Labels | None:
    labels = geometry.from_row(columns)
    if labels is not None:
        return labels
    if "problem" in recorded:
        raise LabelError(recorded["problem"])
    if "boxes" in recorded:
        outlines = recorded.get("polygons")
        return geometry.from_columns(
            recorded["boxes"], recorded["classes"], outlines, attributes=recorded.get("attributes")
        )
    return None
