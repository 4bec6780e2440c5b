"""Where the data of a JPEG ends, as its own markers say.

Rule: once a decoder meets the end marker it fills what is missing with grey, without a word; so whether the
data reach to the last row is asked here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SOI, EOI, SOS, SOF = 0xD8, 0xD9, 0xDA, frozenset({0xC0, 0xC1, 0xC2})
ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""
PROGRESSIVE = 0xC2
COEFFICIENTS = 64
PADDING = bytes(16)
"""What a decoder may read ahead behind the last block; too little for what a picture lacks that was cut."""

_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""The next marker in compressed data."""


class JpegEnd(NamedTuple):
    """`position` is where the end marker stands; `scans` how many come before it; `is_whole` whether they
    bring every component to its last bit."""

    position: int
    scans: int
    is_whole: bool


def find_end(data: bytes) -> JpegEnd | None:
    """The first picture's end; None where there is none, or where this is not how a JPEG is made."""
    position, scans, progressive = 2, 0, False
    lacking: dict[int, list[int]] = {}
    while True:
        marker = _MARKER.search(data, position)
        if marker is None:
            return None
        kind, position = data[marker.end() - 1], marker.end()
        if kind == EOI:
            missing = progressive and any(left for component in lacking.values() for left in component)
            return JpegEnd(marker.start(), scans, bool(lacking) and bool(scans) and not missing)
        if kind in ALONE or kind == SOI:
            continue
        length = int.from_bytes(data[position : position + 2])
        segment = data[position + 2 : position + length]
        if length < 2 or len(segment) < length - 2:
            return None
        try:
            if kind in SOF:
                progressive = kind == PROGRESSIVE
                lacking = {segment[6 + 3 * n]: [1] * COEFFICIENTS for n in range(segment[5])}
            elif kind == SOS:
                scans += 1
                _bring(segment, lacking)
        except (IndexError, KeyError, ValueError):
            return None
        position += length


def _bring(segment: bytes, lacking: dict[int, list[int]]) -> None:
    """Takes out what a scan brings to its last bit."""
    components = segment[0]
    first, last, approximation = segment[1 + 2 * components : 4 + 2 * components]
    if approximation & 15 == 0:
        for n in range(components):
            lacking[segment[1 + 2 * n]][first : last + 1] = [0] * (last + 1 - first)
