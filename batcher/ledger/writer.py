"""The ledger as the one run that holds the job's lock writes it.

Law: intent before the deed, fact after it. Every move of a task is compare-and-set, as TRANSITIONS
says; a move that finds another state than it expects raises Overtaken and changes nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.ledger import planning, records, store, totals
from batcher.ledger.entries import SELECT, Entry, File, Submission, entries
from batcher.ledger.planning import Digests, Occurrences, Planned
from batcher.ledger.retrying import retry
from batcher.ledger.totals import Money, micro
from batcher.task import IN_FLIGHT, TRANSITIONS, State, Task
from batcher.wire import Accepted, Output, Result

MOVE = """
UPDATE tasks SET state = ?, submission = ?, reason = ?, attempts = ?, not_before = ?
WHERE id = ? AND state = ? RETURNING plan
"""
CALLS_FLUSH_SECONDS = 0.5


class Ledger:
    """One job's ledger, open for writing. Only the run that holds the job's lock may have one.

    `counts`, `calls`, `images` and `money` are running totals, equal to what a count over the rows gives.
    `moved` is told every move of a task: the entry before and after it, and why.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float],
        moved: Callable[[Entry, Entry, str], None] = lambda before, after, detail: None,
    ) -> None:
        self.path = path
        self.now = now
        self._moved = moved
        self._connection = store.open_file(path)
        self._version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        self._group = store.GroupCommit(self._connection, path)
        self._calls_unwritten: Counter[str] = Counter()
        self._calls_timer: asyncio.TimerHandle | None = None
        self.run = 0
        self._money_before = Money()
        try:
            self._load()
        except BaseException:
            self._connection.close()
            raise

    def _load(self) -> None:
        with store.disk_errors(self.path):
            self.plan_number = int(self.meta("plan") or 0)
            self.counts = totals.counts(self._connection)
            self.calls = totals.calls(self._connection) + self._calls_unwritten
            self.images = totals.images(self._connection)
            self.money = totals.money(self._connection)

    def close(self) -> None:
        """Writes what is still in memory and closes. Raises DiskError if the disk refuses."""
        try:
            if self._calls_unwritten:
                self._flush_calls()
            self._group.commit()
        finally:
            if self._calls_timer is not None:
                self._calls_timer.cancel()
            self._connection.close()

    def __repr__(self) -> str:
        counts = " ".join(f"{state}={n}" for state, n in self.counts.items() if n)
        return f"<Ledger {self.path} plan {self.plan_number}: {counts or 'empty'}>"

    # --- notes about itself

    def meta(self, key: str) -> str | None:
        """A note, or None."""
        with store.disk_errors(self.path):
            return store.meta(self._connection, key)

    def note(self, key: str, value: str) -> None:
        """Keeps a note; on disk with the group's commit."""
        self._group.write(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
        )

    def called(self, kind: str) -> None:
        """Counts one API call; on disk within half a second."""
        self.calls[kind] += 1
        self._calls_unwritten[kind] += 1
        if self._calls_timer is None:
            self._calls_timer = asyncio.get_running_loop().call_later(
                CALLS_FLUSH_SECONDS, self._flush_quietly
            )

    def _flush_quietly(self) -> None:
        try:
            self._flush_calls()
        except errors.BatcherError:
            # Every later write or wait raises it to someone who can act on it.
            return

    def _flush_calls(self) -> None:
        unwritten, self._calls_unwritten = self._calls_unwritten, Counter()
        self._calls_timer = None
        for kind, n in unwritten.items():
            self._group.write(
                "INSERT INTO calls VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", (kind, n)
            )

    # --- planning and runs

    def claim_origin(self, origin: str) -> None:
        """Binds the ledger to one API. Raises OtherOrigin when it belongs to another."""
        known = self.meta("origin")
        if known is None:
            with self._at_once() as connection:
                store.set_meta(connection, "origin", origin)
        elif known != origin:
            raise errors.OtherOrigin(
                f"{self.path.parent.parent} was made against {known}, this run asks {origin}; "
                "choose another output folder with -o"
            )

    def plan(
        self, tasks: Iterable[Task], fingerprint: str, *, noticed: Callable[[int], None] = lambda total: None
    ) -> Planned:
        """Makes `tasks` the present plan, in one transaction. Raises ManifestError: nothing is changed."""
        self._group.commit()
        with store.disk_errors(self.path):
            planned = planning.plan(self._connection, tasks, fingerprint, noticed=noticed)
        self._load()
        return planned

    def digests(self) -> Digests:
        """The content digests of local files, remembered here."""
        return Digests(self._connection)

    def occurrences(self) -> Occurrences:
        """A fresh count of identical tasks, for one planning."""
        return Occurrences(self._connection)

    def start_run(self) -> int:
        """Continues the run that still had something to do, or starts a new one; its number."""
        rows = self._rows("SELECT id FROM runs WHERE finished_at IS NULL ORDER BY id DESC LIMIT 1")
        if not rows:
            cursor = self._group.write("INSERT INTO runs (started_at) VALUES (?)", (self.now(),))
            self.run = int(cursor.lastrowid or 0)
        else:
            self.run = int(rows[0][0])
        self._money_before = totals.money(self._connection, before_run=self.run)
        return self.run

    def end_run(self) -> None:
        """Closes the run for good when nothing is left to do; else the next start continues it. Also asked
        before planning: the last process may have died between its last picture and this."""
        if not any(self.counts[state] for state in (State.PLANNED, *IN_FLIGHT)):
            self._group.write("UPDATE runs SET finished_at = ? WHERE finished_at IS NULL", (self.now(),))

    def audit(self) -> tuple[int, int, int] | None:
        """Opening balance, what this run was told it spent, closing balance (micro-credits); or None."""
        rows = self._rows("SELECT opening_balance, closing_balance FROM runs WHERE id = ?", (self.run,))
        if not rows or None in rows[0]:
            return None
        return rows[0][0], self.money_of_run().spent, rows[0][1]

    def balance(self, which: str, credits_left: float) -> None:
        """Keeps the account's balance at the run's opening (the first one told stays) or closing."""
        if which == "opening":
            statement = "UPDATE runs SET opening_balance = coalesce(opening_balance, ?) WHERE id = ?"
        else:
            statement = "UPDATE runs SET closing_balance = ? WHERE id = ?"
        self._group.write(statement, (micro(credits_left), self.run))

    # --- reading

    async def committed(self) -> None:
        """Waits until everything written so far is on disk."""
        await self._group.committed()

    def money_of_run(self) -> Money:
        """The money of the run that is going on, which `max_cost` bounds."""
        return self.money.since(self._money_before)

    def planned_images(self) -> int:
        """Pictures that the planned tasks of the present plan would give."""
        query = "SELECT total(images) FROM tasks WHERE state = 'planned' AND plan = ?"
        return int(self._rows(query, (self.plan_number,))[0][0])

    def failures(self) -> dict[str, int]:
        """Failed tasks of the present plan by reason."""
        with store.disk_errors(self.path):
            return totals.failures(self._connection)

    def claim(self, after: int, most: int) -> list[Entry]:
        """The next planned tasks of the present plan behind id `after`, in the plan's order."""
        return self._entries(
            "WHERE t.state = 'planned' AND t.plan = ? AND t.id > ? ORDER BY t.id LIMIT ?",
            (self.plan_number, after, most),
        )

    def entry(self, number: int) -> Entry:
        """The task with this id."""
        return self._entries("WHERE t.id = ?", (number,))[0]

    def last_submission(self) -> int:
        """The newest submission's id, 0 when there is none."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM submissions")[0][0])

    def in_flight(self, after: tuple[float, int], up_to: int, most: int) -> list[Entry]:
        """Tasks that something is owed to, of any plan, the most urgent (the earliest submitted) first,
        behind (submitted_at, task id) `after`, none whose submission is newer than `up_to`."""
        return self._entries(
            "WHERE t.state IN ('doubtful', 'submitted', 'ready') AND s.id <= ? "
            "AND (s.submitted_at, t.id) > (?, ?) ORDER BY s.submitted_at, t.id LIMIT ?",
            (up_to, *after, most),
        )

    def files(self, entry: Entry) -> list[File]:
        """The pictures of the entry's result."""
        rows = self._rows(
            "SELECT position, url, spool, name, sha256, delivered_at FROM files "
            "WHERE task = ? ORDER BY position",
            (entry.id,),
        )
        return [File(*row) for row in rows]

    def metadata(self, entry: Entry) -> list[dict[str, Any]]:
        """The metadata lines of a task that is done."""
        with store.disk_errors(self.path):
            return list(records.delivered(self._connection, self.meta("model") or "", entry.id))

    def missed(self, entry: Entry) -> list[dict[str, Any]]:
        """The errors line of a task that is not delivered."""
        with store.disk_errors(self.path):
            return list(records.missed(self._connection, entry.id))

    def knows(self, request_id: str) -> bool:
        """Whether a submission has this request_id already."""
        return bool(self._rows("SELECT 1 FROM submissions WHERE request_id = ? LIMIT 1", (request_id,)))

    def failed_before(self, entry: Entry) -> int:
        """How many submissions of this task ran and failed in this run."""
        rows = self._rows(
            "SELECT count(*) FROM submissions WHERE task = ? AND run = ? AND outcome = 'failed'",
            (entry.id, self.run),
        )
        return int(rows[0][0])

    def uploaded(self, digest: str, not_before: float = 0.0) -> str | None:
        """The URL under which this content was uploaded at or after `not_before`, or None."""
        rows = self._rows(
            "SELECT url FROM uploads WHERE digest = ? AND uploaded_at >= ?", (digest, not_before)
        )
        return str(rows[0][0]) if rows else None

    def _entries(self, where: str, values: tuple[Any, ...]) -> list[Entry]:
        with store.disk_errors(self.path):
            return list(entries(self._connection.execute(SELECT + where, values)))

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with store.disk_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    # --- a task's moves, in the order of its life

    def submitting(self, entry: Entry, *, api: str, reserved: int) -> Entry:
        """The intent: on disk before the POST leaves, with the moment from which its record's hour counts."""
        self._expect(entry, State.SUBMITTING)
        submitted_at = self.now()
        cursor = self._group.write(
            "INSERT INTO submissions (task, run, attempt, api, submitted_at, images, reserved) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry.id, self.run, entry.attempts + 1, api, submitted_at, entry.task.images, reserved),
        )
        submission = Submission(
            int(cursor.lastrowid or 0),
            entry.attempts + 1,
            api,
            submitted_at,
            None,
            None,
            None,
            "open",
            entry.task.images,
            reserved,
        )
        self.money = self.money.with_opened(reserved)
        return self._move(entry, State.SUBMITTING, submission)

    def submitted(self, entry: Entry, accepted: Accepted) -> Entry:
        """The answer: whoever finds this row can fetch the result."""
        self._expect(entry, State.SUBMITTED)
        before = self._in_force(entry)
        submission = replace(
            before,
            outcome="open",
            request_id=accepted.request_id,
            status_url=accepted.status_url,
            response_url=accepted.response_url,
        )
        self._group.write(
            "UPDATE submissions SET request_id = ?, status_url = ?, response_url = ?, answered_at = ?, "
            "outcome = 'open', detail = NULL WHERE id = ?",
            (*accepted, self.now(), submission.id),
        )
        self._settle(before, "open")
        return self._move(entry, State.SUBMITTED, submission)

    def ready(self, entry: Entry, result: Result, outputs: Sequence[tuple[Output, str | None]]) -> Entry:
        """The result with its URLs; bytes that came inside it lie in the spool already, as named."""
        self._expect(entry, State.READY)
        submission = self._in_force(entry)
        if submission.outcome != "completed":
            self._billed(submission, result)
        gone = self._group.write("DELETE FROM files WHERE task = ? RETURNING delivered_at", (entry.id,))
        self.images -= sum(delivered_at is not None for (delivered_at,) in gone.fetchall())
        for position, (output, spool) in enumerate(outputs):
            self._group.write(
                "INSERT INTO files (task, position, submission, url, spool) VALUES (?, ?, ?, ?, ?)",
                (entry.id, position, submission.id, output.url, spool),
            )
        return self._move(entry, State.READY, replace(submission, outcome="completed"))

    def _billed(self, submission: Submission, result: Result) -> None:
        """The bill and the times, as the result tells them."""
        cost = None if result.cost is None else micro(result.cost)
        self._settle(submission, "completed", cost)
        self._group.write(
            "UPDATE submissions SET outcome = 'completed', completed_at = ?, cost = ?, queue_time = ?, "
            "inference_time = ?, total_time = ?, result_seed = ?, request_id = coalesce(request_id, ?), "
            "answered_at = coalesce(answered_at, ?) WHERE id = ?",
            (
                self.now(),
                cost,
                result.queue_time,
                result.inference_time,
                result.total_time,
                None if result.seed is None else str(result.seed),
                result.request_id,
                self.now(),
                submission.id,
            ),
        )

    def relinked(self, entry: Entry, outputs: Sequence[Output]) -> None:
        """Fresh links for the files of a ready task, by position."""
        for position, output in enumerate(outputs):
            if output.url is not None:
                self._group.write(
                    "UPDATE files SET url = ? WHERE task = ? AND position = ?",
                    (output.url, entry.id, position),
                )

    def named(self, entry: Entry, position: int, name: str, sha256: str) -> None:
        """What a file is about to be called, before it is: a crash after the rename finds its own file again.
        Raises ValueError when another task's file has the name."""
        if self._rows(
            "SELECT 1 FROM files WHERE name = ? AND NOT (task = ? AND position = ?)",
            (name, entry.id, position),
        ):
            raise ValueError(name)
        self._group.write(
            "UPDATE files SET name = ?, sha256 = ? WHERE task = ? AND position = ?",
            (name, sha256, entry.id, position),
        )

    def delivered(self, entry: Entry, position: int, *, size: int, width: int, height: int) -> None:
        """One file stands under its final name; told twice, it counts once."""
        told = self._group.write(
            "UPDATE files SET bytes = ?, width = ?, height = ?, delivered_at = ? "
            "WHERE task = ? AND position = ? AND delivered_at IS NULL",
            (size, width, height, self.now(), entry.id, position),
        )
        self.images += told.rowcount

    def done(self, entry: Entry) -> Entry:
        """Every file of it is delivered."""
        self._expect(entry, State.DONE)
        return self._move(entry, State.DONE, entry.submission)

    def doubtful(self, entry: Entry, detail: str) -> Entry:
        """The answer to its POST was lost."""
        self._expect(entry, State.DOUBTFUL)
        return self._move(entry, State.DOUBTFUL, self._outcome(entry, "doubtful", detail), detail=detail)

    def planned(
        self, entry: Entry, outcome: str, detail: str, *, not_before: float = 0.0, spent: bool = True
    ) -> Entry:
        """Back to the queue: its submission ended as `outcome`; `spent`: it used up one of its attempts."""
        self._expect(entry, State.PLANNED)
        self._outcome(entry, outcome, detail)
        attempts = entry.attempts + (1 if spent else 0)
        return self._move(entry, State.PLANNED, None, detail=detail, attempts=attempts, not_before=not_before)

    def put_off(self, entry: Entry, not_before: float, *, spent: bool) -> Entry:
        """A planned task waits until `not_before` although nothing was submitted (an upload failed)."""
        attempts = entry.attempts + (1 if spent else 0)
        self._group.write(
            "UPDATE tasks SET attempts = ?, not_before = ? WHERE id = ? AND state = 'planned'",
            (attempts, not_before, entry.id),
        )
        return replace(entry, attempts=attempts, not_before=not_before)

    def failed(
        self, entry: Entry, reason: str, outcome: str | None = None, *, cost: float | None = None
    ) -> Entry:
        """It ended without a picture; `outcome` is what became of its submission, if it had one in force."""
        self._expect(entry, State.FAILED)
        submission = entry.submission
        if outcome is not None and submission is not None:
            submission = self._outcome(entry, outcome, reason, cost)
        return self._move(entry, State.FAILED, submission, reason=reason)

    def doubt_the_interrupted(self) -> int:
        """At start-up: every POST that was in the air when the last process died is in doubt."""
        with self._at_once() as connection:
            connection.execute(
                "UPDATE submissions SET outcome = 'doubtful', detail = 'interrupted before its answer' "
                "WHERE id IN (SELECT submission FROM tasks WHERE state = 'submitting')"
            )
            found = connection.execute("UPDATE tasks SET state = 'doubtful' WHERE state = 'submitting'")
        self._load()
        return found.rowcount

    def forget_in_flight(self, why: str) -> int:
        """At start-up, where the API itself is known to be gone (an embedded sandbox that ended)."""
        in_flight = "state IN ('doubtful', 'submitted', 'ready')"
        with self._at_once() as connection:
            connection.execute(
                "UPDATE submissions SET outcome = 'lost', detail = ? WHERE outcome = 'open' "
                f"AND id IN (SELECT submission FROM tasks WHERE {in_flight})",
                (why,),
            )
            found = connection.execute(
                f"UPDATE tasks SET state = 'planned', submission = NULL WHERE {in_flight}"
            )
        self._load()
        return found.rowcount

    @contextmanager
    def _at_once(self) -> Iterator[sqlite3.Connection]:
        """A transaction of its own, on disk when the block ends."""
        self._group.commit()
        with store.disk_errors(self.path), store.transaction(self._connection):
            yield self._connection

    def retry_failed(self) -> int:
        """`--retry-failed`: every failed task of the present plan may be submitted again."""
        self._group.commit()
        with store.disk_errors(self.path):
            retried = retry(self._connection)
        self._load()
        return retried.failed

    def changed_outside(self) -> bool:
        """Whether another process (`batcher retry`) wrote since the last look; the counts are right then."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        changed: bool = version != self._version
        self._version = version
        if changed:
            self.counts = totals.counts(self._connection)
        return changed

    def keep_upload(self, digest: str, url: str) -> None:
        """This content can be had by the API at `url`."""
        self._group.write("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", (digest, url, self.now()))

    # --- the one way a state changes

    def _expect(self, entry: Entry, target: State) -> None:
        """Before a step writes its first word: so one that may not be taken changes nothing."""
        if target not in TRANSITIONS[entry.state]:
            raise errors.LedgerError(f"task {entry.task.name} may not go from {entry.state} to {target}")
        if self._rows("SELECT state FROM tasks WHERE id = ?", (entry.id,)) != [(entry.state,)]:
            raise self._elsewhere(entry)

    def _elsewhere(self, entry: Entry) -> errors.LedgerError:
        return errors.LedgerError(
            f"task {entry.task.name} is no longer {entry.state}; another process wrote to {self.path}"
        )

    def _outcome(self, entry: Entry, outcome: str, detail: str, cost: float | None = None) -> Submission:
        submission = self._in_force(entry)
        if submission.outcome == "completed":
            outcome, cost = "completed", None  # paid stays paid, whatever becomes of its files
        told = None if cost is None else micro(cost)
        self._settle(submission, outcome, told)
        self._group.write(
            "UPDATE submissions SET outcome = ?, detail = ?, cost = coalesce(?, cost), "
            "answered_at = coalesce(answered_at, ?), "
            "completed_at = CASE WHEN ?1 = 'completed' THEN coalesce(completed_at, ?4) END WHERE id = ?",
            (outcome, detail, told, self.now(), submission.id),
        )
        return replace(submission, outcome=outcome)

    def _settle(self, submission: Submission, outcome: str, cost: int | None = None) -> None:
        """The running totals follow every change of an outcome."""
        if submission.outcome != outcome:
            self.money = self.money.with_outcome(
                submission.outcome, outcome, submission.images, submission.reserved, cost
            )

    def _move(
        self,
        entry: Entry,
        target: State,
        submission: Submission | None,
        *,
        reason: str | None = None,
        detail: str = "",
        attempts: int | None = None,
        not_before: float = 0.0,
    ) -> Entry:
        moved = replace(
            entry,
            state=target,
            submission=submission,
            attempts=entry.attempts if attempts is None else attempts,
            not_before=not_before,
        )
        number = None if submission is None else submission.id
        row = self._group.write(
            MOVE, (target, number, reason, moved.attempts, not_before, entry.id, entry.state)
        ).fetchone()
        if row is None:
            raise self._elsewhere(entry)
        if row[0] == self.plan_number:
            self.counts[entry.state] -= 1
            self.counts[target] += 1
        self._moved(entry, moved, reason or detail)
        return moved

    @staticmethod
    def _in_force(entry: Entry) -> Submission:
        if entry.submission is None:
            raise errors.LedgerError(f"task {entry.task.name} has no submission in force")
        return entry.submission
