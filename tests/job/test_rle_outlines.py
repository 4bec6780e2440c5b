"""Outlines of run-length masks: they enclose the pixels of the mask, and nothing else but its holes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batcher.job.geometry import polygons, rle
from batcher.job.geometry.rle_outlines import joined, outlines

GRIDS = st.integers(1, 7).flatmap(
    lambda height: st.lists(st.lists(st.booleans(), min_size=height, max_size=height), min_size=1, max_size=7)
)
"""Columns of pixels."""


def mask_of(grid: list[list[bool]]) -> rle.Rle:
    counts, last = [0], False
    for column in grid:
        for value in column:
            if value != last:
                counts.append(0)
                last = value
            counts[-1] += 1
    return rle.Rle(len(grid[0]), len(grid), tuple(counts))


def inside(polygon: polygons.Polygon, x: float, y: float) -> bool:
    """Whether a point lies in it, by the edges that a ray to the right crosses."""
    corners = polygons.corners(polygon)
    crossed = 0
    for one, other in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (one[1] > y) != (other[1] > y):
            crossed += one[0] + (y - one[1]) / (other[1] - one[1]) * (other[0] - one[0]) > x
    return crossed % 2 == 1


def without_holes(grid: list[list[bool]]) -> list[list[bool]]:
    """What cannot be reached from beyond the edges is of the mask; corners are no way through."""
    width, height = len(grid), len(grid[0])
    outside, waiting = set(), [(-1, -1)]
    while waiting:
        x, y = waiting.pop()
        if (x, y) in outside or not (-1 <= x <= width and -1 <= y <= height):
            continue
        if 0 <= x < width and 0 <= y < height and grid[x][y]:
            continue
        outside.add((x, y))
        waiting += [(x + a, y + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    return [[(x, y) not in outside for y in range(height)] for x in range(width)]


@given(GRIDS)
def test_outlines_enclose_the_mask_and_its_holes(grid: list[list[bool]]) -> None:
    found = outlines(mask_of(grid))
    wanted = without_holes(grid)
    for x in range(len(grid)):
        for y in range(len(grid[0])):
            seen = any(inside(polygon, x + 0.5, y + 0.5) for polygon in found)
            assert seen == wanted[x][y], (x, y, found)


@given(GRIDS)
def test_joined_outlines_enclose_what_they_did(grid: list[list[bool]]) -> None:
    found = outlines(mask_of(grid))
    if not found:
        return
    whole = joined(found)
    for x in range(len(grid)):
        for y in range(len(grid[0])):
            apart = sum(inside(polygon, x + 0.49, y + 0.51) for polygon in found)
            assert inside(whole, x + 0.49, y + 0.51) == (apart % 2 == 1)


def test_a_rectangle_has_four_corners() -> None:
    grid = [[False] * 5, [False, True, True, True, False], [False, True, True, True, False]]
    assert outlines(mask_of(grid)) == ((1, 1, 3, 1, 3, 4, 1, 4),)
