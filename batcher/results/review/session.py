"""A review: one decision after another, each at once, and taken back one by one.

Rule: a decision is in the ledger and its file in its place before it is answered; the records, which grow
with the job, are written anew when nobody decides. Whoever is killed in between leaves them stale, and the
ledger knows it: the next review, `reject`, `keep` or run writes them, and `verify` finds them.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from batcher import errors
from batcher.ledger import database, rejections, reviews, stale_records
from batcher.ledger.check_verdicts import PERSON
from batcher.ledger.rejections import ReviewStatus
from batcher.ledger.reviews import Look
from batcher.results import report
from batcher.results.report import record_files
from batcher.results.review.decisions import CANNOT_REDO, can_redo
from batcher.results.review.who import reviewer
from batcher.storage import destination, layout, lock
from batcher.storage.destination import Destination
from batcher.task import State

NO_REASON = "no reason given"
NUMBERED = 9
"""Reasons that have a key of their own."""
OFFERED = ("blurred", "artefacts", "wrong anatomy", "text or watermark", "not what was asked for")
"""Where nobody says otherwise, and after what was said in this job before."""
TAKEN_BACK_AT_MOST = 1000
"""Decisions that one review can take back."""

Verdict = Literal["keep", "reject", "redo"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a review is: tasks with pictures, those somebody looked at, and those that are rejected."""

    tasks: int
    looked_at: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of one: the `status` of its task now, and `lost`, files of it that are nowhere.
    `has_another`: it has its picture, and a replacement is delivered too, or on its way."""

    status: ReviewStatus
    lost: tuple[str, ...] = ()
    has_another: bool = False


class ReviewSession:
    """The review of one output folder by one person. Its methods block; one at a time may be called."""

    def __init__(self, output: Path, *, now: Callable[[], float], reasons: Sequence[str] = ()) -> None:
        """`reasons` are offered, the first nine by number; without any, those that were given in this job
        before, and usual ones. Raises UsageError where nothing was run, or no picture is delivered;
        LedgerError, DiskError."""
        self.output = output
        self._now = now
        self._by = reviewer()
        self._path = layout.ledger_path(output)
        self._decided: deque[tuple[ReviewStatus, ReviewStatus]] = deque(maxlen=TAKEN_BACK_AT_MOST)
        self._page_is_stale = False
        if not self._path.exists():
            raise errors.UsageError(layout.nothing_run_text(output))
        with self._opened(checked=False) as (connection, _):
            self.job = database.meta(connection, "job") or output.name
            self.can_redo = can_redo(connection)
            if not _progress(connection).tasks:
                raise errors.UsageError(
                    f"{self.job} has no picture to look at yet; `batcher watch` shows how a run begins"
                )
            self.reasons = list(map(_line, reasons)) or _offered(connection)

    def decide(self, task: int, verdict: Verdict, reason: str = "") -> Decision:
        """Keeps or rejects a task, whichever it is now: what is done and kept is looked at, no more; what is
        rejected again is so for this reason, where one is given. `redo` rejects, and asks for a replacement.
        Raises UsageError where it has no picture, or a replacement would be the same.
        """
        with self._opened() as (connection, where):
            before = rejections.review_status(connection, task)
            if before is None or before.state not in (State.DONE, State.REJECTED):
                state = "not of this job" if before is None else before.state
                raise errors.UsageError(f"this task is {state}: there is no picture of it to decide about")
            reason = _line(reason)
            self._apply(connection, before, verdict, reason)
            if reason and reason not in self.reasons:
                self.reasons.append(reason)
            after = rejections.review_status(connection, task)
            assert after is not None
            self._decided.append((before, after))
            self._page_is_stale = True
            return _decision(connection, where, after)

    def _apply(
        self, connection: sqlite3.Connection, before: ReviewStatus, verdict: Verdict, reason: str
    ) -> None:
        task, look = before.task, Look(self._now(), self._by)
        again = [task] if verdict == "redo" else []
        if again and not can_redo(connection):
            raise errors.UsageError(CANNOT_REDO)
        if verdict == "keep" and before.state == State.REJECTED:
            rejections.keep(connection, [task], look=look)
        elif verdict != "keep" and (again or before.state == State.DONE):
            reason = reason or NO_REASON
            rejections.reject(
                connection, [task], reason=reason, by=PERSON, at=look.at, look=look, again=again
            )
            if before.state == State.REJECTED:
                reviews.look_at(connection, task, look)
        elif verdict != "keep" and reason:
            rejections.give_reason(connection, task, reason=reason, by=PERSON, at=look.at, look=look)
        else:
            reviews.look_at(connection, task, look)

    def take_back(self) -> Decision:
        """The last decision of this review is undone. Raises UsageError where there is none, or where
        somebody else has decided about the task since."""
        if not self._decided:
            raise errors.UsageError("no decision is left to be taken back")
        before, after = self._decided.pop()
        with self._opened() as (connection, where):
            if not rejections.restore(connection, before, after):
                raise errors.UsageError("somebody else decided about this task since; it stays as it is")
            self._page_is_stale = True
            return _decision(connection, where, before)

    def progress(self) -> Progress:
        """How far the review is."""
        with self._reading() as connection:
            return _progress(connection)

    def records_are_stale(self) -> bool:
        """Whether a decision is not in the records yet."""
        with self._reading() as connection:
            return stale_records.last_unwritten(connection) > 0

    def write_records(self, *, page: bool = False) -> bool:
        """Writes the records anew, if they are stale, and with `page` report.html too; False where a run goes
        on, which does it at its end."""
        if not (self.records_are_stale() or (page and self._page_is_stale)):
            return True
        since = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")
        try:
            # Not on the ledger's own file: a handle of it that closes takes the locks of our other readers.
            with lock.hold(layout.lock_path(self.output), since=since):
                facts = report.of_folder(self.output, now=self._now(), running=False)
                if page:
                    report.write(facts)
                    self._page_is_stale = False
                else:
                    record_files.write_records(facts)
        except errors.Locked:
            return False
        return True

    @contextmanager
    def _opened(self, *, checked: bool = True) -> Iterator[tuple[sqlite3.Connection, Destination]]:
        with (
            database.disk_errors(self._path),
            closing(database.open_file(self._path, checked=checked)) as connection,
        ):
            where = destination.open_destination(database.meta(connection, "destination"), self.output)
            rejections.end_moves(connection, where)
            yield connection, where

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with database.disk_errors(self._path), closing(database.open_for_reading(self._path)) as connection:
            yield connection


def _decision(connection: sqlite3.Connection, where: Destination, status: ReviewStatus) -> Decision:
    lost = rejections.end_moves(connection, where)
    has_another = status.state == State.DONE and rejections.has_another(connection, status.task)
    return Decision(status, tuple(lost), has_another)


def _line(reason: str) -> str:
    return " ".join(reason.split())


def _offered(connection: sqlite3.Connection) -> list[str]:
    given = reviews.reasons(connection, PERSON, NUMBERED + 1)
    return [one for one in dict.fromkeys((*given, *OFFERED)) if one != NO_REASON][:NUMBERED]


def _progress(connection: sqlite3.Connection) -> Progress:
    tasks = list(reviews.to_review(connection))
    return Progress(len(tasks), sum(one.looked_at for one in tasks), sum(one.rejected for one in tasks))
