"""What is to be kept of a task's source picture: its size, and the boxes of the YOLO file beside it.

Law: what has to be read from files is read once, when the task is done, and kept in the ledger: a source
that is moved away, or a label file that changes, does not change what was delivered. What lies in a store is
read away from the loop, just before.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from batcher import errors, geometry, pictures, stores
from batcher.geometry import LabelError, Size
from batcher.ledger.labels import names_file
from batcher.ledger.models import present_geometry
from batcher.plan import is_stored, placed
from batcher.task import Task

KEEP = "INSERT OR REPLACE INTO source_pictures VALUES (?, ?)"
LARGEST_LABELS = 1 << 20
"""Bytes of a YOLO text file."""


class Originals:
    """What is to be kept of source pictures; a content that many tasks share is looked at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rule = cache(lambda: present_geometry(connection))
        self._size = lru_cache(maxsize=4096)(self._size_of)
        self._stored = lru_cache(maxsize=4096)(_facts_of_stored)

    def lies_far(self, task: Task) -> bool:
        """Whether its source picture, or the label file of that, lies in a store: `fetch` reads it."""
        found = self._source(task)
        return found is not None and any(path and is_stored(path) for path in (found.path, found.beside))

    def fetch(self, task: Task) -> None:
        """Reads what lies in a store, in whatever thread; `observed` has it at hand then."""
        found = self._source(task)
        if found is not None:
            self._stored(found)

    def observed(self, task: Task) -> str | None:
        """What is to be kept of a task's source picture, as JSON; None where there is nothing to know.

        So it is where the model's geometry is not known, where the source is no file, and where it is gone or
        not the one any more that was sent.
        """
        found = self._source(task)
        if found is None:
            return None
        if self.lies_far(task):
            return self._stored(found)
        try:
            return _facts(self._size(found.path, found.digest), found.beside)
        except (OSError, ValueError, errors.BadDownload):
            return None

    def _source(self, task: Task) -> _Source | None:
        rule = self._rule() if task.media else None
        if rule is None or rule.input not in task.media:
            return None
        path = str(task.params[rule.input])
        return _Source(path, task.media[rule.input], yolo_file(task.columns, path))

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
            digest = noted[0] if noted is not None else pictures.digest(file)
            if digest != sha256:
                raise ValueError(path)
            file.seek(0)
            return pictures.upright_size(file)


class _Source(NamedTuple):
    """A source picture, the digest that it was planned with, and the label file beside it."""

    path: str
    digest: str
    beside: str | None


def _facts_of_stored(source: _Source) -> str | None:
    try:
        if is_stored(source.path):
            digest = stores.digest(source.path, fresh=True)
        else:
            with open(source.path, "rb") as file:
                digest = pictures.digest(file)
        if digest != source.digest:
            return None
        with stores.opened(source.path) as file:
            size = pictures.upright_size(file)
        return _facts(size, source.beside)
    except (OSError, errors.UsageError, errors.BadDownload):
        return None


def _facts(size: Size, beside: str | None) -> str:
    facts: dict[str, Any] = {"width": size[0], "height": size[1]}
    if beside is not None:
        try:
            found = geometry.from_yolo(_text(beside), size)
            facts |= {"boxes": found.boxes, "classes": found.classes}
        except LabelError as error:
            facts["problem"] = f"{beside}: {error}"
    return json.dumps(facts, separators=(",", ":"))


def unreadable(columns: Mapping[str, Any], picture: str) -> str | None:
    """What is wrong with the labels of a row, in words: boxes that are none, a YOLO file that is missing or
    none. None: nothing. `picture` is where its picture lies."""
    beside = yolo_file(columns, picture)
    try:
        if columns.get("boxes") is not None:
            geometry.from_columns(columns["boxes"], columns.get("box_classes"))
        elif beside is not None:
            geometry.from_yolo(_text(beside), (1, 1))
    except LabelError as error:
        return f"{beside}: {error}" if beside is not None else str(error)
    return None


def astray(columns: Mapping[str, Any], picture: str) -> str | None:
    """Which box of a row, whose boxes can be read, lies outside its picture on this disk."""
    found = geometry.from_columns(columns["boxes"], columns.get("box_classes"))
    try:
        with open(picture, "rb") as file:
            return geometry.strays(found, pictures.upright_size(file)) if found.boxes else None
    except (OSError, errors.BadDownload):
        # What is wrong with the picture itself is told where it is sent.
        return None


def yolo_file(columns: Mapping[str, Any], picture: str) -> str | None:
    """The YOLO text file that the column or companion `labels` names; a relative one lies by its picture."""
    named = columns.get("labels")
    return placed(os.path.dirname(picture), named) if names_file(named) else None


def _text(path: str) -> str:
    try:
        content = stores.content(path, LARGEST_LABELS + 1)
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
