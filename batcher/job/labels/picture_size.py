"""Whether a picture has the size that its labels say it has.

Rule: labels in pixels belong to a picture of one size. Of another one they are wrong without looking so.
"""

from __future__ import annotations

from typing import Any

from batcher import errors
from batcher.storage import pictures
from batcher.storage.addresses import is_stored

FARTHEST = 1_000_000
"""Pixels of a side; what says more says nothing."""


def of_another_size(path: str, width: Any, height: Any) -> str:
    """That the picture at `path` has another size than its labels were made for, in words; empty: it has not,
    or nobody can say. Who scaled the pictures of a set may have left its boxes as they were, and who counted
    before an EXIF orientation has them in another frame. What is wrong with the picture itself is told where
    it is sent."""
    known = [int(one) for one in (width, height) if type(one) in (int, float) and 1 <= one < FARTHEST]
    if len(known) != 2 or is_stored(path):
        return ""
    try:
        with open(path, "rb") as file:
            across, down = pictures.upright_size(file)
    except (OSError, errors.BadDownload):
        return ""
    if known == [across, down]:
        return ""
    turned = ", upright by its EXIF orientation," if known == [down, across] else ""
    return (
        f"its labels are of a picture of {known[0]} x {known[1]} pixels, and it has{turned} {across} x {down}"
    )
