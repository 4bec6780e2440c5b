"""What a picture looks like, in a few bytes: enough to tell that it is blank, or nearly another one.

Rule: a look is made of what is decoded anyway. A picture of fewer than SMALLEST pixels a side has none: there
is nothing to be seen.
"""

from __future__ import annotations

from typing import IO, Any

CELLS = 16
"""A look begins with a grid of so many grey cells a side, each the mean of what it covers."""
TINTS = 8
"""Then come two grids of so many a side, of its colours: how blue it is, and how red."""
GREYS = CELLS * CELLS
SMALLEST = 16
BLANK_SPREAD = 6
"""Levels of grey (of 255) within which all cells but STRAY lie in a picture of one colour."""
STRAY = 2
STEP = 2
"""Levels between two neighbours from which one is the lighter one: below, compression decides."""
FLIPPED = 3
"""Bits in which two hashes of one picture may differ; there is one band more, so one of them is equal."""
BANDS = FLIPPED + 1
NEAR = 5
"""Levels by which no grey cell of a picture differs from that of another that is nearly equal; colours, of
which compression keeps less, may by twice as much."""
EDGE = 128
"""Pixels of the longer side at which a picture is compared with its source."""
SAME = 3.0
"""Mean levels of difference up to which that is the source again."""


def of_image(image: Any, size: tuple[int, int]) -> bytes:
    """The look of an open Pillow image that is decoded already, perhaps at a fraction of its `size` in
    pixels; empty where it has none."""
    from PIL import Image

    try:
        if min(size) < SMALLEST:
            return b""
        # A mean over whole pixels first: it is the quickest way down.
        factor = max(1, min(image.size) // (4 * CELLS))
        small = image.reduce(factor) if factor > 1 and image.mode in ("L", "RGB", "RGBA", "CMYK") else image
        # What is smaller by whole pixels may end in a part of one.
        scale = factor * max(1, round(size[0] / image.width))
        box = (0, 0, min(size[0] / scale, small.width), min(size[1] / scale, small.height))
        if small.mode not in ("RGB", "RGBA"):
            small = small.convert("L" if small.mode.startswith("I") else "RGB")
        cells = small.convert("RGB").resize((CELLS, CELLS), Image.Resampling.BILINEAR, box)
        grey, blue, red = cells.convert("YCbCr").split()
        tints = (tint.resize((TINTS, TINTS), Image.Resampling.BOX).tobytes() for tint in (blue, red))
        return b"".join((grey.tobytes(), *tints))
    except Exception:  # a picture that decodes is delivered, whatever its mode makes impossible here
        return b""


def is_blank(look: bytes) -> bool:
    """Whether the picture is nearly of one colour; one without a look is not said to be."""
    if not look:
        return False
    return all(
        cells[-1 - STRAY] - cells[STRAY] <= BLANK_SPREAD
        for cells in map(sorted, (look[:GREYS], look[GREYS : GREYS + TINTS**2], look[GREYS + TINTS**2 :]))
    )


def bands(look: bytes) -> tuple[int, ...]:
    """A hash of the look in BANDS numbers of 32 bits: pictures that are nearly equal have one of them in
    common. A bit says whether two cells are darker than the next two; those of a band are spread over it
    all."""
    pairs = [look[at] + look[at + 1] for at in range(0, GREYS, 2)]
    numbers = [0] * BANDS
    for at, pair in enumerate(pairs):
        row, column = divmod(at, CELLS // 2)
        after = pairs[row * (CELLS // 2) + (column + 1) % (CELLS // 2)]
        # Neighbours in a row and in a column belong to different bands.
        band = (at + row) % BANDS
        numbers[band] = numbers[band] << 1 | (after - pair > 2 * STEP)
    return tuple(numbers)


def are_near(one: bytes, other: bytes) -> bool:
    """Whether two looks are of nearly equal pictures."""
    return len(one) == len(other) > 0 and all(
        abs(a - b) <= (NEAR if at < GREYS else 2 * NEAR)
        for at, (a, b) in enumerate(zip(one, other, strict=True))
    )


def unchanged(
    picture: IO[bytes],
    source: IO[bytes],
    mask: IO[bytes] | None,
    placement: tuple[int, int, int, int] | None,
) -> str:
    """In which way the picture is the source again, in words; empty: it is not.

    With a `mask` (white is what was to change) that area alone is compared; where the source lies at
    `placement` (x, y, width, height in pixels of the picture), whether what is around it is of one colour;
    else, and besides, the whole picture with the source cropped to its shape. Raises OSError, and whatever a
    decoder raises.
    """
    from PIL import Image, ImageOps

    with Image.open(picture) as opened:
        width, height = opened.size
        if min(width, height) < SMALLEST:
            return ""
        scale = min(1.0, EDGE / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        seen = opened.convert("L").resize(size, Image.Resampling.BOX)
    if placement is not None and _is_empty_around(seen, [round(edge * scale) for edge in placement]):
        return "the new area is empty"

    def fitted(file: IO[bytes]) -> Any:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("L")
            return ImageOps.fit(upright, size, Image.Resampling.BOX)

    known = fitted(source).tobytes()
    wanted = fitted(mask).tobytes() if mask is not None else b"\xff" * len(known)
    pairs = [abs(a - b) for a, b, white in zip(seen.tobytes(), known, wanted, strict=True) if white > 127]
    if not pairs or sum(pairs) / len(pairs) > SAME:
        return ""
    return "the source again" if mask is None else "nothing changed under the mask"


def _is_empty_around(seen: Any, placement: list[int]) -> bool:
    """Whether what lies around the source is of one colour; False where nothing does."""
    x, y, width, height = placement
    pixels, across = seen.tobytes(), seen.width
    around = sorted(
        level
        for at, level in enumerate(pixels)
        # A pixel of the seam belongs to nobody.
        if not (x - 1 <= at % across <= x + width and y - 1 <= at // across <= y + height)
    )
    if len(around) * 50 < len(pixels):
        return False
    stray = len(around) // 100
    return bool(around[-1 - stray] - around[stray] <= BLANK_SPREAD)
