"""The reading half of the open ledger: its running totals, and all that a run asks of it.

Rule: running totals are kept beside the rows and equal a count over them at every moment.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from batcher import errors
from batcher.ledger import database, plan_sample, records, totals
from batcher.ledger.entries import SELECT, SELECT_SUBMISSIONS, OutputFile, Submission, TaskEntry, entries
from batcher.ledger.spending import DailyMoney
from batcher.ledger.totals import Money
from batcher.task import State

NEAR, NEAREST = 500, 50
"""How many submissions around one are looked through, and how many of them are taken."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class LedgerReads:
    """What can be read of one job's ledger.

    `counts`, `calls`, `images` and `money` are running totals, equal to what a count over the rows gives;
    `daily` is the money by day, once `count_days` was called.
    `plan_number` is the present plan's, `run` that of the run that is going on (0: none has begun).
    """

    plan_number: int
    counts: dict[Any, int]
    calls: Counter[str]
    images: int
    money: Money
    daily: DailyMoney | None = None

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self.run = 0
        self._version = self._data_version()
        self._money_before_run = Money()
        self._last_before_run = 0
        self.recount()

    def recount(self) -> None:
        """Counts the running totals from the rows. Raises DiskError, LedgerError, as all that follows."""
        with database.disk_errors(self.path):
            self.plan_number = int(self.meta("plan") or 0)
            self.counts = totals.counts(self.connection)
            self.calls = totals.calls(self.connection)
            self.images = totals.images(self.connection)
            self.money = totals.money(self.connection)
            self._count_before_run()
            if self.daily is not None:
                self.daily.recount()

    def _count_before_run(self) -> None:
        """What the runs before this one have spent and still reserve, and which submission is their last:
        what becomes of theirs from now on is no money of this run."""
        with database.disk_errors(self.path):
            self._money_before_run = totals.money(self.connection, before_run=self.run)
            query = "SELECT coalesce(max(id), 0) FROM submissions WHERE run < ?"
            self._last_before_run = int(self._rows(query, (self.run,))[0][0])

    def count_days(self, since: int) -> DailyMoney:
        """The money of each day from the day `since` on, or from one before it; counted once and kept right
        from then on, and again where a clock that was ahead was set back into an earlier month."""
        if self.daily is None or self.daily.since > since:
            with database.disk_errors(self.path):
                self.daily = DailyMoney(self.connection, since)
        return self.daily

    def __repr__(self) -> str:
        counts = " ".join(f"{state}={n}" for state, n in self.counts.items() if n)
        return f"<{type(self).__name__} {self.path} plan {self.plan_number}: {counts or 'empty'}>"

    def read(
        self,
        query: Callable[Concatenate[sqlite3.Connection, Arguments], Result],
        *args: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """`query` of a module of this package, asked of this ledger: `ledger.read(totals.failures)`."""
        with database.disk_errors(self.path):
            return query(self.connection, *args, **options)

    def meta(self, key: str) -> str | None:
        """A note, or None."""
        return self.read(database.meta, key)

    # --- tasks

    def next_planned(self, after: int, most: int, sample: Collection[int] | None = None) -> list[TaskEntry]:
        """The next planned tasks of the present plan, or of this sample of it, behind id `after`, in the
        plan's order."""
        return self._entries(
            "WHERE t.state = 'planned' AND t.plan = ?1 AND t.id > ?2 "
            f"AND {plan_sample.within('?3', 't.id')} ORDER BY t.id LIMIT ?4",
            (self.plan_number, after, plan_sample.among(sample), most),
        )

    def entry(self, number: int) -> TaskEntry:
        """The task with this id."""
        return self._entries("WHERE t.id = ?", (number,))[0]

    def is_waiting(self, task: int) -> bool:
        """Whether this task is planned and in the present plan: a withdrawn replacement is not, nor what a
        manifest has no more."""
        query = "SELECT 1 FROM tasks WHERE id = ? AND state = 'planned' AND plan = ?"
        return bool(self._rows(query, (task, self.plan_number)))

    def in_flight(self, after: tuple[float, int], up_to: int, most: int) -> list[TaskEntry]:
        """Tasks that something is owed to, of any plan, the most urgent (the earliest submitted) first,
        behind (submitted_at, task id) `after`, none whose submission is newer than `up_to`."""
        return self._entries(
            "WHERE t.state IN ('doubtful', 'submitted', 'ready') AND s.id <= ? "
            "AND (s.submitted_at, t.id) > (?, ?) ORDER BY s.submitted_at, t.id LIMIT ?",
            (up_to, *after, most),
        )

    def in_the_air(self) -> list[TaskEntry]:
        """Tasks whose POST is on its way."""
        return self._entries("WHERE t.state = 'submitting'", ())

    def planned_tasks(self, sample: Collection[int] | None) -> int:
        """How many tasks of the present plan, or of this sample of it, are planned."""
        if sample is None:
            return int(self.counts[State.PLANNED])
        query = (
            f"SELECT count(*) FROM tasks WHERE state = 'planned' AND plan = ?1 AND {plan_sample.within('?2')}"
        )
        return int(self._rows(query, (self.plan_number, plan_sample.among(sample)))[0][0])

    def planned_images(self, tasks: int, sample: Collection[int] | None = None) -> int:
        """Pictures that the next so many planned tasks of the present plan, or of this sample, would give."""
        query = (
            "SELECT total(images) FROM (SELECT images FROM tasks WHERE state = 'planned' AND plan = ?1 "
            f"AND {plan_sample.within('?2')} ORDER BY id LIMIT ?3)"
        )
        return int(self._rows(query, (self.plan_number, plan_sample.among(sample), tasks))[0][0])

    def doubtful_images(self) -> tuple[int, int]:
        """How many doubtful tasks of the present plan may be submitted again by a run, and how many pictures
        they would give; one whose answer was not understood is not."""
        query = (
            "SELECT count(*), total(t.images) FROM tasks t JOIN submissions s ON s.id = t.submission "
            "WHERE t.state = 'doubtful' AND t.plan = ? AND coalesce(s.detail, '') NOT GLOB ?"
        )
        tasks, images = self._rows(query, (self.plan_number, f"{errors.NotUnderstood.label}:*"))[0]
        return int(tasks), int(images)

    def changed_outside(self) -> bool:
        """Whether another process (`batcher retry`) wrote since the last look; the counts are right then."""
        version = self._data_version()
        changed = version != self._version
        self._version = version
        if changed:
            self.counts = self.read(totals.counts)
        return changed

    # --- submissions, files and uploads

    def last_submission(self) -> int:
        """The newest submission's id, 0 when there is none."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM submissions")[0][0])

    def knows(self, request_id: str) -> bool:
        """Whether a submission has this request_id already."""
        return bool(self._rows("SELECT 1 FROM submissions WHERE request_id = ? LIMIT 1", (request_id,)))

    def is_not_understood(self, entry: TaskEntry) -> bool:
        """Whether the answer to this task's submission came and was not understood: whoever resubmits what
        was lost may not resubmit it."""
        query = "SELECT 1 FROM submissions WHERE id = ? AND detail GLOB ?"
        number = None if entry.submission is None else entry.submission.id
        return bool(self._rows(query, (number, f"{errors.NotUnderstood.label}:*")))

    def holds_doubtful(self, policy: str) -> bool:
        """Whether no run goes on by itself with what is doubtful, as `retry.doubtful` says: with an answer
        that was not understood, only `reconcile` does."""
        if policy != "resubmit":
            return policy == "hold"
        query = (
            "SELECT 1 FROM tasks t JOIN submissions s ON s.id = t.submission "
            "WHERE t.state = 'doubtful' AND s.detail NOT GLOB ? LIMIT 1"
        )
        return not self._rows(query, (f"{errors.NotUnderstood.label}:*",))

    def requests_near(self, submission: Submission | None) -> list[TaskEntry]:
        """Jobs that the ledger knows by their request_id, submitted about when `submission` was, the nearest
        first; None: the latest. Each entry has the submission of that job; of the present plan alone, which
        has one model."""
        number = self.last_submission() if submission is None else submission.id
        query = (
            "WHERE s.id BETWEEN ? AND ? AND s.request_id IS NOT NULL AND s.images > 0 AND t.plan = ? "
            "ORDER BY abs(s.id - ?) LIMIT ?"
        )
        values = (number - NEAR, number + NEAR, self.plan_number, number, NEAREST)
        with database.disk_errors(self.path):
            return list(entries(self.connection.execute(SELECT_SUBMISSIONS + query, values)))

    def failed_before(self, entry: TaskEntry) -> int:
        """How many submissions of this task ran and failed in this run."""
        rows = self._rows(
            "SELECT count(*) FROM submissions WHERE task = ? AND run = ? AND outcome = 'failed'",
            (entry.id, self.run),
        )
        return int(rows[0][0])

    def files(self, entry: TaskEntry) -> list[OutputFile]:
        """The pictures of the entry's result."""
        rows = self._rows(
            "SELECT position, url, spool, name, sha256, delivered_at, folder FROM files "
            "WHERE task = ? ORDER BY position",
            (entry.id,),
        )
        return [OutputFile(*row) for row in rows]

    def uploaded(self, digest: str) -> tuple[str, float] | None:
        """The URL under which this content was last uploaded, and when."""
        rows = self._rows("SELECT url, uploaded_at FROM uploads WHERE digest = ?", (digest,))
        return (str(rows[0][0]), float(rows[0][1])) if rows else None

    # --- money

    def money_of_run(self) -> Money:
        """The money of the run that is going on, which `max_cost` bounds."""
        return self.money.since(self._money_before_run)

    # --- records

    def metadata(self, *done: TaskEntry) -> list[dict[str, Any]]:
        """The metadata lines of tasks that are done, once their source facts are recorded."""
        return self.read(lambda connection: [*records.delivered(connection, [entry.id for entry in done])])

    def missed(self, entry: TaskEntry) -> list[dict[str, Any]]:
        """The errors line of a task that is not delivered."""
        each = self.money.per_image(self.read(totals.price))
        return self.read(lambda connection: [*records.missed(connection, each, entry.id)])

    def _entries(self, where: str, values: tuple[Any, ...]) -> list[TaskEntry]:
        with database.disk_errors(self.path):
            return list(entries(self.connection.execute(SELECT + where, values)))

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with database.disk_errors(self.path):
            return self.connection.execute(query, values).fetchall()

    def _data_version(self) -> int:
        return int(self._rows("PRAGMA data_version")[0][0])
