"""From planned to a request_id on disk: the intent, the POST, and what becomes of it.

Law: intent before the deed, fact right after it. What an answer proves decides; what it does not prove is
doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from batcher import errors, retry, wire
from batcher.admission import Purse
from batcher.client import Client
from batcher.doubt import Answer, History
from batcher.ledger.entries import Entry
from batcher.ledger.writer import Ledger
from batcher.lifecycle.endings import Endings, in_force
from batcher.lifecycle.rules import Rules
from batcher.outage import Outage
from batcher.pacing import Kind, Pacing
from batcher.stopping import Stopping
from batcher.uploads import Uploads
from batcher.wire import HistoryRow


class Submitting:
    """The steps of planned and doubtful tasks."""

    def __init__(
        self,
        rules: Rules,
        endings: Endings,
        *,
        ledger: Ledger,
        client: Client,
        uploads: Uploads,
        pacing: Pacing,
        purse: Purse,
        history: History,
        stopping: Stopping,
    ) -> None:
        self._rules = rules
        self._endings = endings
        self._ledger = ledger
        self._client = client
        self._uploads = uploads
        self._pacing = pacing
        self._purse = purse
        self._history = history
        self._stopping = stopping
        self.outage = Outage()

    async def submit(self, entry: Entry) -> Entry:
        kind = Kind.SYNC if self._rules.api == "v1" else Kind.SUBMIT
        with self._stopping.given_up() as waiting:
            body = await self._body(entry)
            if isinstance(body, Entry):
                return body
            reserved = await self._purse.reserve(entry.id, entry.task.images)
            turn = await self._turn(kind)
        if waiting.cancelled_caught or self._stopping.requested:
            self._purse.released(entry.id)
            return entry
        probe = self.outage.leaving()
        entry = await self._intend(entry, reserved, probe=probe)
        try:
            if kind is Kind.SYNC:
                result = await self._client.sync(self._rules.model, body, turn)
                self._must_be_new(result.request_id)
                self.outage.answered()
                return await self._endings.completed(entry, result)
            accepted = await self._client.submit(self._rules.model, body, turn)
            self._must_be_new(accepted.request_id)
        except errors.ApiError as error:
            return self._not_accepted(entry, error, probe=probe)
        except asyncio.CancelledError:
            self._ledger.doubtful(entry, "stopped while its answer was awaited")
            raise
        self.outage.answered()
        # Written at once, and on disk with its group within milliseconds: long before it is asked about.
        return self._ledger.submitted(entry, accepted)

    def _must_be_new(self, request_id: str | None) -> None:
        """An answer that tells of a job we know is that to another request (a line out of step, a cache):
        what became of this one is not known. Raises AnswerLost."""
        if request_id is not None and self._ledger.knows(request_id):
            raise errors.AnswerLost("the answer tells of another request's job", status=200)

    async def _body(self, entry: Entry) -> dict[str, Any] | Entry:
        """The request body, its files uploaded; or the task as it is after that came to nothing."""
        if not entry.task.media:
            return dict(entry.task.params)
        down = self._uploads.outage.down
        try:
            return await self._uploads.body(entry.task)
        except errors.StopsTheRun:
            raise
        except errors.FileError as error:
            return self._ledger.failed(entry, error.reason)
        except errors.ApiError as error:
            return self._not_uploaded(entry, error, spent=not down)

    def _not_uploaded(self, entry: Entry, error: errors.ApiError, *, spent: bool) -> Entry:
        """An upload can be done again without harm; a storage that is down fails nobody."""
        if isinstance(error, errors.Throttled):
            return self._ledger.put_off(entry, self._endings.after_upload_throttling(error), spent=False)
        spent = spent and not isinstance(error, errors.Refused)
        decision = self._endings.decide(error, entry)
        if isinstance(decision, retry.GiveUp) and spent:
            return self._ledger.failed(entry, decision.reason)
        at = decision.at if isinstance(decision, retry.Again) else self._ledger.now() + 1.0
        return self._ledger.put_off(entry, at, spent=spent)

    async def _turn(self, kind: Kind) -> float:
        """The turn is granted last, when nothing else is in the way; the gate's answer for the client."""
        while True:
            await self.outage.over()
            turn = await self._pacing.turn(kind)
            if not self.outage.blocked():
                return turn

    async def _intend(self, entry: Entry, reserved: int, *, probe: bool) -> Entry:
        """The intent is on disk before the POST leaves. A cancellation here proves that it did not."""
        entry = self._ledger.submitting(entry, api=self._rules.api, reserved=reserved)
        self._purse.taken(entry.id)
        try:
            await self._ledger.committed()
        except asyncio.CancelledError:
            self.outage.withdrawn(probe=probe)
            self._ledger.planned(entry, "refused", "stopped before it was sent", spent=False)
            raise
        return entry

    def _not_accepted(self, entry: Entry, error: errors.ApiError, *, probe: bool) -> Entry:
        """What becomes of a task whose POST got no yes."""
        if isinstance(error, errors.Throttled):
            at = self._endings.after_throttling(error)
            entry = self._ledger.planned(entry, "refused", error.reason, not_before=at, spent=False)
            self.outage.throttled(error.message)
            return entry
        if isinstance(error, errors.StopsTheRun):
            self.outage.answered()
            self._ledger.planned(entry, "refused", error.reason, spent=False)
            raise error
        if isinstance(error, errors.InferenceFailed):
            self.outage.answered()
            return self._endings.ran_and_failed(entry, error)
        if isinstance(error, errors.Rejected):
            self.outage.answered()
            if self._endings.wants_its_files_anew(error, entry):
                return self._ledger.planned(entry, "refused", error.reason, spent=False)
            return self._resubmit(entry, self._endings.decide(error, entry), error, "refused", spent=True)
        return self._lost_in_transit(entry, error, probe=probe)

    def _lost_in_transit(self, entry: Entry, error: errors.ApiError, *, probe: bool) -> Entry:
        """5xx, refusals, cuts. While the API is down no attempt is spent; a refusal never spends one."""
        down = self.outage.down
        spent = not down and not isinstance(error, errors.Refused)
        decision = self._endings.decide(error, entry)
        if isinstance(error, errors.AnswerLost):
            entry = self._ledger.doubtful(entry, error.reason)
            if self._rules.doubtful == "resubmit":
                entry = self._resubmit(entry, decision, error, "doubtful", spent=spent)
        else:
            outcome = "gateway" if isinstance(error, errors.Gateway) else "refused"
            entry = self._resubmit(entry, decision, error, outcome, spent=spent)
        self.outage.lost(error.message, probe=probe)
        return entry

    def _resubmit(
        self, entry: Entry, decision: retry.Decision, error: errors.ApiError, outcome: str, *, spent: bool
    ) -> Entry:
        if isinstance(decision, retry.GiveUp) and spent:
            return self._ledger.failed(entry, decision.reason, outcome)
        at = decision.at if isinstance(decision, retry.Again) else self._ledger.now()
        return self._ledger.planned(entry, outcome, error.reason, not_before=at, spent=spent)

    async def settle_doubt(self, entry: Entry) -> Entry:
        """An earlier process was cut off, or the answer was lost and the policy is not just to resubmit."""
        if (found := self._endings.found_in_spool(entry)) is not None:
            return found
        if self._rules.doubtful == "resubmit":
            return self._ledger.planned(
                entry, "doubtful", "its answer was lost; submitted again", spent=False
            )
        if self._rules.doubtful == "hold":
            return entry
        try:
            body = await self._uploads.sent(entry.task, in_force(entry).submitted_at)
        except errors.TaskError:
            return entry
        if body is None:
            return entry
        told = await self._history.job_of(in_force(entry), body, contested=lambda: self._has_a_twin(entry))
        if told is Answer.UNKNOWN:
            return entry
        if told is Answer.NONE:
            return self._ledger.planned(entry, "doubtful", "the history knows no such job", spent=True)
        return await self._adopted(entry, told)

    def _has_a_twin(self, entry: Entry) -> bool:
        """Whether a POST with the same body is in the air: a job of that body may be its own."""
        return any(
            self._uploads.alike(entry.task, other.task)
            for other in self._ledger.in_the_air()
            if other.id != entry.id
        )

    async def _adopted(self, entry: Entry, rows: Sequence[HistoryRow]) -> Entry:
        """The job exists: from here on it is like any other. A finished one is taken from the history itself,
        for its record may be over."""
        job = rows[0]
        if job.status == "FAILED":
            return self._endings.ran_and_failed(entry, wire.failed({"error": job.error}))
        outputs = tuple(wire.Output(url=row.url) for row in rows if row.url)
        if outputs:
            return await self._endings.completed(
                entry, wire.Result(outputs, request_id=job.request_id, cost=job.cost)
            )
        if self._rules.api == "v1":
            return entry
        entry = self._ledger.submitted(entry, wire.record_of(job.request_id, self._client.endpoints.api))
        await self._ledger.committed()
        return entry
