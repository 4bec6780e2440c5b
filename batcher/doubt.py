"""What the provider's history knows of a POST whose answer was lost.

Law: a job is adopted only when model, request body and time fit and no other task has its request_id; that
none was found is believed only after the history had time to show it.
Source: `Generations.history` of the official SDK 1.3.0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from itertools import count
from typing import Any

import anyio

from batcher import errors, retry
from batcher.client import Client
from batcher.ledger.entries import Submission
from batcher.ledger.writer import Ledger
from batcher.pacing import Kind, Pacing
from batcher.wire import HistoryRow

LOOKS = (5.0, 10.0, 20.0, 40.0)
"""Seconds before each look: a request may take a while to appear in the history."""
PATIENCE = 600.0
"""Seconds for which a look that came to nothing is taken again: so long an API may be down."""
EARLY = 5.0
LATE = 900.0
"""Seconds around the submission in which its row must lie: clocks differ, queues delay."""
PAGES = 50
ROWS_A_PAGE = 100


class Answer(Enum):
    """What the history says when it names no job."""

    NONE = "no such job"
    UNKNOWN = "the history cannot be asked"


class History:
    """Asks the history; says once when it cannot be asked. `stopped`: whether the run is about to end."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        pacing: Pacing,
        *,
        stopped: Callable[[], bool],
        model: str,
        tell: Callable[[str], None],
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._pacing = pacing
        self._stopped = stopped
        self._model = model
        self._tell = tell
        self._off = False

    async def job_of(
        self, submission: Submission, body: Mapping[str, Any], *, contested: Callable[[], bool]
    ) -> list[HistoryRow] | Answer:
        """The rows (one per output) of the job that `submission` made of `body`. While it is `contested`,
        what is found may be the job of a POST whose answer is still to come: then it is looked again."""
        for wait in LOOKS:
            since = self._ledger.now() - submission.submitted_at
            await anyio.sleep(max(0.0, wait - since))
            found = await self._told(submission, body, contested)
            if found is None:
                return Answer.UNKNOWN
            if found:
                return found
        return Answer.NONE

    async def _told(
        self, submission: Submission, body: Mapping[str, Any], contested: Callable[[], bool]
    ) -> list[HistoryRow] | None:
        """What one look found, which is taken again as long as it fails; None: it did for too long."""
        until = self._ledger.now() + PATIENCE
        for failures in count():
            if self._off:
                return None
            try:
                found = await self._look(submission, body)
                if not found or not contested():
                    return found
            except (errors.RecordGone, errors.Rejected, errors.StopsTheRun) as error:
                self._switch_off(error)
                return None
            except errors.ApiError:
                pass
            if self._stopped() or self._ledger.now() >= until:
                return None
            await anyio.sleep(retry.again_asking(failures, luck=1.0))
        raise AssertionError("counting has no end")

    def _switch_off(self, error: errors.ApiError) -> None:
        self._off = True
        self._tell(
            f"the request history cannot be asked ({error.message}): doubtful tasks are held; "
            "`batcher retry --doubtful` submits them again"
        )

    async def _look(self, submission: Submission, body: Mapping[str, Any]) -> list[HistoryRow]:
        earliest, latest = submission.submitted_at - EARLY, submission.submitted_at + LATE
        wanted = _canonical(body)
        for page in range(1, PAGES + 1):
            turn = await self._pacing.turn(Kind.HISTORY)
            rows = await self._client.history(
                turn,
                model=self._model,
                first=_day(earliest),
                last=_day(latest),
                page=page,
                per_page=ROWS_A_PAGE,
            )
            fits = [
                row
                for row in rows
                if row.model == self._model
                and (row.created_at is None or earliest <= row.created_at <= latest)
                and _canonical(row.body) == wanted
                and not self._ledger.knows(row.request_id)
            ]
            if fits:
                return [row for row in fits if row.request_id == fits[-1].request_id]
            if len(rows) < ROWS_A_PAGE:
                break
        return []


def _canonical(body: object) -> str:
    """Bodies are equal when their JSON is, whatever the order of keys; a body told as text is read first."""
    told = body
    if isinstance(body, str):
        try:
            told = json.loads(body)
        except ValueError:
            return body
    return json.dumps(told, sort_keys=True, ensure_ascii=False)


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
