"""COCO files of this disk, told from other JSON by their beginning; and what an id in one is.

Rule: only a beginning is read. Which of several files is meant, whoever asks decides.
"""

from __future__ import annotations

import os
import re
from typing import Any

SUFFIX = ".json"
PEEKED = 1 << 16
"""Bytes that are looked at."""
MOST = 20
"""Files of a folder that are looked at; of more, each describes a picture."""
_IMAGES = re.compile(rb'"images"\s*:\s*\[')
_ANNOTATIONS = re.compile(rb'"annotations"\s*:\s*\[')


_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")


def as_id(value: Any) -> int | str | None:
    """An id of a COCO file as it is compared with another: 7, 7.0 and "7" are one, for what was a table in
    between comes back as any of them. None: it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return value if isinstance(value, int | str) else None


def is_coco_file(path: str) -> bool:
    """Whether a file begins as one of COCO."""
    try:
        with open(path, "rb") as file:
            head = file.read(PEEKED)
    except OSError:
        return False
    return _IMAGES.search(head) is not None or (
        _ANNOTATIONS.search(head) is not None and b'"image_id"' in head
    )


def coco_files_in(folder: str) -> list[str]:
    """Those that lie in a folder, in the order of their names."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except OSError:
        return []
    paths = (f"{folder}/{name}" for name in names) if len(names) <= MOST else ()
    return [*filter(is_coco_file, paths)]
