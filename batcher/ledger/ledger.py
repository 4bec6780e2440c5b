"""Ledger: one job's ledger, open for writing: its notes, its plans and its runs.

    reads.py   what can be read of it
    moves.py   the moves of its tasks

Rule: only the run that holds the job's lock has one; who looks at a plan has one of a copy.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batcher import errors
from batcher.job.geometry import Size
from batcher.ledger import (
    acceptance,
    database,
    group_commit,
    interrupted,
    last_run,
    notices,
    plan_growth,
    plan_models,
    plan_replacements,
    plan_writer,
    rejections,
    source_facts,
    totals,
)
from batcher.ledger.answer_file import Answer, AnswerFile
from batcher.ledger.call_counter import CallCounter
from batcher.ledger.entries import TaskEntry
from batcher.ledger.last_run import LastRun
from batcher.ledger.moves import TaskMoves
from batcher.ledger.plan_replacements import Redraw
from batcher.ledger.plan_writer import PlanResult
from batcher.ledger.retry_failed import retry
from batcher.ledger.totals import micro
from batcher.shard import Shard
from batcher.storage.destination import Destination
from batcher.storage.lock import HeldLock
from batcher.task import IN_FLIGHT, State, Task

UNFINISHED = (State.SUBMITTING, State.DOUBTFUL, State.SUBMITTED)
"""States in which a result is still awaited."""


class Ledger(TaskMoves):
    """One job's ledger, as the run that holds the job's lock reads and writes it.

    `now` gives the wall clock (Unix s). `lock` is the job's, which covers the ledger from here on and is
    verified before each commit. `moved` is told every move of a task: the entry before and after it, and why.
    `checked`: this process has read the file through before.
    Raises Locked, LedgerError, DiskError.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float],
        lock: HeldLock | None = None,
        moved: Callable[[TaskEntry, TaskEntry, str], None] = lambda before, after, detail: None,
        checked: bool = False,
    ) -> None:
        self.now = now
        self._moved = moved
        if lock is not None:
            lock.cover(path)
        connection = database.open_file(path, checked=checked)
        try:
            verify = (lambda: None) if lock is None else lock.verify
            self.answers = AnswerFile(path)
            self.group = group_commit.GroupCommit(connection, path, self.answers, verify)
            self.call_counter = CallCounter(self.group)
            self._source_facts = source_facts.SourceFacts(connection)
            if lock is not None:
                lock.cover(path)  # now that it was made
            super().__init__(path, connection)
        except BaseException:
            connection.close()
            raise

    def recount(self) -> None:
        super().recount()
        self.calls += self.call_counter.unwritten

    def close(self) -> None:
        """Writes what is still in memory and closes. Raises DiskError if the disk refuses."""
        try:
            self.call_counter.flush()
            self.group.commit()
        finally:
            self.call_counter.stop()
            self.connection.close()
            with database.disk_errors(self.path):
                self.answers.close()

    async def committed(self) -> None:
        """Waits until everything written so far is on disk."""
        await self.group.committed()

    async def refusal(self) -> errors.BatcherError:
        """Waits until the ledger takes no more writes, for good; why not."""
        await self.group.failed.wait()
        assert self.group.failure is not None
        return self.group.failure

    # --- what it notes of its job

    def set_meta(self, key: str, value: str) -> None:
        """Keeps a note; on disk with the group's commit."""
        self.group.write(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
        )

    def note(self, key: str, value: str) -> None:
        """The same for what only others look at. A ledger that refuses is told by `refusal`: who takes a
        note does not end the run while answers are in the air."""
        with suppress(errors.DiskError, errors.LedgerError):
            self.set_meta(key, value)

    def set_model(self, model: str, rule: str) -> None:
        """The present plan's model, and its geometry; on disk when this returns."""
        with self._at_once() as connection:
            plan_models.note(connection, self.plan_number, model, rule)

    def bind_origin(self, origin: str) -> None:
        """Binds the ledger to one API. Raises OtherOrigin when it belongs to another."""
        bound = self.meta("origin")
        if bound is None:
            with self._at_once() as connection:
                database.set_meta(connection, "origin", origin)
        elif bound != origin:
            raise errors.OtherOrigin(
                f"{self.path.parent.parent} was made against {bound}, this run asks {origin}; "
                "choose another output folder with -o"
            )

    def bind_share(self, shard: Shard | None) -> None:
        """Binds the ledger to one share of the plan, or to the whole of it (None). Raises UsageError when it
        was planned otherwise: it would pay for what other shares pay for."""
        asked, bound = str(shard or ""), self.meta("shard") or ""
        if bound == asked:
            return
        if self.plan_number:
            holds = f"holds share {bound}" if bound else "holds the whole plan"
            asks = f"share {asked}" if asked else "the whole"
            raise errors.UsageError(
                f"{self.path.parent.parent} {holds}, this run asks for {asks}; "
                "choose another output folder with -o"
            )
        with self._at_once() as connection:
            database.set_meta(connection, "shard", asked)

    def bind_destination(self, where: str | None) -> None:
        """Notes where pictures go (None: the output folder). Raises OtherDestination when some lie, or are
        about to lie, elsewhere."""
        bound = self.meta("destination")
        if bound == where:
            return
        if self._rows("SELECT 1 FROM files WHERE name IS NOT NULL LIMIT 1"):
            folder = self.path.parent.parent
            raise errors.OtherDestination(
                f"the pictures of {folder} lie in {bound or 'that folder'}, this run would put them in "
                f"{where or 'that folder'}; leave output.dir as it was, or give the job another name"
            )
        with self._at_once() as connection:
            if where is None:
                connection.execute("DELETE FROM meta WHERE key = 'destination'")
            else:
                database.set_meta(connection, "destination", where)

    # --- plans and runs

    def plan(
        self,
        tasks: Iterable[Task],
        fingerprint: str,
        *,
        shard: Shard | None = None,
        progress: Callable[[int], None] = lambda total: None,
        settled: Callable[[], bool] = lambda: True,
        replace: Callable[[sqlite3.Connection, int], object] = lambda connection, number: None,
        check: Callable[[sqlite3.Connection, int], None] = lambda connection, number: None,
    ) -> PlanResult:
        """Makes `tasks`, or that share of them, the present plan, in one transaction. Raises ManifestError,
        and what `check` raises (see `plan_writer.plan`): nothing is changed."""
        self.group.commit()
        planned = self.read(
            plan_writer.plan,
            tasks,
            fingerprint,
            shard=shard,
            progress=progress,
            settled=settled,
            replace=replace,
            check=check,
        )
        self.recount()
        return planned

    def grow(
        self,
        tasks: Iterable[Task],
        fingerprint: str,
        *,
        progress: Callable[[int], None],
        settled: Callable[[], bool],
        check: Callable[[sqlite3.Connection, int], None],
    ) -> PlanResult:
        """Adds `tasks` to the present plan, in one transaction. Raises what `plan_growth.grow` does."""
        self.group.commit()
        planned = self.read(
            plan_growth.grow, tasks, fingerprint, progress=progress, settled=settled, check=check
        )
        self.recount()
        return planned

    def start_run(self) -> int:
        """Continues the run that still had something to do, or starts a new one; its number."""
        rows = self._rows("SELECT id FROM runs WHERE finished_at IS NULL ORDER BY id DESC LIMIT 1")
        if not rows:
            cursor = self.group.write("INSERT INTO runs (started_at) VALUES (?)", (self.now(),))
            self.run = int(cursor.lastrowid or 0)
        else:
            self.run = int(rows[0][0])
        self._count_before_run()
        return self.run

    def end_run(self, needed: int | None = None, *, held: bool = False) -> None:
        """Closes the run for good when nothing is left to do; else the next start continues it. Also asked
        before planning: the last process may have died between its last picture and this.

        `needed`: the property of this name, where it was read already. `held`: what is doubtful waits for a
        person, and keeps no run open."""
        waiting = IN_FLIGHT - {State.DOUBTFUL} if held else IN_FLIGHT
        if any(self.counts[state] for state in waiting):
            return
        if (self.needed if needed is None else needed) == 0:
            self.group.write("UPDATE runs SET finished_at = ? WHERE finished_at IS NULL", (self.now(),))

    def end_start(self, last: LastRun) -> None:
        """Keeps how this start ended; what it tells of is no news for the next one, where somebody hears of
        such an end."""
        with self._at_once() as connection:
            database.set_meta(connection, last_run.KEY, last.as_text())
            if last.exit_code in notices.TOLD_AFTER:
                notices.tell(connection)

    def record_balance(self, which: str, credits_left: float) -> None:
        """Keeps the account's balance at the run's opening (the first one told stays) or closing."""
        if which == "opening":
            statement = "UPDATE runs SET opening_balance = coalesce(opening_balance, ?) WHERE id = ?"
        else:
            statement = "UPDATE runs SET closing_balance = ? WHERE id = ?"
        self.group.write(statement, (micro(credits_left), self.run))

    def count_call(self, kind: str) -> None:
        """Counts one API call; on disk within half a second."""
        self.calls[kind] += 1
        self.call_counter.count(kind)

    # --- at start-up

    def recover_answers(self) -> int:
        """Records the answers that an earlier process had to keep beside its ledger; how many. Those whose
        task went on by another way are of no use any more."""
        with database.disk_errors(self.path):
            kept = self.answers.read()
        recovered = sum(self._recover(answer) for answer in kept)
        self.group.commit()
        with database.disk_errors(self.path):
            self.answers.remove()
        return recovered

    def _recover(self, answer: Answer) -> bool:
        entry = next(iter(self._entries("WHERE t.id = ?", (answer.task,))), None)
        if entry is None or entry.task.key != answer.key or entry.submission is None:
            return False
        if entry.submission.id != answer.submission:
            return False
        if answer.accepted is not None and entry.state in (State.SUBMITTING, State.DOUBTFUL):
            self.submitted(entry, answer.accepted)
        elif answer.result is not None and entry.state in UNFINISHED:
            outputs = zip(answer.result.outputs, answer.spool, strict=True)
            self.ready(entry, answer.result, list(outputs))
        else:
            return False
        return True

    def mark_interrupted(self) -> int:
        """At start-up: every POST that was in the air when the last process died is in doubt."""
        with self._at_once() as connection:
            interrupted_tasks = interrupted.mark_doubtful(connection)
        self.recount()
        return interrupted_tasks

    def forget_in_flight(self, why: str) -> int:
        """At start-up, where the API itself is known to be gone (an embedded sandbox that ended)."""
        with self._at_once() as connection:
            planned = interrupted.plan_again(connection, why)
        self.recount()
        return planned

    def end_moves(self, where: Destination) -> list[str]:
        """Ends the moves of files that an earlier process began, as `rejections.end_moves`."""
        self.group.commit()
        return self.read(rejections.end_moves, where)

    def retry_failed(self) -> int:
        """`--retry-failed`: every failed task of the present plan may be submitted again."""
        self.group.commit()
        with database.disk_errors(self.path):
            retried = retry(self.connection)
        self.recount()
        return retried.failed

    @property
    def needed(self) -> int:
        """Planned tasks of the present plan that a run would submit: all, or those that `accept` needs."""
        return self.read(acceptance.needed, self.counts[State.PLANNED])

    # --- replacements of what is rejected

    def replace_rejected(self, most: int, redraw: Redraw) -> list[int]:
        """What is due for rejected tasks of the present plan is planned (see `plan_replacements.replace`), on
        disk when this returns; the tasks that are planned now, by id."""
        with self._at_once() as connection:
            planned = plan_replacements.replace(connection, self.plan_number, most, redraw)
        self.counts = self.read(totals.counts)
        return planned

    def replace_one(self, rejected: TaskEntry, most: int, redraw: Redraw) -> list[int]:
        """What is due for a task that has just been rejected is planned in the same group."""
        planned = self.read(
            plan_replacements.replace_one, self.plan_number, rejected.id, most, redraw, self.group.write
        )
        self.counts[State.PLANNED] += len(planned)
        return planned

    # --- what is kept of inputs

    def keep_upload(self, digest: str, url: str) -> None:
        """This content can be had by the API at `url`."""
        self.group.write("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", (digest, url, self.now()))

    def forget_upload(self, digest: str) -> None:
        """The URL of this content is dead: it is to be uploaded again."""
        self.group.write("DELETE FROM uploads WHERE digest = ?", (digest,))

    def source_size(self, entry: TaskEntry) -> Size | None:
        """The size of a task's source picture (upright), where its model's geometry tells which that is."""
        with database.disk_errors(self.path):
            facts = self._source_facts.of(entry.task)
        if facts is None:
            return None
        size = json.loads(facts)
        return size["width"], size["height"]

    async def prefetch_source_facts(self, entry: TaskEntry) -> None:
        """Reads from a store what `record_source_facts` will need, if it lies in one."""
        if self._source_facts.is_stored(entry.task):
            await asyncio.to_thread(self._source_facts.prefetch, entry.task)

    def record_source_facts(self, entry: TaskEntry) -> None:
        """Keeps what the metadata of a task that is done needs to know of its source picture."""
        with database.disk_errors(self.path):
            facts = self._source_facts.of(entry.task)
            if facts:
                self.group.write(source_facts.KEEP, (entry.id, facts))

    @contextmanager
    def _at_once(self) -> Iterator[sqlite3.Connection]:
        """A transaction of its own, on disk when the block ends."""
        self.group.commit()
        with database.disk_errors(self.path), database.transaction(self.connection):
            yield self.connection
