"""The outlines of a run-length mask, for forms that have no other word for it.

Rule: an outline goes along the edges of the pixels, so that it encloses exactly these; holes are no outlines.
"""

from __future__ import annotations

from itertools import pairwise

from batcher.job.geometry import polygons
from batcher.job.geometry.polygons import Polygon
from batcher.job.geometry.rle import Rle, columns

Corner = tuple[int, int]
_NEAREST = 128
"""Corners of an outline that are looked at where two are joined."""


def outlines(rle: Rle) -> tuple[Polygon, ...]:
    """What each connected part of the mask is enclosed by; clockwise, in pixels."""
    onward = _edges(rle)
    found: list[Polygon] = []
    while onward:
        start = min(onward)
        corners = _walk(onward, start)
        if _signed(corners) > 0:  # the other way round it encloses a hole
            found.append(tuple(float(part) for corner in _turns(corners) for part in corner))
    return tuple(found)


def joined(parts: tuple[Polygon, ...]) -> Polygon:
    """Several outlines of one object as one, along a line there and back between nearest corners; as
    ultralytics joins them. It encloses what they do."""
    whole = polygons.corners(parts[0])
    for part in parts[1:]:
        other = polygons.corners(part)
        here, there = _nearest(whole, other)
        whole = [*whole[: here + 1], *other[there:], *other[: there + 1], *whole[here:]]
    return tuple(value for corner in whole for value in corner)


def _edges(rle: Rle) -> dict[Corner, list[Corner]]:
    """From each corner to the next, with the mask on the right hand."""
    onward: dict[Corner, list[Corner]] = {}
    by_column = columns(rle)
    for x, runs in by_column.items():
        for top, bottom in runs:
            onward.setdefault((x, top), []).append((x + 1, top))
            onward.setdefault((x + 1, bottom), []).append((x, bottom))
    for x in {*by_column, *(x + 1 for x in by_column)}:
        before, after = by_column.get(x - 1, []), by_column.get(x, [])
        rows = sorted({row for runs in (before, after) for run in runs for row in run})
        for top, bottom in pairwise(rows):
            left, right = (any(one <= top < end for one, end in runs) for runs in (before, after))
            if left and not right:
                onward.setdefault((x, top), []).append((x, bottom))
            elif right and not left:
                onward.setdefault((x, bottom), []).append((x, top))
    return onward


def _walk(onward: dict[Corner, list[Corner]], start: Corner) -> list[Corner]:
    """One way round, which is taken away; where two ways go on, the one to the right."""
    corners, here = [start], start
    before: Corner | None = None
    while True:
        ways = onward[here]
        there = ways[0] if before is None else max(ways, key=lambda way: _right(before, here, way))
        ways.remove(there)
        if not ways:
            del onward[here]
        if there == start:
            return corners
        corners.append(there)
        before, here = here, there


def _right(before: Corner | None, here: Corner, there: Corner) -> int:
    """1 for a turn to the right, -1 for one to the left."""
    assert before is not None
    turn = (here[0] - before[0]) * (there[1] - here[1]) - (here[1] - before[1]) * (there[0] - here[0])
    return (turn > 0) - (turn < 0)


def _turns(corners: list[Corner]) -> list[Corner]:
    """The corners at which it turns."""
    return [
        corner
        for before, corner, after in zip(
            [corners[-1], *corners], corners, [*corners[1:], corners[0]], strict=False
        )
        if _right(before, corner, after)
    ]


def _signed(corners: list[Corner]) -> int:
    return sum(one[0] * other[1] - other[0] * one[1] for one, other in pairwise([*corners, corners[0]]))


def _nearest(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> tuple[int, int]:
    """The places of two corners that are near each other."""
    here = range(0, len(one), max(1, len(one) // _NEAREST))
    there = range(0, len(other), max(1, len(other) // _NEAREST))
    return min(
        ((a, b) for a in here for b in there),
        key=lambda pair: (
            (one[pair[0]][0] - other[pair[1]][0]) ** 2 + (one[pair[0]][1] - other[pair[1]][1]) ** 2
        ),
    )
