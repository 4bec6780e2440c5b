"""Where a task's source lies in a delivered picture, and its boxes there.

Law: what has to be read from files is read once, when the task is done, and kept in the ledger: a source
that is moved away, or a label file that changes, does not change what was delivered. Boxes of a column are
the plan's.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, TypeGuard

from batcher import errors, geometry, pictures
from batcher.geometry import Geometry, LabelError, Labels, Size
from batcher.ledger.store import meta
from batcher.task import Task

KEEP = "INSERT OR REPLACE INTO source_pictures VALUES (?, ?)"
LARGEST_LABELS = 1 << 20
"""Bytes of a YOLO text file."""


def geometry_of(connection: sqlite3.Connection) -> Geometry | None:
    """The rule of the job's model: as the run noted it (`geometry`), else that of the shipped catalogue."""
    noted = meta(connection, "geometry")
    if noted is not None:
        return geometry.from_text(noted)
    # Read by every reader of records; the catalogue is wanted only here, for ledgers of an older run.
    from batcher import catalog

    model = catalog.find(meta(connection, "model") or "")
    return None if model is None else model.geometry


class Sources:
    """What is to be kept of source pictures; a content that many tasks share is looked at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rule = cache(lambda: geometry_of(connection))
        self._size = lru_cache(maxsize=4096)(self._size_of)

    def observed(self, task: Task) -> str | None:
        """What is to be kept of a task's source picture, as JSON; None where there is nothing to know.

        So it is where the model's geometry is not known, where the source is no local file, and where it is
        gone or not the one any more that was sent.
        """
        rule = self._rule() if task.media else None
        if rule is None or rule.input not in task.media:
            return None
        path = str(task.params[rule.input])
        try:
            width, height = self._size(path, task.media[rule.input])
        except (OSError, ValueError, errors.BadDownload):
            return None
        facts: dict[str, Any] = {"width": width, "height": height}
        beside = yolo_file(task.columns, path)
        if beside is not None:
            try:
                found = geometry.from_yolo(_text(beside), (width, height))
                facts |= {"boxes": found.boxes, "classes": found.classes}
            except LabelError as error:
                facts["problem"] = f"{beside}: {error}"
        return json.dumps(facts, separators=(",", ":"))

    def _size_of(self, path: str, sha256: str) -> Size:
        """Raises OSError, BadDownload; ValueError when the file is not the one that was planned.

        What the plan noted of the file saves reading all of it again.
        """
        status = os.stat(path)
        noted = self._connection.execute(
            "SELECT sha256 FROM digests WHERE path = ? AND size = ? AND mtime_ns = ?",
            (path, status.st_size, status.st_mtime_ns),
        ).fetchone()
        with open(path, "rb") as file:
            digest = noted[0] if noted is not None else hashlib.file_digest(file, "sha256").hexdigest()
            if digest != sha256:
                raise ValueError(path)
            file.seek(0)
            return pictures.upright_size(file)


def yolo_file(columns: Mapping[str, Any], picture: str) -> str | None:
    """The YOLO text file that the column or companion `labels` names; a relative one lies by its picture."""
    named = columns.get("labels")
    return os.path.join(os.path.dirname(picture), named) if names_file(named) else None


def names_file(value: Any) -> TypeGuard[str]:
    """Whether a `labels` cell is the path of a YOLO text file, and not a label itself."""
    return isinstance(value, str) and value.lower().endswith(".txt") and "\n" not in value


def of_picture(
    rule: Callable[[], Geometry | None],
    facts: str | None,
    columns: Mapping[str, Any],
    params: Mapping[str, Any],
    size: Size,
) -> dict[str, Any]:
    """The keys of a metadata line: `placement`, `boxes` and `box_classes` in pixels of the delivered picture,
    `source_boxes` and `source_box_classes` in those of the source; each where it is known.

    `rule` gives the geometry of the job's model.
    """
    known: dict[str, Any] = {} if facts is None else json.loads(facts)
    told: dict[str, Any] = {}
    placement = None
    source = (known["width"], known["height"]) if known else None
    if source is not None and (found := rule()) is not None:
        placement = geometry.place(found, params, source, size)
    if placement is not None:
        x, y, width, height = placement.x, placement.y, placement.width, placement.height
        told["placement"] = {"x": x, "y": y, "width": width, "height": height}
    try:
        labels = _labels(known, columns)
    except LabelError as error:
        return told | {"labels_problem": str(error)}
    if labels is None:
        return told
    if placement is not None and source is not None:
        told |= _keys("", geometry.carried(labels, source, placement, size))
    return told | _keys("source_", labels)


def _labels(known: Mapping[str, Any], columns: Mapping[str, Any]) -> Labels | None:
    if columns.get("boxes") is not None:
        return geometry.from_columns(columns["boxes"], columns.get("box_classes"))
    if "problem" in known:
        raise LabelError(known["problem"])
    if "boxes" in known:
        return Labels(tuple(map(tuple, known["boxes"])), tuple(known["classes"]))
    return None


def _keys(prefix: str, labels: Labels) -> dict[str, Any]:
    keys: dict[str, Any] = {f"{prefix}boxes": geometry.as_lists(labels)}
    if labels.classes is not None:
        keys[f"{prefix}box_classes"] = list(labels.classes)
    return keys


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_LABELS + 1)
        if len(content) > LARGEST_LABELS:
            raise LabelError("is too large for a label file")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise LabelError(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise LabelError("is not text") from None
    except ValueError as error:
        if isinstance(error, LabelError):
            raise
        raise LabelError("no path has a NUL in it") from None
