"""The YOLO text file that the column or companion `labels` of a row names.

Rule: whatever is wrong with it is a LabelError, in words.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeGuard

from batcher.job import geometry
from batcher.job.geometry import LabelError, Labels, Size
from batcher.storage import stores
from batcher.storage.addresses import resolve

LARGEST = 1 << 20
"""Bytes of a label file."""


def names_label_file(value: Any) -> TypeGuard[str]:
    """Whether a `labels` cell is the path of a YOLO text file, and not a label itself."""
    return isinstance(value, str) and value.lower().endswith(".txt") and "\n" not in value


def label_file(columns: Mapping[str, Any], picture: str) -> str | None:
    """Where the label file of a row lies; a relative path starts from its picture. None: it names none."""
    named = columns.get("labels")
    return resolve(os.path.dirname(picture), named) if names_label_file(named) else None


def read_label_file(path: str, size: Size, *, points: int = 0) -> Labels:
    """The labels of a picture of `size`, in its pixels; `points` as of `from_yolo`. Raises LabelError."""
    return geometry.from_yolo(_text(path), size, points=points)


def _text(path: str) -> str:
    try:
        content = stores.first_bytes(path, LARGEST + 1)
    except OSError as error:
        raise LabelError(error.strerror or str(error)) from None
    except ValueError:
        raise LabelError("no path has a NUL in it") from None
    if len(content) > LARGEST:
        raise LabelError("is too large for a label file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LabelError("is not text") from None
