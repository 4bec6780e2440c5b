"""Masks as Pascal VOC has them: a palette, and in each pixel the index of a class.

Rule: the indices stay what they are. A mask without a palette gets VOC's own, which changes how it looks.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

VOID = (224, 224, 192)
"""VOC's colour of 255: no class is meant there."""


@dataclass(frozen=True, slots=True)
class VocMask:
    """A PNG; `black_and_white`: it has no other values than 0 and 255, both; `indexed`: its pixels are
    indices of a palette."""

    content: bytes
    black_and_white: bool = False
    indexed: bool = True


def palette() -> list[int]:
    """The 256 colours of VOC's devkit, red, green and blue in turn: bits of the index, three by three from
    its lowest, make the highest bits of each colour."""
    colours = []
    for index in range(256):
        for channel in range(3):
            bits = range(channel, 8, 3)
            colours.append(sum((index >> bit & 1) << (7 - place) for place, bit in enumerate(bits)))
    return colours


def with_palette(content: bytes) -> VocMask:
    """A PNG of indices with its palette. One of 16 bits or of colours stays as it is, for it has no room for
    one."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        if image.mode == "P":
            return VocMask(content)
        if image.mode not in ("1", "L"):
            return VocMask(content, indexed=False)
        grey = image.convert("L")
    coloured = Image.frombytes("P", grey.size, grey.tobytes())
    coloured.putpalette(palette())
    buffer = io.BytesIO()
    coloured.save(buffer, "PNG", bits=8)
    used = {value for value, number in enumerate(grey.histogram()) if number}
    return VocMask(buffer.getvalue(), used == {0, 255})
