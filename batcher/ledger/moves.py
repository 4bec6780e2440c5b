"""The moves of a task: intent, answer, result, files, end.

Rule: intent before the deed, fact after it. Every move is compare-and-set, as TRANSITIONS says; one that
finds another state than it expects raises StaleTask and changes nothing. Nothing is submitted for a task
outside the present plan, which a replacement leaves that goes back to planned and is not needed any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from batcher import errors
from batcher.api.wire import Accepted, Output, Result
from batcher.ledger import database, rejections, replacement_cells
from batcher.ledger.answer_file import Answer, AnswerFile
from batcher.ledger.entries import Submission, TaskEntry, current_submission
from batcher.ledger.file_moves import FileMoves
from batcher.ledger.reusable_results import ReusableResult
from batcher.ledger.totals import micro
from batcher.storage.destination import REJECTED
from batcher.task import TRANSITIONS, State

MOVE = """
UPDATE tasks
SET state = ?, submission = ?, reason = ?, attempts = ?, not_before = ?, rejected_by = ?, rejected_at = ?
WHERE id = ? AND state = ? RETURNING plan
"""

REUSED_COLUMNS = (
    "task, run, attempt, outcome, images, cost, detail, api, submitted_at, answered_at, request_id, "
    "status_url, response_url, completed_at, queue_time, inference_time, total_time, result_seed"
)
REUSED_VALUES = "?, ?, 0, 'completed', 0, 0, ?" + ", ?" * 11
"""Of no images, so that no sum counts it."""

STILL = "EXISTS (SELECT 1 FROM tasks WHERE id = ? AND state = ?)"
STILL_IN_PLAN = "EXISTS (SELECT 1 FROM tasks WHERE plan = ? AND id = ? AND state = ?)"


class TaskMoves(FileMoves):
    """Every way in which a task of the ledger moves. What is written is on disk with its group's commit."""

    answers: AnswerFile
    _moved: Callable[[TaskEntry, TaskEntry, str], None]

    # --- a task's moves, in the order of its life

    def submitting(self, entry: TaskEntry, *, api: str, reserved: int) -> TaskEntry:
        """The intent: on disk before the POST leaves, with the moment from which its record's hour counts.
        Raises StaleTask where the task is not planned any more, or not in the present plan."""
        self._check_allowed(entry, State.SUBMITTING)
        self._reserve_answers()
        submitted_at = self.now()
        cursor = self._first_write(
            entry,
            "INSERT INTO submissions (task, run, attempt, api, submitted_at, images, reserved) "
            f"SELECT ?, ?, ?, ?, ?, ?, ? WHERE {STILL_IN_PLAN}",
            (
                entry.id,
                self.run,
                entry.attempts + 1,
                api,
                submitted_at,
                entry.task.images,
                reserved,
                self.plan_number,
            ),
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
        if self.daily is not None:
            self.daily.opened(submitted_at, reserved)
        return self._move(entry, State.SUBMITTING, submission)

    def submitted(self, entry: TaskEntry, accepted: Accepted) -> TaskEntry:
        """The answer: whoever finds this row can fetch the result."""
        self._check_allowed(entry, State.SUBMITTED)
        before = current_submission(entry)
        self.group.answer(Answer.to(entry, before, accepted=accepted))
        submission = replace(
            before,
            outcome="open",
            request_id=accepted.request_id,
            status_url=accepted.status_url,
            response_url=accepted.response_url,
        )
        self._first_write(
            entry,
            "UPDATE submissions SET request_id = ?, status_url = ?, response_url = ?, answered_at = ?, "
            f"outcome = 'open', detail = NULL WHERE id = ? AND {STILL}",
            (*accepted, self.now(), submission.id),
        )
        self._count_money(before, "open")
        return self._move(entry, State.SUBMITTED, submission)

    def ready(
        self, entry: TaskEntry, result: Result, outputs: Sequence[tuple[Output, str | None]]
    ) -> TaskEntry:
        """The result with its URLs; bytes that came inside it lie in the spool already, as named."""
        self._check_allowed(entry, State.READY)
        submission = current_submission(entry)
        names = tuple(name for _, name in outputs)
        self.group.answer(Answer.to(entry, submission, result=result, spool=names))
        if submission.outcome != "completed":
            self._record_bill(entry, submission, result)
        else:
            self._check_unmoved(entry)
        gone = self.group.write("DELETE FROM files WHERE task = ? RETURNING delivered_at", (entry.id,))
        self.images -= sum(delivered_at is not None for (delivered_at,) in gone.fetchall())
        self.list_files(entry, submission.id, outputs)
        request_id = submission.request_id or result.request_id
        submission = replace(submission, outcome="completed", request_id=request_id)
        return self._move(entry, State.READY, submission)

    def reused(self, task: int, result: ReusableResult, spool: Sequence[str], folder: str) -> None:
        """A planned task gets the result that the output folder `folder` has of it: nothing was sent for it,
        and nothing is paid here. The bytes lie in the spool already, under these names, in the order of the
        result's files. Both moves are one step: nothing is awaited between them."""
        written = self.group.write(
            f"INSERT INTO submissions ({REUSED_COLUMNS}) SELECT {REUSED_VALUES} WHERE {STILL}",
            (task, self.run, f"taken over from {folder}", *result.request, task, State.PLANNED),
        )
        if not written.rowcount:
            raise errors.StaleTask(f"task {task} is no longer planned; another process wrote to {self.path}")
        submission = written.lastrowid
        self.group.write("DELETE FROM files WHERE task = ?", (task,))
        for file, name in zip(result.files, spool, strict=True):
            self.group.write(
                "INSERT INTO files (task, position, submission, url, spool) VALUES (?, ?, ?, ?, ?)",
                (task, file.position, submission, file.url, name),
            )
        for origin, target in ((State.PLANNED, State.SUBMITTING), (State.SUBMITTING, State.READY)):
            self.group.write(MOVE, (target, submission, None, 0, 0.0, None, None, task, origin))
            self.counts[origin] -= 1
            self.counts[target] += 1

    def _record_bill(self, entry: TaskEntry, submission: Submission, result: Result) -> None:
        """The bill and the times, as the result tells them."""
        cost = None if result.cost is None else micro(result.cost)
        self._first_write(
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
        self._count_money(submission, "completed", cost)

    def note_detail(self, entry: TaskEntry, detail: str) -> None:
        """What there is to say of its submission in force, as why a file of it could not be fetched now: kept
        for errors.jsonl."""
        self.group.write(
            "UPDATE submissions SET detail = ? WHERE id = ?", (detail, current_submission(entry).id)
        )

    def done(self, entry: TaskEntry) -> TaskEntry:
        """Every file of it is delivered."""
        self._check_allowed(entry, State.DONE)
        return self._move(entry, State.DONE, entry.submission)

    def rejected(self, entry: TaskEntry, reason: str, by: str) -> TaskEntry:
        """Every file of it is delivered, and set aside for this reason by a check of this name. What was
        delivered before a check could reject is to move there."""
        self._check(entry, State.REJECTED)
        entry = self._move(entry, State.REJECTED, entry.submission, reason=reason, by=by)
        self.read(rejections.to_move, entry.id, REJECTED)
        return entry

    def doubtful(self, entry: TaskEntry, detail: str, request_id: str | None = None) -> TaskEntry:
        """The answer to its POST was lost; `request_id`: behind the id of its job."""
        self._check(entry, State.DOUBTFUL)
        submission = self._record_outcome(entry, "doubtful", detail)
        if request_id is not None:
            self.group.write(
                "UPDATE submissions SET request_id = ? WHERE id = ?", (request_id, submission.id)
            )
            submission = replace(submission, request_id=request_id)
        return self._move(entry, State.DOUBTFUL, submission, detail=detail)

    def planned(
        self,
        entry: TaskEntry,
        outcome: str,
        detail: str,
        *,
        not_before: float = 0.0,
        counts_attempt: bool = True,
    ) -> TaskEntry:
        """Back to the queue: its submission ended as `outcome`, and used up one of its attempts or not."""
        self._check(entry, State.PLANNED)
        self._record_outcome(entry, outcome, detail)
        attempts = entry.attempts + (1 if counts_attempt else 0)
        return self._move(entry, State.PLANNED, None, detail=detail, attempts=attempts, not_before=not_before)

    def put_off(self, entry: TaskEntry, not_before: float, *, counts_attempt: bool) -> TaskEntry:
        """A planned task waits until `not_before` although nothing was submitted (an upload failed)."""
        attempts = entry.attempts + (1 if counts_attempt else 0)
        self.group.write(
            "UPDATE tasks SET attempts = ?, not_before = ? WHERE id = ? AND state = 'planned'",
            (attempts, not_before, entry.id),
        )
        return replace(entry, attempts=attempts, not_before=not_before)

    def failed(
        self,
        entry: TaskEntry,
        reason: str,
        outcome: str | None = None,
        *,
        cost: float | None = None,
        detail: str | None = None,
    ) -> TaskEntry:
        """It ended without a picture; `outcome` is what became of its submission, if it had one in force, and
        `detail` what is kept of it beyond the reason."""
        self._check(entry, State.FAILED)
        submission = entry.submission
        if outcome is not None and submission is not None:
            submission = self._record_outcome(entry, outcome, detail or reason, cost)
        return self._move(entry, State.FAILED, submission, reason=reason)

    def _reserve_answers(self) -> None:
        """Room for what the provider will answer is there before it is asked. Raises DiskError."""
        with database.disk_errors(self.path):
            self.answers.reserve()

    # --- the one way a state changes

    def _check(self, entry: TaskEntry, target: State) -> None:
        """Before a step writes its first word: so one that may not be taken changes nothing."""
        self._check_allowed(entry, target)
        self._check_unmoved(entry)

    def _check_allowed(self, entry: TaskEntry, target: State) -> None:
        if target not in TRANSITIONS[entry.state]:
            raise errors.LedgerError(f"task {entry.task.name} may not go from {entry.state} to {target}")

    def _first_write(self, entry: TaskEntry, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        """The first word of a step, which says itself that the task is STILL where it was left: the steps of
        every task need no look before."""
        written = self.group.write(statement, (*values, entry.id, entry.state))
        if not written.rowcount:
            raise self._stale(entry)
        return written

    def _check_unmoved(self, entry: TaskEntry) -> None:
        if self._rows("SELECT state FROM tasks WHERE id = ?", (entry.id,)) != [(entry.state,)]:
            raise self._stale(entry)

    def _stale(self, entry: TaskEntry) -> errors.StaleTask:
        return errors.StaleTask(
            f"task {entry.task.name} is no longer {entry.state}, or left the plan; "
            f"another process wrote to {self.path}"
        )

    def _record_outcome(
        self, entry: TaskEntry, outcome: str, detail: str, cost: float | None = None
    ) -> Submission:
        submission = current_submission(entry)
        if submission.outcome == "completed":
            outcome, cost = "completed", None  # paid stays paid, whatever becomes of its files
        billed = None if cost is None else micro(cost)
        self._count_money(submission, outcome, billed)
        self.group.write(
            "UPDATE submissions SET outcome = ?, detail = ?, cost = coalesce(?, cost), "
            "answered_at = coalesce(answered_at, ?), "
            "completed_at = CASE WHEN ?1 = 'completed' THEN coalesce(completed_at, ?4) END WHERE id = ?",
            (outcome, detail, billed, self.now(), submission.id),
        )
        return replace(submission, outcome=outcome)

    def _count_money(self, submission: Submission, outcome: str, cost: int | None = None) -> None:
        """The running totals follow every change of an outcome."""
        if submission.outcome != outcome:
            move = (submission.outcome, outcome, submission.images, submission.reserved, cost)
            self.money = self.money.with_outcome(*move)
            if submission.id <= self._last_before_run:
                self._money_before_run = self._money_before_run.with_outcome(*move)
            if self.daily is not None:
                self.daily.moved(submission.submitted_at, *move)

    def _move(
        self,
        entry: TaskEntry,
        target: State,
        submission: Submission | None,
        *,
        reason: str | None = None,
        detail: str = "",
        attempts: int | None = None,
        not_before: float = 0.0,
        by: str | None = None,
    ) -> TaskEntry:
        moved = replace(
            entry,
            state=target,
            submission=submission,
            attempts=entry.attempts if attempts is None else attempts,
            not_before=not_before,
        )
        number = None if submission is None else submission.id
        at = None if by is None else self.now()
        values = (target, number, reason, moved.attempts, not_before, by, at, entry.id, entry.state)
        row = self.group.write(MOVE, values).fetchone()
        if row is None:
            raise self._stale(entry)
        if row[0] == self.plan_number:
            self.counts[entry.state] -= 1
            self.counts[target] += 0 if self._is_withdrawn(moved) else 1
        self._moved(entry, moved, reason or detail)
        return moved

    def _is_withdrawn(self, moved: TaskEntry) -> bool:
        """Whether a replacement that is planned again left the plan thereby: its cell needs none any more."""
        if moved.state is not State.PLANNED or not moved.task.redo:
            return False
        return self.group.write(replacement_cells.WITHDRAWN, (moved.id,)).rowcount > 0
