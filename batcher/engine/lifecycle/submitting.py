"""From planned to a request_id on disk: the intent, the POST, and what becomes of it.

Rule: intent before the deed, fact right after it. What an answer proves decides; what it does not prove is
doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio

from batcher import errors
from batcher.api import retry, wire
from batcher.api.client import Client
from batcher.api.outage import Outage
from batcher.api.pacing import CallKind, Pacing
from batcher.api.signal import Signal
from batcher.api.wire import HistoryRow
from batcher.engine.admission import Budget, InFlight
from batcher.engine.delivery import Delivery
from batcher.engine.delivery_brake import DeliveryBrake
from batcher.engine.history_lookup import NoAnswer, outputs_of
from batcher.engine.lifecycle.cold_model import ColdModel
from batcher.engine.lifecycle.expired_records import ExpiredRecords
from batcher.engine.lifecycle.outcomes import Outcomes
from batcher.engine.reconcile import Reconciliation
from batcher.engine.stopping import Stopping
from batcher.engine.submission_ages import SubmissionAges
from batcher.engine.uploads import Uploads
from batcher.job.diagnostics import Warn
from batcher.job.manifest import Manifest
from batcher.ledger.entries import TaskEntry, current_submission
from batcher.ledger.ledger import Ledger

UNREAD_NOTE = "unread"
"""What the last submit's answer said, among the ledger's notes, as long as none since was understood."""


class PendingPosts:
    """The POSTs whose answer is awaited, or not yet recorded."""

    def __init__(self) -> None:
        self.number = 0
        self._changed = Signal()

    @contextmanager
    def post(self) -> Iterator[None]:
        """One of them, while the block runs."""
        self.number += 1
        try:
            yield
        finally:
            self.number -= 1
            self._changed.notify()

    async def none(self) -> None:
        """Waits until there is none."""
        while self.number:
            await self._changed.wait()


class Submitting:
    """The steps of planned and doubtful tasks. `source_changed`: planned tasks whose pictures are others than
    they were planned with, which this run does not submit."""

    def __init__(
        self,
        job: Manifest,
        api: str,
        outcomes: Outcomes,
        *,
        ledger: Ledger,
        client: Client,
        delivery: Delivery,
        uploads: Uploads,
        pacing: Pacing,
        budget: Budget,
        in_flight: InFlight,
        ages: SubmissionAges,
        reconciliation: Reconciliation,
        expired: ExpiredRecords,
        brake: DeliveryBrake,
        stopping: Stopping,
        warn: Warn,
    ) -> None:
        self._job = job
        self._api = api
        self._outcomes = outcomes
        self._ledger = ledger
        self._client = client
        self._delivery = delivery
        self._uploads = uploads
        self._pacing = pacing
        self._budget = budget
        self._in_flight = in_flight
        self._ages = ages
        self._reconciliation = reconciliation
        self._expired = expired
        self.brake = brake
        self._stopping = stopping
        self._warn = warn
        self.source_changed: set[int] = set()
        self.outage = Outage(unread=ledger.meta(UNREAD_NOTE) or "")
        self.pending_posts = PendingPosts()
        self._cold = ColdModel(cold=api == "v1")

    async def submit(self, entry: TaskEntry) -> TaskEntry:
        """One POST, once everything that may hold it back lets it go; the entry as it was left, where a stop
        came first."""
        async with self._uploads.in_body(entry.task):
            try:
                return await self._submit(entry)
            finally:
                self._cold.leave(entry.id)
                self._budget.released(entry.id)  # nothing, once the ledger has it

    async def _submit(self, entry: TaskEntry) -> TaskEntry:
        kind = CallKind.SYNC if self._api == "v1" else CallKind.SUBMIT
        with self._stopping.cancelled_by_stop() as waiting:
            body = await self._body(entry)
            if isinstance(body, TaskEntry):
                return body
            while True:
                reserved = await self._budget.reserve(entry.id, entry.task.images)
                await self._in_flight.acquire(entry.id)
                await self._cold.enter(entry.id)
                sent_at = await self._acquire(kind)
                if self._budget.is_current(entry.id):
                    break
                # Midnight passed or a lower limit was set while it waited for its turn: the budget decides
                # again, and nobody waits for a slot that is held meanwhile.
                self._budget.released(entry.id)
                self._cold.leave(entry.id)
                self._in_flight.leave(entry.id)
                self._in_flight.expect(entry.id)
        if waiting.cancelled_caught or self._stopping.requested:
            self._budget.released(entry.id)
            return entry
        self._in_flight.sent(entry.id, sent_at)
        probe = self.outage.leaving()
        self.brake.leaving(entry)
        entry = await self._intend(entry, reserved, probe=probe)
        self._ages.sent(entry, sent_at)
        with self.pending_posts.post():
            return await self._post(entry, kind, body, sent_at, probe=probe)

    async def _post(
        self, entry: TaskEntry, kind: CallKind, body: dict[str, Any], sent_at: float, *, probe: bool
    ) -> TaskEntry:
        """Sends it, and records whatever comes back."""
        try:
            if kind is CallKind.SYNC:
                with self._client.memory.lease() as room:
                    result = await self._client.sync(self._job.model, body, sent_at, room)
                    if result.request_id is not None and self._ledger.knows(result.request_id):
                        # The picture is in hand: it is this task's, whatever the header says.
                        result = replace(result, request_id=None)
                    self._understood()
                    return await self._outcomes.completed(entry, result)
            accepted = await self._client.submit(self._job.model, body, sent_at)
            accepted = self._new(accepted)
        except errors.NotUnderstood as error:
            return await self._on_not_understood(entry, error, probe=probe)
        except errors.ApiError as error:
            return self._on_error(entry, error, probe=probe)
        except asyncio.CancelledError:
            self._ledger.doubtful(entry, "stopped while its answer was awaited")
            raise
        self._understood()
        # Written at once, and on disk with its group within milliseconds: long before it is asked about.
        return self._ledger.submitted(entry, accepted)

    def _new(self, accepted: wire.Accepted) -> wire.Accepted:
        """An answer that tells of a job we know is that to another request (a line out of step, a cache):
        what became of this one is not known, but where its URL names a job of its own. Raises AnswerLost."""
        if not self._ledger.knows(accepted.request_id):
            return accepted
        own = wire.id_in(accepted.status_url)
        if own is None or self._ledger.knows(own):
            raise errors.AnswerLost("the answer tells of another request's job", status=200)
        return accepted._replace(request_id=own)

    def _understood(self) -> None:
        """A submit got its yes: whatever was not understood before was a whim."""
        self._cold.answered()
        if self.outage.unread:
            self._ledger.set_meta(UNREAD_NOTE, "")
        self.outage.accepted()

    async def _on_not_understood(
        self, entry: TaskEntry, error: errors.NotUnderstood, *, probe: bool
    ) -> TaskEntry:
        """Neither yes nor no: the task is held, its answer kept whole, and no other follows it blindly."""
        entry = self._ledger.doubtful(entry, error.reason, self._own(error.request_id))
        try:
            self._not_read(error, probe=probe)
        finally:
            if error.answer:
                with anyio.CancelScope(shield=True):
                    kept = await self._delivery.keep_answer(current_submission(entry).id, error.answer)
                self._ledger.note_detail(entry, f"{error.reason} (the whole answer: {kept})")
        return entry

    def _own(self, request_id: str | None) -> str | None:
        """The id of this POST's job, which no other has."""
        return None if request_id is None or self._ledger.knows(request_id) else request_id

    def _not_read(self, error: errors.ApiError, *, probe: bool) -> None:
        """Tells the outage, and the next run. Raises AnswersUnread."""
        self._ledger.set_meta(UNREAD_NOTE, error.message)
        self.outage.not_read(error.message, probe=probe)

    async def _body(self, entry: TaskEntry) -> dict[str, Any] | TaskEntry:
        """The request body, its files uploaded; or the task as it is after that came to nothing."""
        if not entry.task.media:
            return dict(entry.task.params)
        down = self._uploads.outage.down
        try:
            return await self._uploads.body(entry.task)
        except errors.FatalForRun:
            raise
        except errors.SourceChanged as error:
            self.source_changed.add(entry.id)
            self._warn(f"{entry.task.name}: {error.message}; it waits for the next run")
            return entry
        except (errors.ApiError, errors.WorkersLost, errors.StoreError) as error:
            return self._not_uploaded(entry, error, counts_attempt=not down)
        except errors.FileError as error:
            return self._ledger.failed(entry, error.reason)

    def _not_uploaded(self, entry: TaskEntry, error: errors.TaskError, *, counts_attempt: bool) -> TaskEntry:
        """An upload can be done again without harm; a storage that is down fails nobody."""
        if isinstance(error, errors.Throttled):
            return self._ledger.put_off(
                entry, self._outcomes.after_upload_throttling(error), counts_attempt=False
            )
        counts_attempt = counts_attempt and not isinstance(error, errors.Unreachable)
        decision = self._outcomes.decide(error, entry)
        if isinstance(decision, retry.GiveUp) and counts_attempt:
            return self._ledger.failed(entry, decision.reason)
        at = decision.at if isinstance(decision, retry.RetryAt) else self._ledger.now() + 1.0
        return self._ledger.put_off(entry, at, counts_attempt=counts_attempt)

    async def _acquire(self, kind: CallKind) -> float:
        """Waits for the right to call, last of all, when nothing else is in the way; the gate's answer is for
        the client."""
        while True:
            await self.outage.over()
            await self.brake.over()
            sent_at = await self._pacing.acquire(kind)
            if not self.outage.blocked() and not self.brake.blocked():
                return sent_at

    async def _intend(self, entry: TaskEntry, reserved: int, *, probe: bool) -> TaskEntry:
        """The intent is on disk before the POST leaves. A cancellation here proves that it did not. Raises
        StaleTask, all that was held for it given back, where the task left the plan meanwhile."""
        try:
            entry = self._ledger.submitting(entry, api=self._api, reserved=reserved)
        except errors.StaleTask:
            self._budget.released(entry.id)
            self.outage.withdrawn(probe=probe)
            raise
        self._budget.recorded(entry.id)
        try:
            await self._ledger.committed()
        except asyncio.CancelledError:
            self.outage.withdrawn(probe=probe)
            self._ledger.planned(entry, "refused", "stopped before it was sent", counts_attempt=False)
            raise
        return entry

    def _on_error(self, entry: TaskEntry, error: errors.ApiError, *, probe: bool) -> TaskEntry:
        """What becomes of a task whose POST got no yes."""
        if isinstance(error, errors.Throttled):
            # The gate pauses everybody; this one need not be told apart.
            entry = self._ledger.planned(entry, "refused", error.reason, counts_attempt=False)
            self.outage.throttled(error.message)
            return entry
        if isinstance(error, errors.FatalForRun):
            self.outage.answered()
            self._ledger.planned(entry, "refused", error.reason, counts_attempt=False)
            raise error
        if isinstance(error, errors.InferenceFailed):
            self.outage.answered()
            self._cold.answered()
            return self._outcomes.ran_and_failed(entry, error)
        if isinstance(error, errors.Rejected):
            self.outage.answered()
            if self._outcomes.needs_new_upload(error, entry):
                return self._ledger.planned(entry, "refused", error.reason, counts_attempt=False)
            return self._resubmit(
                entry, self._outcomes.decide(error, entry), error, "refused", counts_attempt=True
            )
        return self._on_lost_answer(entry, error, probe=probe)

    def _on_lost_answer(self, entry: TaskEntry, error: errors.ApiError, *, probe: bool) -> TaskEntry:
        """5xx, no connection, cuts. No attempt counts while the API is down, nor one that was never sent."""
        down = self.outage.down
        counts_attempt = not down and not isinstance(error, errors.Unreachable)
        decision = self._outcomes.decide(error, entry)
        if isinstance(error, errors.AnswerLost):
            request_id = self._own(error.request_id)
            entry = self._ledger.doubtful(entry, error.reason, request_id)
            if self._job.retry.doubtful == "resubmit" and request_id is None:
                entry = self._resubmit(entry, decision, error, "doubtful", counts_attempt=counts_attempt)
        else:
            # Only what never arrived is proved not to be accepted: any 5xx may stand before a job.
            outcome = "gateway" if isinstance(error, errors.Gateway | errors.ServerError) else "refused"
            entry = self._resubmit(entry, decision, error, outcome, counts_attempt=counts_attempt)
        if isinstance(error, errors.AnswerLost) and 200 <= error.status < 300:
            self._not_read(error, probe=probe)  # it began as a yes
        else:
            self.outage.lost(error.message, probe=probe)
        return entry

    def _resubmit(
        self,
        entry: TaskEntry,
        decision: retry.Decision,
        error: errors.ApiError,
        outcome: str,
        *,
        counts_attempt: bool,
    ) -> TaskEntry:
        if isinstance(decision, retry.GiveUp) and counts_attempt:
            return self._ledger.failed(entry, decision.reason, outcome)
        at = decision.at if isinstance(decision, retry.RetryAt) else self._ledger.now()
        return self._ledger.planned(
            entry, outcome, error.reason, not_before=at, counts_attempt=counts_attempt
        )

    async def resolve_doubtful(self, entry: TaskEntry) -> TaskEntry:
        """An earlier process was cut off, or the answer was lost and the policy is not just to resubmit."""
        if (recovered := self._outcomes.recover_from_spool(entry)) is not None:
            return recovered
        if (named := await self._expired.named(entry)) is not None:
            return named
        if self._job.retry.doubtful == "resubmit":
            if self._ledger.is_not_understood(entry):
                return entry
            return self._ledger.planned(
                entry, "doubtful", "its answer was lost; submitted again", counts_attempt=False
            )
        if self._job.retry.doubtful == "hold":
            return entry
        try:
            body = await self._uploads.body_as_sent(entry.task, current_submission(entry).submitted_at)
        except errors.TaskError:
            return entry
        if body is None:
            return entry
        rows = await self._reconciliation.job_of(entry, body, contested=lambda: self._has_a_twin(entry))
        if rows is NoAnswer.NOT_FOUND:
            return self._ledger.planned(
                entry, "doubtful", "the history knows no such job", counts_attempt=True
            )
        if isinstance(rows, NoAnswer):
            return entry
        return await self._adopt(entry, rows)

    def _has_a_twin(self, entry: TaskEntry) -> bool:
        """Whether a POST with the same body is in the air: a job of that body may be its own."""
        return any(
            self._uploads.have_same_body(entry.task, other.task)
            for other in self._ledger.in_the_air()
            if other.id != entry.id
        )

    async def _adopt(self, entry: TaskEntry, rows: Sequence[HistoryRow]) -> TaskEntry:
        """The job exists: from here on it is like any other. A finished one is taken from the history itself,
        for its record may be over."""
        job = rows[0]
        if job.status == "FAILED":
            return self._outcomes.ran_and_failed(entry, wire.failed({"error": job.error}))
        outputs = outputs_of(job, rows)
        if job.status == "COMPLETED" and outputs:
            return await self._outcomes.completed(
                entry, wire.Result(outputs, request_id=job.request_id, cost=job.cost)
            )
        if self._api == "v1":
            return entry
        entry = self._ledger.submitted(entry, wire.record_of(job.request_id, self._client.endpoints.api))
        await self._ledger.committed()
        return entry
