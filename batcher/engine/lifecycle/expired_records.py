"""Expiry is another door: what the record does not tell any more, the request history does.

Rule: nothing counts as lost before the history was asked for it by its id. What the history does not know
either, or where there is none that can be believed, follows `retry.expired`; where it does not answer now,
the task stays as it is, and the next run asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

import anyio

from batcher import errors
from batcher.api import wire
from batcher.api.wire import HistoryRow, Output
from batcher.engine.history_lookup import (
    SHORT_PATIENCE,
    HistoryWindow,
    NoAnswer,
    RequestHistory,
    outputs_of,
)
from batcher.engine.lifecycle.outcomes import Outcomes
from batcher.engine.submission_ages import FILES_END, SubmissionAges
from batcher.ledger.entries import Submission, TaskEntry, current_submission
from batcher.ledger.ledger import Ledger

RUNNING_SECONDS = 600.0
"""So long a request is asked about that the history says goes on, after its record is gone."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
LATE_PAUSES = (0.0, 5.0, 25.0, 60.0)
"""Seconds before each look for a job that has ended just now: its row may come late."""
LATE_SECONDS = 300.0
"""A submission older than this has no row that is yet to come: a v1 call lasts 180 s at most."""
DAY = 86_400.0


class ExpiredRecords:
    """Looks up in the history what cannot be had from a record any more. `warn` takes sentences to tell."""

    def __init__(
        self,
        outcomes: Outcomes,
        history: RequestHistory,
        *,
        ledger: Ledger,
        ages: SubmissionAges,
        warn: Callable[[str], None],
    ) -> None:
        self._outcomes = outcomes
        self._history = history
        self._ledger = ledger
        self._ages = ages
        self._warn = warn

    async def settle(self, entry: TaskEntry, error: errors.ApiError) -> TaskEntry:
        """The task as it is after its record was found gone with `error`: ready, failed, lost, or as it was
        where the history does not answer."""
        row = await self._ended(current_submission(entry).request_id)
        if row is NoAnswer.UNANSWERED and self._ages.of(entry) < FILES_END:
            return entry
        if isinstance(row, NoAnswer):
            return self._outcomes.expired(entry, error)
        if row.url is None and row.status != "FAILED":
            return self._outcomes.expired(entry, errors.RecordGone(f"{error.message}; {_told(row)}"))
        return await self._recorded(entry, row)

    async def look(self, entry: TaskEntry) -> TaskEntry | None:
        """The task as the history ends it, whose record is not found although it should live; None where the
        history does not tell of an end."""
        request_id = current_submission(entry).request_id
        if request_id is None:
            return None
        row = await self._history.row_of(request_id, patience=SHORT_PATIENCE)
        if isinstance(row, NoAnswer) or not _has_ended(row):
            return None
        return await self._recorded(entry, row)

    async def named(self, entry: TaskEntry) -> TaskEntry | None:
        """The task as the history ends it, whose answer broke off behind the id of its job: a v1 answer comes
        when the job has ended, and its row soon after. As it was, where the history does not answer now, or
        has not seen the end yet; None where it does not know of such a job."""
        request_id = current_submission(entry).request_id
        row = NoAnswer.NOT_FOUND if request_id is None else await self._late_row(entry, request_id)
        if isinstance(row, HistoryRow) and _has_ended(row):
            return await self._recorded(entry, row)
        if row in (NoAnswer.NOT_FOUND, NoAnswer.UNAVAILABLE) or self._ages.of(entry) >= FILES_END:
            return None
        return entry

    async def _late_row(self, entry: TaskEntry, request_id: str) -> HistoryRow | NoAnswer:
        """The row of a request that has ended, waited for where that was just now; else the last answer."""
        row: HistoryRow | NoAnswer = NoAnswer.NOT_FOUND
        for pause in LATE_PAUSES if self._ages.of(entry) < LATE_SECONDS else LATE_PAUSES[:1]:
            await anyio.sleep(pause)
            row = await self._history.row_of(request_id, patience=SHORT_PATIENCE)
            if row is NoAnswer.UNAVAILABLE or (isinstance(row, HistoryRow) and _has_ended(row)):
                break
        return row

    async def _recorded(self, entry: TaskEntry, row: HistoryRow) -> TaskEntry:
        submission = current_submission(entry)
        if row.status == "FAILED":
            return self._outcomes.ran_and_failed(entry, wire.failed({"error": row.error}))
        outputs = await self._outputs(submission, row)
        if outputs is None:
            return entry
        result = wire.Result(outputs, request_id=row.request_id, cost=row.cost)
        return await self._outcomes.completed(entry, result)

    async def links(self, entry: TaskEntry) -> Sequence[Output]:
        """What the history names of the result of a ready task; empty where it does not. A row may come late
        where the bytes came inside the answer."""
        submission = current_submission(entry)
        if submission.request_id is None:
            return ()
        row: HistoryRow | NoAnswer
        if submission.api == "v1":
            row = await self._late_row(entry, submission.request_id)
        else:
            row = await self._history.row_of(submission.request_id, patience=SHORT_PATIENCE)
        if not isinstance(row, HistoryRow) or row.status != "COMPLETED" or row.url is None:
            return ()
        if submission.images == 1 and [file.position for file in self._ledger.files(entry)] == [0]:
            return (Output(url=row.url),)
        rows = await self._rows(row)
        return () if rows is None else outputs_of(row, rows)

    async def _ended(self, request_id: str | None) -> HistoryRow | NoAnswer:
        """Its row, asked for again as long as it goes on, or lacks what is written shortly after the end."""
        if request_id is None:
            return NoAnswer.NOT_FOUND
        clock = asyncio.get_running_loop().time
        until = clock() + RUNNING_SECONDS
        for round_ in count():
            row = await self._history.row_of(request_id)
            if isinstance(row, NoAnswer) or row.status == "FAILED":
                return row
            if _is_whole(row) or clock() >= until:
                return row
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(round_, 10))
            await anyio.sleep(min(pause, max(1.0, until - clock())))
        raise AssertionError("counting has no end")

    async def _outputs(self, submission: Submission, row: HistoryRow) -> tuple[Output, ...] | None:
        """Every output of a completed request; None where the list of that day does not answer now."""
        if submission.images == 1:
            return outputs_of(row, ())
        rows = await self._rows(row)
        if rows is None:
            return None
        outputs = outputs_of(row, rows)
        if len(outputs) < submission.images:
            self._warn(
                f"the request history names {len(outputs)} of the {submission.images} pictures "
                f"of request {row.request_id}"
            )
        return outputs

    async def _rows(self, row: HistoryRow) -> Sequence[HistoryRow] | None:
        """The rows of a request in the list of its days; None where that does not answer now."""
        if row.created_at is None:
            return ()
        since = asyncio.get_running_loop().time()
        window = await self._history.window(row.created_at - DAY / 2, row.created_at + DAY / 2, since=since)
        if window is NoAnswer.UNANSWERED:
            return None
        if not isinstance(window, HistoryWindow):
            return ()
        return [one for one in window.rows if one.request_id == row.request_id]


def _is_whole(row: HistoryRow) -> bool:
    return row.status == "COMPLETED" and row.url is not None


def _has_ended(row: HistoryRow) -> bool:
    return row.status == "FAILED" or _is_whole(row)


def _told(row: HistoryRow) -> str:
    if row.status == "COMPLETED":
        return "the request history says that it was completed, and names no picture"
    return f"the request history says that it is still {row.status[:40]}"
