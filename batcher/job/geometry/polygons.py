"""Outlines of objects as COCO and YOLO write them: read, and carried to where the source lies in the output.

Rule: an outline is clipped to what is seen of the source; one that encloses nothing there is none any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

Polygon = tuple[float, ...]
"""x and y of its corners in turn, in pixels."""
Edges = tuple[float, float, float, float]
"""Left, top, right, bottom."""

FARTHEST = 1e9
"""No picture has a pixel there; and neither infinity nor NaN is nearer."""


def from_json(value: Any) -> tuple[Polygon, ...]:
    """The outlines of one object, `[[x1, y1, x2, y2, ...], ...]`; what has not three corners encloses
    nothing, and is left out. Raises ValueError with what is wrong."""
    if not isinstance(value, list | tuple):
        raise ValueError("its outline is no list of [x1, y1, x2, y2, ...]")
    if value and all(_is_number(part) for part in value):
        value = [value]  # one outline that is not in a list
    for part in value:
        if not isinstance(part, list | tuple) or len(part) % 2 or not all(map(_is_number, part)):
            raise ValueError("its outline is not [x1, y1, x2, y2, ...]")
    return tuple(tuple(map(float, part)) for part in value if len(part) >= 6)


def as_json(polygons: Sequence[Polygon]) -> list[list[float]]:
    """The outlines as JSON has them, to a hundredth of a pixel."""
    return [[round(part, 2) for part in polygon] for polygon in polygons]


def area(polygons: Sequence[Polygon]) -> float:
    """Square pixels that the outlines enclose."""
    return sum(_area(corners(polygon)) for polygon in polygons)


def bounds(polygons: Sequence[Polygon]) -> tuple[float, float, float, float]:
    """x, y, width and height of what lies in the outlines, of which there is one at least."""
    across = [x for polygon in polygons for x in polygon[::2]]
    down = [y for polygon in polygons for y in polygon[1::2]]
    return min(across), min(down), max(across) - min(across), max(down) - min(down)


def moved(polygon: Polygon, scale: tuple[float, float], by: tuple[float, float], visible: Edges) -> Polygon:
    """The outline, scaled, moved and clipped; empty where nothing of it is seen."""
    placed = [(by[0] + x * scale[0], by[1] + y * scale[1]) for x, y in corners(polygon)]
    for place, edge in enumerate(visible):
        placed = _clipped(placed, place % 2, edge, above=place < 2)
    return tuple(part for corner in placed for part in corner) if _area(placed) > 0 else ()


def _clipped(
    corners: list[tuple[float, float]], axis: int, edge: float, *, above: bool
) -> list[tuple[float, float]]:
    """What lies on one side of a straight edge (Sutherland and Hodgman)."""

    def inside(corner: tuple[float, float]) -> bool:
        return corner[axis] >= edge if above else corner[axis] <= edge

    kept: list[tuple[float, float]] = []
    for one, other in pairwise([*corners[-1:], *corners]):
        if inside(one) != inside(other):
            share = (edge - one[axis]) / (other[axis] - one[axis])
            crossing = [one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])]
            crossing[axis] = edge
            kept.append((crossing[0], crossing[1]))
        if inside(other):
            kept.append(other)
    return kept


def corners(polygon: Polygon) -> list[tuple[float, float]]:
    """x and y of each corner."""
    return list(zip(polygon[::2], polygon[1::2], strict=True))


def _area(corners: Sequence[tuple[float, float]]) -> float:
    around = pairwise([*corners, *corners[:1]])
    return abs(sum(one[0] * other[1] - other[0] * one[1] for one, other in around)) / 2


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < FARTHEST
