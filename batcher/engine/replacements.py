"""Replacements of rejected pictures, as one run makes them: at its start, after a check rejected something,
and after `batcher reject --redo` beside it.

Rule: which cell is due for one is decided by the ledger's rule (`ledger/replacement_cells.py`), what it sends
by the manifest's (`job/plan/redraw.py`). A replacement is planned in the transaction of its rejection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence

from batcher import errors
from batcher.engine import uploads
from batcher.engine.file_digests import file_digest
from batcher.job import catalog
from batcher.job.diagnostics import Diagnostics, Warn
from batcher.job.inputs import InputsContext
from batcher.job.manifest import Manifest
from batcher.job.manifest.draws import draws
from batcher.job.plan import PlanContext
from batcher.job.plan.redraw import CannotRedraw, Redraw
from batcher.ledger import plan_replacements
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.ledger.plan_caches import DigestCache
from batcher.ledger.replacement_cells import DRAWS
from batcher.task import Task

DRAWS_NOTHING = "the params of this job draw nothing, and another try would buy the same picture"


class ReplacementDraws:
    """Draws the replacements of a job, and tells once where there can be none."""

    def __init__(self, manifest: Manifest, connection: sqlite3.Connection, warn: Warn) -> None:
        self._manifest = manifest
        self._connection = connection
        self._warn = warn
        self._model = catalog.find(manifest.model, manifest.folder)
        self._redraw: Redraw | None = None
        self._warned: set[str] = set()
        self._impossible: set[tuple[str, int]] = set()
        self.possible = draws(manifest.params, self._model, seeded=manifest.seed is not None)

    def __call__(self, first: Task, rejected: Sequence[Task], redo: int) -> Task | None:
        """As `ledger.plan_replacements.Redraw` says."""
        if (first.key, redo) in self._impossible:
            return None  # its cell asks again at every look
        try:
            if not self.possible:
                raise CannotRedraw(DRAWS_NOTHING)
            self._redraw = self._redraw or self._prepared()
            return self._redraw.of(first, rejected, redo)
        except (CannotRedraw, OSError, errors.BatcherError) as error:
            if isinstance(error, CannotRedraw):
                self._impossible.add((first.key, redo))
            if first.key not in self._warned:
                self._warned.add(first.key)
                self._warn(f"{first.name} was rejected and is not made anew: {error}")
            return None

    def _prepared(self) -> Redraw:
        """Only a job that rejects something needs it."""
        context = InputsContext(self._manifest, Diagnostics(str(self._manifest.path), warn=self._warn))
        digests = DigestCache(self._connection, uploads.check_whole)
        plan_context = PlanContext(
            digest=file_digest(digests), duplicates=lambda identity: 0, read_size=context.read_size
        )
        return Redraw(self._manifest, self._model, plan_context)


def plan_due(
    connection: sqlite3.Connection, manifest: Manifest, plan: int, warn: Warn, *, anew: bool = True
) -> None:
    """What is due in the plan of this number is planned, inside the transaction that is open; what was sent
    for earlier ones belongs to the plan as their cells do."""
    plan_replacements.follow_plan(connection, plan)
    plan_replacements.replace(
        connection, plan, manifest.redo, ReplacementDraws(manifest, connection, warn), anew=anew
    )


class Replacements:
    """The replacements of one run; `planned` hears which tasks are new."""

    def __init__(
        self, manifest: Manifest, ledger: Ledger, warn: Warn, planned: Callable[[Collection[int]], None]
    ) -> None:
        self._ledger = ledger
        self._most = manifest.redo
        self._redraws = ReplacementDraws(manifest, ledger.connection, warn)
        self._planned = planned

    def after(self, rejected: TaskEntry) -> None:
        """A check has just rejected a task: what takes its place is planned beside that, before anything is
        awaited."""
        if self._most and (tasks := self._ledger.replace_one(rejected, self._most, self._redraws)):
            self._planned(tasks)

    def plan_requested(self) -> None:
        """Another process wrote: what a person asked for is planned."""
        if tasks := self._ledger.replace_rejected(self._most, self._redraws):
            self._planned(tasks)


def plan_at_start(manifest: Manifest, ledger: Ledger, warn: Warn) -> None:
    """At a run's start: what is due is planned, whatever kept an earlier process from it."""
    redraws = ReplacementDraws(manifest, ledger.connection, warn)
    ledger.set_meta(DRAWS, "1" if redraws.possible else "0")
    ledger.replace_rejected(manifest.redo, redraws)
