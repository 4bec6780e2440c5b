"""What is to be kept of a task's source picture: its size, and the boxes of the label file beside it.

Rule: what has to be read from files is read once, when the task is done, and kept in the ledger: a source
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

from batcher import errors
from batcher.job.geometry import LabelError, Labels, Size
from batcher.job.labels import label_file, read_label_file
from batcher.ledger.plan_models import present_geometry
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored
from batcher.task import Task

OF_LABELS = frozenset({"boxes", "classes", "polygons", "attributes", "problem"})
"""What is kept of a label file; the rest is of the picture."""
KEEP = "INSERT OR REPLACE INTO source_pictures VALUES (?, ?)"


class SourceFacts:
    """What is to be kept of source pictures; a content that many tasks share is looked at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rule = cache(lambda: present_geometry(connection))
        self._size = lru_cache(maxsize=4096)(self._size_of)
        self._stored = lru_cache(maxsize=4096)(_facts_of_stored)

    def is_stored(self, task: Task) -> bool:
        """Whether its source picture, or the label file of that, lies in a store: `prefetch` reads it."""
        source = self._source(task)
        return source is not None and any(path and is_stored(path) for path in (source.path, source.labels))

    def prefetch(self, task: Task) -> None:
        """Reads what lies in a store, in whatever thread; `of` has it at hand then."""
        source = self._source(task)
        if source is not None:
            self._stored(source)

    def of(self, task: Task) -> str | None:
        """What is to be kept of a task's source picture, as JSON; None where there is nothing to know.

        So it is where the model's geometry is not known, where the source is no file, and where it is gone or
        not the one any more that was sent.
        """
        source = self._source(task)
        if source is None:
            return None
        if self.is_stored(task):
            return self._stored(source)
        try:
            return _facts(self._size(source.path, source.digest), source.labels)
        except (OSError, ValueError, errors.BadDownload):
            return None

    def _source(self, task: Task) -> _Source | None:
        rule = self._rule() if task.media else None
        if rule is None or rule.input not in task.media:
            return None
        path = str(task.params[rule.input])
        return _Source(path, task.media[rule.input], label_file(task.columns, path))

    def _size_of(self, path: str, sha256: str) -> Size:
        """Raises OSError, BadDownload; ValueError when the file is not the one that was planned.

        What the plan noted of the file saves reading all of it again.
        """
        status = os.stat(path)
        planned = self._connection.execute(
            "SELECT sha256 FROM digests WHERE path = ? AND size = ? AND mtime_ns = ?",
            (path, status.st_size, status.st_mtime_ns),
        ).fetchone()
        with open(path, "rb") as file:
            digest = planned[0] if planned is not None else pictures.digest(file)
            if digest != sha256:
                raise ValueError(path)
            file.seek(0)
            return pictures.upright_size(file)


class _Source(NamedTuple):
    """A source picture, the digest that it was planned with, and its label file."""

    path: str
    digest: str
    labels: str | None


def _facts_of_stored(source: _Source) -> str | None:
    try:
        if is_stored(source.path):
            digest = stores.digest(source.path, fresh=True)
        else:
            with open(source.path, "rb") as file:
                digest = pictures.digest(file)
        if digest != source.digest:
            return None
        with stores.open_address(source.path) as file:
            size = pictures.upright_size(file)
        return _facts(size, source.labels)
    except (OSError, errors.UsageError, errors.BadDownload):
        return None


def _facts(size: Size, label_path: str | None) -> str:
    facts: dict[str, Any] = {"width": size[0], "height": size[1]}
    if label_path is not None:
        try:
            facts |= of_labels(read_label_file(label_path, size))
        except LabelError as error:
            facts["problem"] = f"{label_path}: {error}"
    return as_text(facts)


def of_labels(labels: Labels) -> dict[str, Any]:
    """What is kept of the labels of a file."""
    facts: dict[str, Any] = {"boxes": labels.boxes, "classes": labels.classes}
    if labels.polygons is not None:
        facts["polygons"] = labels.polygons
    if labels.attributes is not None:
        facts["attributes"] = labels.attributes
    return facts


def as_text(facts: Mapping[str, Any]) -> str:
    """As the ledger has them."""
    return json.dumps(facts, separators=(",", ":"))
