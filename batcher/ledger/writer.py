"""The ledger as the one run that holds the job's lock writes it.

Law: intent before the deed, fact after it. Every move of a task is compare-and-set, as TRANSITIONS
says; a move that finds another state than it expects raises Overtaken and changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from batcher import errors
from batcher.ledger import store
from batcher.ledger.book import Book
from batcher.ledger.entries import Entry, Submission
from batcher.ledger.retrying import retry
from batcher.ledger.totals import micro
from batcher.task import TRANSITIONS, State
from batcher.wire import Accepted, Output, Result

MOVE = """
UPDATE tasks SET state = ?, submission = ?, reason = ?, attempts = ?, not_before = ?
WHERE id = ? AND state = ? RETURNING plan
"""


STILL = "EXISTS (SELECT 1 FROM tasks WHERE id = ? AND state = ?)"


class Ledger(Book):
    """A ledger that is written to. Only the run that holds the job's lock may have one."""

    # --- a task's moves, in the order of its life

    def submitting(self, entry: Entry, *, api: str, reserved: int) -> Entry:
        """The intent: on disk before the POST leaves, with the moment from which its record's hour counts."""
        self._may_go(entry, State.SUBMITTING)
        submitted_at = self.now()
        cursor = self._first(
            entry,
            "INSERT INTO submissions (task, run, attempt, api, submitted_at, images, reserved) "
            f"SELECT ?, ?, ?, ?, ?, ?, ? WHERE {STILL}",
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
        self._may_go(entry, State.SUBMITTED)
        before = self._in_force(entry)
        submission = replace(
            before,
            outcome="open",
            request_id=accepted.request_id,
            status_url=accepted.status_url,
            response_url=accepted.response_url,
        )
        self._first(
            entry,
            "UPDATE submissions SET request_id = ?, status_url = ?, response_url = ?, answered_at = ?, "
            f"outcome = 'open', detail = NULL WHERE id = ? AND {STILL}",
            (*accepted, self.now(), submission.id),
        )
        self._settle(before, "open")
        return self._move(entry, State.SUBMITTED, submission)

    def ready(self, entry: Entry, result: Result, outputs: Sequence[tuple[Output, str | None]]) -> Entry:
        """The result with its URLs; bytes that came inside it lie in the spool already, as named."""
        self._may_go(entry, State.READY)
        submission = self._in_force(entry)
        if submission.outcome != "completed":
            self._billed(entry, submission, result)
        else:
            self._is_still_there(entry)
        gone = self._group.write("DELETE FROM files WHERE task = ? RETURNING delivered_at", (entry.id,))
        self.images -= sum(delivered_at is not None for (delivered_at,) in gone.fetchall())
        for position, (output, spool) in enumerate(outputs):
            self._group.write(
                "INSERT INTO files (task, position, submission, url, spool) VALUES (?, ?, ?, ?, ?)",
                (entry.id, position, submission.id, output.url, spool),
            )
        return self._move(entry, State.READY, replace(submission, outcome="completed"))

    def _billed(self, entry: Entry, submission: Submission, result: Result) -> None:
        """The bill and the times, as the result tells them."""
        cost = None if result.cost is None else micro(result.cost)
        self._first(
            entry,
            "UPDATE submissions SET outcome = 'completed', completed_at = ?, cost = ?, queue_time = ?, "
            "inference_time = ?, total_time = ?, result_seed = ?, request_id = coalesce(request_id, ?), "
            f"answered_at = coalesce(answered_at, ?) WHERE id = ? AND {STILL}",
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
        self._settle(submission, "completed", cost)

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
        try:
            self._group.write(
                "UPDATE files SET name = ?, sha256 = ? WHERE task = ? AND position = ?",
                (name, sha256, entry.id, position),
            )
        except sqlite3.IntegrityError as error:
            raise ValueError(name) from error

    def delivered(self, entry: Entry, position: int, *, size: int, width: int, height: int) -> None:
        """One file stands under its final name; told twice, it counts once."""
        told = self._group.write(
            "UPDATE files SET bytes = ?, width = ?, height = ?, delivered_at = ? "
            "WHERE task = ? AND position = ? AND delivered_at IS NULL",
            (size, width, height, self.now(), entry.id, position),
        )
        self.images += told.rowcount

    def not_fetched(self, entry: Entry, detail: str) -> None:
        """Why a file of it could not be fetched now: kept for errors.jsonl."""
        self._group.write(
            "UPDATE submissions SET detail = ? WHERE id = ?", (detail, self._in_force(entry).id)
        )

    def done(self, entry: Entry) -> Entry:
        """Every file of it is delivered."""
        self._may_go(entry, State.DONE)
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
        self,
        entry: Entry,
        reason: str,
        outcome: str | None = None,
        *,
        cost: float | None = None,
        detail: str | None = None,
    ) -> Entry:
        """It ended without a picture; `outcome` is what became of its submission, if it had one in force, and
        `detail` what is kept of it beyond the reason."""
        self._expect(entry, State.FAILED)
        submission = entry.submission
        if outcome is not None and submission is not None:
            submission = self._outcome(entry, outcome, detail or reason, cost)
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
            connection.execute("DELETE FROM uploads")
        self._load()
        return found.rowcount

    def retry_failed(self) -> int:
        """`--retry-failed`: every failed task of the present plan may be submitted again."""
        self._group.commit()
        with store.disk_errors(self.path):
            retried = retry(self._connection)
        self._load()
        return retried.failed

    # --- the one way a state changes

    def _expect(self, entry: Entry, target: State) -> None:
        """Before a step writes its first word: so one that may not be taken changes nothing."""
        self._may_go(entry, target)
        self._is_still_there(entry)

    def _may_go(self, entry: Entry, target: State) -> None:
        if target not in TRANSITIONS[entry.state]:
            raise errors.LedgerError(f"task {entry.task.name} may not go from {entry.state} to {target}")

    def _first(self, entry: Entry, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        """The first word of a step, which says itself that the task is STILL where it was left: the steps of
        every task need no look before."""
        written = self._group.write(statement, (*values, entry.id, entry.state))
        if not written.rowcount:
            raise self._elsewhere(entry)
        return written

    def _is_still_there(self, entry: Entry) -> None:
        if self._rows("SELECT state FROM tasks WHERE id = ?", (entry.id,)) != [(entry.state,)]:
            raise self._elsewhere(entry)

    def _elsewhere(self, entry: Entry) -> errors.Overtaken:
        return errors.Overtaken(
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
