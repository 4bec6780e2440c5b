"""Run-length masks as COCO writes them: read, written, carried to where the source lies in the output.

Rule: what is read adds up to its size, or is an error; what is written is COCO's compressed form. A mask is
moved pixel by pixel, by the nearest neighbour, as Pillow does it (exactly, where its rounding decides).

Form: COCO's mask API (`maskApi.c`, rleToString): runs of 0 and 1 in turn, beginning with 0, column by column;
from the fourth on each as its difference to the last but one; five bits a character, from `0` on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from batcher.job.geometry.placement import Placement, Size

MOST_PIXELS = 1 << 30
"""No picture that is read here has more."""
LONGEST = 12
"""Characters of one number: sixty bits."""


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask of so many pixels: `counts` are its runs, of 0 and 1 in turn, down the columns."""

    height: int
    width: int
    counts: tuple[int, ...]


def from_json(value: Any) -> Rle:
    """The mask of `{"size": [height, width], "counts": "..." or [...]}`. Raises ValueError with what is
    wrong."""
    size = value.get("size") if isinstance(value, dict) else None
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int for side in size)):
        raise ValueError("its RLE has no `size: [height, width]`")
    height, width = size
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise ValueError(f"its RLE has the size {str(list(size))[:60]}")
    counts = value.get("counts")
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    if isinstance(counts, str):
        counts = _unpacked(counts)
    if not isinstance(counts, list | tuple) or not all(type(one) is int and one >= 0 for one in counts):
        raise ValueError("its RLE has `counts` that are none")
    if sum(counts) != height * width:
        raise ValueError(f"its RLE has runs of {sum(counts)} pixels, and is to have {width} x {height}")
    return Rle(height, width, tuple(counts))


def as_json(rle: Rle) -> dict[str, Any]:
    """COCO's compressed form."""
    return {"size": [rle.height, rle.width], "counts": _packed(rle.counts)}


def area(rle: Rle) -> int:
    """Pixels of the mask."""
    return sum(rle.counts[1::2])


def bounds(rle: Rle) -> tuple[int, int, int, int] | None:
    """x, y, width and height of what it covers; None: nothing. Run by run, whatever size it claims."""
    left, top, right, bottom = rle.width, rle.height, 0, 0
    place = 0
    for number, count in enumerate(rle.counts):
        if number % 2 and count:
            (first, row), (last, end) = divmod(place, rle.height), divmod(place + count - 1, rle.height)
            left, right = min(left, first), max(right, last + 1)
            # A run that goes on in the next column has the end of one and the beginning of the other.
            top = 0 if last > first else min(top, row)
            bottom = rle.height if last > first else max(bottom, end + 1)
        place += count
    return (left, top, right - left, bottom - top) if right else None


def carried(rle: Rle, placement: Placement, output: Size) -> Rle | None:
    """The mask of the source in pixels of the output; None where nothing of it is seen there."""
    covered = columns(rle)
    height = output[1]
    runs: list[tuple[int, int]] = []
    for x in range(max(0, placement.x), min(output[0], placement.x + placement.width)):
        source = (2 * (x - placement.x) + 1) * rle.width // (2 * placement.width)
        for first, end in covered.get(source, ()):
            top = max(0, placement.y + _moved(first, rle.height, placement.height))
            bottom = min(height, placement.y + _moved(end, rle.height, placement.height))
            if bottom > top:
                runs.append((x * height + top, x * height + bottom))
    return Rle(height, output[0], tuple(_counts(runs, height * output[0]))) if runs else None


def _moved(edge: int, source: int, placed: int) -> int:
    """The first pixel of the placed side whose centre lies at or behind this edge of the source."""
    return -((source - 2 * edge * placed) // (2 * source))


def columns(rle: Rle) -> dict[int, list[tuple[int, int]]]:
    """The runs of 1 by their column: from which row to before which."""
    found: dict[int, list[tuple[int, int]]] = {}
    place = 0
    for number, count in enumerate(rle.counts):
        end = place + count
        while number % 2 and place < end:
            column, first = divmod(place, rle.height)
            last = min(end, (column + 1) * rle.height)
            found.setdefault(column, []).append((first, first + last - place))
            place = last
        place = end
    return found


def _counts(runs: Sequence[tuple[int, int]], total: int) -> Iterator[int]:
    """Runs of 0 and 1 in turn, of those of 1 in their order; what touches is one."""
    place, began = 0, runs[0][0]
    end = began
    for first, last in runs:
        if first != end:
            yield began - place
            yield end - began
            place, began = end, first
        end = last
    yield began - place
    yield end - began
    if end < total:
        yield total - end


def _packed(counts: Sequence[int]) -> str:
    text = bytearray()
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text.append(48 + (bits | 0x20 if more else bits))
    return text.decode("ascii")


def _unpacked(text: str) -> list[int]:
    counts: list[int] = []
    value = length = 0
    for sign in text:
        bits = ord(sign) - 48
        if not 0 <= bits < 64 or length >= LONGEST:
            raise ValueError("its RLE has `counts` that are none")
        value |= (bits & 0x1F) << 5 * length
        length += 1
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << 5 * length
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = length = 0
    if length:
        raise ValueError("its RLE ends in the middle of a number")
    return counts
