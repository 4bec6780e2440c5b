"""`only: new` on a source: a row whose picture has a delivered result is left alone, however the manifest was
edited since.

Rule: a picture is known by its content, a row without one by its values. What the ledger has of a task itself
(its key) counts first, so that a night that was cut off goes on.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batcher.engine.manifest_edit import RUN_PLAN
from batcher.job.diagnostics import Warn
from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import compile_template
from batcher.job.manifest.variables import columns_of
from batcher.job.row import PLAN_VARIABLES
from batcher.job.yaml_document import texts
from batcher.ledger import database
from batcher.progress.summary import several
from batcher.task import Task

DELIVERED = "SELECT columns, media FROM tasks WHERE state IN ('done', 'rejected')"
KNOWN = "SELECT 1 FROM tasks WHERE key = ? AND (state <> 'planned' OR plan <= ?)"


class OnlyNew:
    """What a ledger has delivered, as the rows of a manifest's sources see it."""

    def __init__(self, manifest: Manifest, ledger: sqlite3.Connection | None) -> None:
        self._ledger = ledger
        self._run_plan = int((ledger and database.meta(ledger, RUN_PLAN)) or 0)
        self._columns = [_OwnColumns(manifest, index) for index in _only_new(manifest)]
        self._digests: set[str] = set()
        self._values: set[str] = set()
        for columns, media in ledger.execute(DELIVERED) if ledger is not None and self._columns else ():
            digests = json.loads(media).values()
            self._digests.update(digests)
            values = json.loads(columns)
            self._values.update(own.values(values) for own in self._columns)

    def tasks(self, tasks: Iterable[Task], warn: Warn) -> Iterable[Task]:
        """Those that are to be made; how many are left alone is told at the end."""
        return self._to_be_made(tasks, warn) if self._digests or self._values else tasks

    def _to_be_made(self, tasks: Iterable[Task], warn: Warn) -> Iterator[Task]:
        left_alone = 0
        for task in tasks:
            if self._is_left_alone(task):
                left_alone += 1
            else:
                yield task
        if left_alone:
            these = several(left_alone, "task is", "tasks are")
            warn(f"`only: new`: {these} left alone, for a picture of the same source is delivered")

    def _is_left_alone(self, task: Task) -> bool:
        if not any(self._is_delivered(task, own) for own in self._columns):
            return False
        assert self._ledger is not None
        return self._ledger.execute(KNOWN, (task.key, self._run_plan)).fetchone() is None

    def _is_delivered(self, task: Task, own: _OwnColumns) -> bool:
        pictures = [digest for place, digest in task.media.items() if own.names(place)]
        if pictures:
            return all(digest in self._digests for digest in pictures)
        return own.values(task.columns) in self._values


class _OwnColumns:
    """The columns that one source brings, and the parameters that are made of them."""

    def __init__(self, manifest: Manifest, index: int) -> None:
        sources = [
            {source.kind.KEY: source.value, "companions": source.companions} for source in manifest.inputs
        ]
        known = [columns_of(source) for source in sources]
        self._known = known[index]
        others = (names or () for place, names in enumerate(known) if place != index)
        included = (name for entry in manifest.matrix.include for name in entry)
        self._foreign = {*PLAN_VARIABLES, *manifest.matrix.axes, *included}.union(*others)
        self._params = {
            name: variables for name, value in manifest.params.items() if (variables := _variables(value))
        }

    def _is_own(self, column: str) -> bool:
        return column in self._known if self._known is not None else column not in self._foreign

    def names(self, place: str) -> bool:
        """Whether the picture at this place of the body (`image`, `images.0`) comes from the source."""
        return any(map(self._is_own, self._params.get(place.partition(".")[0], ())))

    def values(self, columns: Mapping[str, Any]) -> str:
        """The source's own values among these, as one text."""
        own = {name: value for name, value in columns.items() if self._is_own(name)}
        return json.dumps(own, sort_keys=True, ensure_ascii=False)


def _only_new(manifest: Manifest) -> list[int]:
    return [index for index, source in enumerate(manifest.inputs) if source.only == "new"]


def _variables(value: Any) -> frozenset[str]:
    found = (compile_template(text).variables for _, text in texts(value, ()))
    return frozenset().union(*found)
