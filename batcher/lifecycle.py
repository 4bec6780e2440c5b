"""One task's way, step by step, each step recorded: the heart, meant to be read.

    planned -> submitting -> submitted -> ready -> done
                   |             |          |
               doubtful      planned or failed, as the errors' verdicts and the policy say

Law: intent before the deed, fact right after it. Between an answer and its record nothing is awaited.
A step that can do nothing more now returns the entry it was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from batcher import errors, retry, wire
from batcher.admission import Purse, Window
from batcher.asking import Asking
from batcher.client import Client, record_urls
from batcher.delivery import Delivery
from batcher.doubt import Answer, History
from batcher.ledger.entries import Entry, Submission
from batcher.ledger.writer import Ledger
from batcher.outage import Outage
from batcher.pacing import Kind, Pacing
from batcher.stopping import Stopping
from batcher.task import State
from batcher.uploads import Uploads
from batcher.wire import HistoryRow

LAST_CALL_SECONDS = 30.0
LAST_CALL_SHARE = 0.05
"""So long (or this share of its life) before its record ends, a task is looked at whatever was learned."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the manifest says about a task's way. `result_ttl` in seconds, from submission.

    `doubtful`: resubmit | hold | reconcile; `expired`: resubmit | fail.
    """

    model: str
    api: str
    result_ttl: float
    retry: retry.Policy
    doubtful: str
    expired: str


class Lifecycle:
    """Everything that a task needs on its way, and the steps of it."""

    def __init__(
        self,
        *,
        rules: Rules,
        ledger: Ledger,
        client: Client,
        uploads: Uploads,
        delivery: Delivery,
        pacing: Pacing,
        asking: Asking,
        purse: Purse,
        window: Window,
        history: History,
        stopping: Stopping,
        luck: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._ledger = ledger
        self._client = client
        self._uploads = uploads
        self._delivery = delivery
        self._pacing = pacing
        self._asking = asking
        self._purse = purse
        self._window = window
        self._history = history
        self._stopping = stopping
        self._luck = luck
        self._resubmitted: set[int] = set()
        self.outage = Outage()
        self._steps: Mapping[State, Callable[[Entry], Awaitable[Entry]]] = {
            State.DOUBTFUL: self._settle_doubt,
            State.SUBMITTED: self._ask,
            State.READY: self._fetch_files,
        }

    async def live(self, entry: Entry) -> Entry:
        """Takes a task as far as it goes now, and returns it as the ledger has it then.

        What stops the run is told to `stopping`; the task stays as it was recorded.
        """
        try:
            if entry.state is State.PLANNED:
                entry = await self._submit(entry)
            while (step := self._steps.get(entry.state)) is not None:
                before = entry
                entry = await step(entry)
                if entry is before:
                    break
        except errors.Overtaken:
            # `batcher retry` moved it while we asked about it; it is in the queue again.
            return self._ledger.entry(entry.id)
        except (errors.StopsTheRun, errors.DiskError, errors.LedgerError) as error:
            self._stopping.for_error(error)
            return self._ledger.entry(entry.id)
        return entry

    # --- planned

    async def _submit(self, entry: Entry) -> Entry:
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
        entry = await self._intend(entry, reserved)
        try:
            if kind is Kind.SYNC:
                return await self._completed(entry, await self._client.sync(self._rules.model, body, turn))
            accepted = await self._client.submit(self._rules.model, body, turn)
        except errors.ApiError as error:
            return self._not_accepted(entry, error)
        except asyncio.CancelledError:
            self._ledger.doubtful(entry, "stopped while its answer was awaited")
            raise
        self.outage.answered()
        entry = self._ledger.submitted(entry, accepted)
        await self._ledger.committed()
        return entry

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
            return self._ledger.put_off(entry, self._after_throttling(error), spent=False)
        spent = spent and not isinstance(error, errors.Refused)
        decision = self._decide(error, entry)
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

    async def _intend(self, entry: Entry, reserved: int) -> Entry:
        """The intent is on disk before the POST leaves. A cancellation here proves that it did not."""
        self.outage.leaving()
        entry = self._ledger.submitting(entry, api=self._rules.api, reserved=reserved)
        self._purse.taken(entry.id)
        try:
            await self._ledger.committed()
        except asyncio.CancelledError:
            self.outage.withdrawn()
            self._ledger.planned(entry, "refused", "stopped before it was sent", spent=False)
            raise
        return entry

    def _not_accepted(self, entry: Entry, error: errors.ApiError) -> Entry:
        """What becomes of a task whose POST got no yes."""
        if isinstance(error, errors.Throttled):
            self.outage.answered()
            at = self._after_throttling(error)
            return self._ledger.planned(entry, "refused", error.reason, not_before=at, spent=False)
        if isinstance(error, errors.StopsTheRun):
            self.outage.answered()
            self._ledger.planned(entry, "refused", error.reason, spent=False)
            raise error
        if isinstance(error, errors.InferenceFailed):
            self.outage.answered()
            return self._ran_and_failed(entry, error)
        if isinstance(error, errors.Rejected):
            self.outage.answered()
            return self._resubmit(entry, self._decide(error, entry), error, "refused", spent=True)
        return self._lost_in_transit(entry, error)

    def _lost_in_transit(self, entry: Entry, error: errors.ApiError) -> Entry:
        """5xx, refusals, cuts. While the API is down no attempt is spent; a refusal never spends one."""
        down = self.outage.down
        spent = not down and not isinstance(error, errors.Refused)
        decision = self._decide(error, entry)
        if isinstance(error, errors.AnswerLost):
            entry = self._ledger.doubtful(entry, error.reason)
            if self._rules.doubtful == "resubmit":
                entry = self._resubmit(entry, decision, error, "doubtful", spent=spent)
        else:
            outcome = "gateway" if isinstance(error, errors.Gateway) else "refused"
            entry = self._resubmit(entry, decision, error, outcome, spent=spent)
        self.outage.lost(error.message)
        return entry

    def _resubmit(
        self, entry: Entry, decision: retry.Decision, error: errors.ApiError, outcome: str, *, spent: bool
    ) -> Entry:
        if isinstance(decision, retry.GiveUp) and spent:
            return self._ledger.failed(entry, decision.reason, outcome)
        at = decision.at if isinstance(decision, retry.Again) else self._ledger.now()
        return self._ledger.planned(entry, outcome, error.reason, not_before=at, spent=spent)

    # --- doubtful

    async def _settle_doubt(self, entry: Entry) -> Entry:
        """An earlier process was cut off, or the answer was lost and the policy is not just to resubmit."""
        if self._rules.doubtful == "resubmit":
            return self._ledger.planned(
                entry, "doubtful", "its answer was lost; submitted again", spent=False
            )
        if self._rules.doubtful == "hold":
            return entry
        try:
            body = await self._uploads.body(entry.task)
        except errors.StopsTheRun:
            raise
        except errors.TaskError:
            return entry
        found = await self._history.job_of(self._held(entry), body)
        if found is Answer.UNKNOWN:
            return entry
        if found is Answer.NONE:
            return self._ledger.planned(entry, "doubtful", "the history knows no such job", spent=True)
        return await self._adopted(entry, found)

    async def _adopted(self, entry: Entry, rows: Sequence[HistoryRow]) -> Entry:
        """The job exists: from here on it is like any other. A finished one is taken from the history itself,
        for its record may be over."""
        job = rows[0]
        if job.status == "FAILED":
            return self._ran_and_failed(entry, wire.failed({"error": job.error}))
        outputs = tuple(wire.Output(url=row.url) for row in rows if row.url)
        if outputs:
            return await self._completed(
                entry, wire.Result(outputs, request_id=job.request_id, cost=job.cost)
            )
        if self._rules.api == "v1":
            return entry
        entry = self._ledger.submitted(entry, record_urls(self._client.endpoints, job.request_id))
        await self._ledger.committed()
        return entry

    # --- submitted: asking never gives up before the record's end

    async def _ask(self, entry: Entry) -> Entry:
        submission = self._held(entry)
        deadline = submission.submitted_at + self._rules.result_ttl
        failures = 0
        with self._asking.sleeper(submission.submitted_at) as sleeper:
            while True:
                await sleeper.due(self._last_call(deadline))
                turn = await self._pacing.turn(Kind.STATUS, deadline)
                age = self._ledger.now() - submission.submitted_at
                try:
                    status = await self._client.status(submission.status_url or "", turn)
                except errors.InferenceFailed as error:
                    return self._ran_and_failed(entry, error)
                except errors.StopsTheRun:
                    raise
                except errors.ApiError as error:
                    if self._too_late(error, deadline):
                        return self._expired(entry, error)
                    await self._breathe(error, failures, deadline)
                    failures += 1
                    continue
                if status.finished:
                    break
                if self._ledger.now() >= deadline:
                    return self._expired(
                        entry, errors.RecordGone(f"still {status.word} after its record's life")
                    )
                failures = 0
                sleeper.pending(age)
        return await self._fetch_result(entry, deadline, pending=sleeper.asked, found=age)

    async def _fetch_result(self, entry: Entry, deadline: float, *, pending: float, found: float) -> Entry:
        submission = self._held(entry)
        failures = 0
        while True:
            turn = await self._pacing.turn(Kind.RESULT, deadline)
            try:
                result = await self._client.result(submission.response_url or "", turn)
                break
            except errors.InferenceFailed as error:
                return self._ran_and_failed(entry, error)
            except errors.StopsTheRun:
                raise
            except errors.ApiError as error:
                if self._too_late(error, deadline):
                    return self._expired(entry, error)
                await self._breathe(error, failures, deadline)
                failures += 1
        total = result.total_time if result.total_time is not None else (pending + found) / 2
        self._asking.learned(total)
        self._window.completed(submission.submitted_at + total, result.queue_time, total)
        return await self._completed(entry, result)

    async def _completed(self, entry: Entry, result: wire.Result) -> Entry:
        """The result is on disk, its URLs and the bytes it carried, before any other byte is fetched."""
        if entry.state is State.SUBMITTING:
            self.outage.answered()
        if not result.outputs:
            reason = f"NO_PICTURE: the result has no picture in it: {result.excerpt[:120]}"
            return self._ledger.failed(entry, reason, "completed", cost=result.cost)
        with anyio.CancelScope(shield=True):
            outputs = await self._delivery.spooled(self._held(entry).id, result.outputs)
            entry = self._ledger.ready(entry, result, outputs)
            await self._ledger.committed()
        return entry

    def _ran_and_failed(self, entry: Entry, error: errors.InferenceFailed) -> Entry:
        decision = self._decide(error, entry)
        if isinstance(decision, retry.GiveUp):
            return self._ledger.failed(entry, decision.reason, "failed")
        return self._ledger.planned(entry, "failed", error.reason, not_before=decision.at, spent=False)

    def _expired(self, entry: Entry, error: errors.ApiError) -> Entry:
        """Its record is gone: resubmitted once per run, or failed; either way counted as lost."""
        reason = f"{errors.RecordGone.label}: {error.message}"
        if self._rules.expired == "fail" or entry.id in self._resubmitted:
            return self._ledger.failed(entry, reason, "lost")
        self._resubmitted.add(entry.id)
        return self._ledger.planned(entry, "lost", reason, spent=False)

    # --- ready

    async def _fetch_files(self, entry: Entry) -> Entry:
        policy = self._rules.retry
        for round_ in range(policy.attempts):
            try:
                return await self._delivery.deliver(entry)
            except errors.DeadLink:
                await self._relink(entry)
            except errors.NotAnImage as error:
                # Bytes that came inside the answer cannot be had another way.
                return self._ledger.failed(entry, error.reason)
            except errors.TaskError as error:
                self._delivery.missed(entry, error)
            if round_ + 1 < policy.attempts:
                await anyio.sleep(retry.again_asking(round_, luck=self._luck()))
        return entry

    async def _relink(self, entry: Entry) -> None:
        """A dead link is asked for again through the result, as long as its record may live."""
        submission = self._held(entry)
        if submission.response_url is None:
            return
        turn = await self._pacing.turn(Kind.RESULT, submission.submitted_at + self._rules.result_ttl)
        try:
            result = await self._client.result(submission.response_url, turn)
        except errors.StopsTheRun:
            raise
        except errors.ApiError as error:
            self._delivery.missed(entry, error)
            return
        self._ledger.relinked(entry, result.outputs)
        await self._ledger.committed()

    # --- what the steps share

    def _decide(self, error: errors.TaskError, entry: Entry) -> retry.Decision:
        return retry.decide(
            error,
            entry.attempts + 1,
            self._ledger.now(),
            policy=self._rules.retry,
            luck=self._luck(),
            failed_before=self._ledger.failed_before(entry)
            if isinstance(error, errors.InferenceFailed)
            else 0,
        )

    def _after_throttling(self, error: errors.Throttled) -> float:
        """A stamp pauses everybody, in the gate; without one this call alone backs off."""
        if error.reset_at is not None:
            return 0.0
        return self._ledger.now() + retry.again_asking(3, luck=self._luck())

    def _last_call(self, deadline: float) -> float:
        """A result found at the very deadline could no longer be fetched: one look comes before."""
        early = deadline - min(LAST_CALL_SECONDS, LAST_CALL_SHARE * self._rules.result_ttl)
        return early if self._ledger.now() < early else deadline

    def _too_late(self, error: errors.ApiError, deadline: float) -> bool:
        """Before the deadline a 404 is no expiry; behind it every failure is."""
        return not isinstance(error, errors.Throttled) and self._ledger.now() >= deadline

    async def _breathe(self, error: errors.ApiError, failures: int, deadline: float) -> None:
        """A pause before the same question is asked again; one last time at the deadline."""
        if isinstance(error, errors.Throttled) and error.reset_at is not None:
            return
        left = deadline - self._ledger.now()
        pause = retry.again_asking(failures, luck=self._luck())
        await anyio.sleep(min(pause, left) if left > 0 else pause)

    @staticmethod
    def _held(entry: Entry) -> Submission:
        if entry.submission is None:
            raise errors.LedgerError(f"task {entry.task.name} has no submission in force")
        return entry.submission
