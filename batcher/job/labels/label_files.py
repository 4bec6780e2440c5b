"""The label file that the column or companion `labels` of a row names: YOLO text, or an annotation of Pascal
VOC.

Rule: whatever is wrong with it is a LabelError, in words. A file of another form is none, and is refused: it
would be taken, paid for, and carried nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from batcher.job import geometry
from batcher.job.geometry import LabelError, Labels, Size
from batcher.job.labels.voc_layout import ANNOTATIONS, PICTURES
from batcher.storage import stores
from batcher.storage.addresses import resolve

if TYPE_CHECKING:
    from batcher.job.labels.voc_file import VocAnnotation

YOLO, VOC = ".txt", ".xml"
OTHER = (".json", ".jsonl", ".csv", ".yaml", ".yml", ".npy", ".npz", ".mat", ".pkl", ".parquet")
"""Files that may hold labels, and are not read from `labels`."""
LARGEST = 1 << 20
"""Bytes of a YOLO file."""


def names_label_file(value: Any) -> TypeGuard[str]:
    """Whether a `labels` cell is the path of a label file, and not a label itself."""
    return isinstance(value, str) and value.lower().endswith((YOLO, VOC)) and "\n" not in value


def unread_form(value: Any) -> str:
    """What is wrong with a `labels` cell that names a file of another form; empty: it names none."""
    if not isinstance(value, str) or "\n" in value or not value.lower().endswith(OTHER):
        return ""
    return (
        f"{value}: label files are read as YOLO ({YOLO}) or Pascal VOC ({VOC}); "
        "a COCO file or a data.yaml is read by `dataset:`, other labels as columns (`boxes`, `box_classes`)"
    )


def label_file(columns: Mapping[str, Any], picture: str) -> str | None:
    """Where the label file of a row lies; a relative path starts from its picture. None: it names none."""
    named = columns.get("labels")
    return resolve(os.path.dirname(picture), named) if names_label_file(named) else None


def annotation_of(picture: str) -> str | None:
    """Where a folder of Pascal VOC has the annotation of this picture (absolute); None: it lies in none."""
    above, folder = os.path.split(os.path.dirname(picture))
    stem = os.path.splitext(os.path.basename(picture))[0]
    return f"{above}/{ANNOTATIONS}/{stem}{VOC}" if folder == PICTURES else None


def read_label_file(path: str, size: Size, *, points: int = 0) -> Labels:
    """The labels of a picture of `size`, in its pixels; `points` as of `from_yolo`. Raises LabelError."""
    if not path.lower().endswith(VOC):
        return geometry.from_yolo(_text(path), size, points=points)
    return read_annotation(path).labels


def read_annotation(path: str) -> VocAnnotation:
    """An annotation of Pascal VOC. Raises LabelError."""
    from batcher.job.labels.voc_file import read_voc_file  # `batcher status` needs no XML

    try:
        return read_voc_file(path)
    except OSError as error:
        raise LabelError(error.strerror or str(error)) from None
    except ValueError as error:
        raise error if isinstance(error, LabelError) else LabelError("no path has a NUL in it") from None


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
