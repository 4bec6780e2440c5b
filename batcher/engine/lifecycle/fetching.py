"""From a request_id to files: status calls, the result, and the pictures.

Rule: no job is given up before its record's end, whatever fails. The result is on disk before any byte of a
picture is fetched.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from typing import TypeVar

import anyio

from batcher import errors
from batcher.api import retry
from batcher.api.client import Client
from batcher.api.pacing import CallKind, Pacing
from batcher.api.wire import Output, Result, Status
from batcher.engine.admission import InFlight, InFlightLimit
from batcher.engine.delivery import Delivery
from batcher.engine.delivery_brake import DeliveryBrake
from batcher.engine.lifecycle.expired_records import ExpiredRecords
from batcher.engine.lifecycle.outcomes import Outcomes
from batcher.engine.lifecycle.relinking import Relinking
from batcher.engine.poller import Poller
from batcher.engine.stopping import cause_of
from batcher.engine.submission_ages import SubmissionAges
from batcher.job.manifest import Manifest
from batcher.ledger.entries import TaskEntry, current_submission
from batcher.ledger.ledger import Ledger

LAST_CALL_SECONDS = 30.0
LAST_CALL_SHARE = 0.05
"""So long (or this share of its life) before its record ends, a task is looked at whatever was learned."""
THROTTLED_SECONDS = 600.0
"""So long after its record's end nothing but a 429 is still an answer worth waiting behind."""
UNKNOWN_SECONDS = 60.0
"""So long beyond a job's typical time a status word that is not known is waited with."""
REFUSED_SECONDS = 10.0
"""A refusal of the key at a status or a result is believed when it comes again after so long: one stray 401
ends no night."""
MISSING_SECONDS = 60.0
"""So long a record is not found that should live still, or answers what tells nothing of its job, and the
history is asked too, and again after twice the time: this machine may have slept, and the record's life is
the provider's word."""
UNANSWERED_SECONDS = 20.0
"""So long after it a question that fails is put again: a deadline is believed only after an answer."""
MOST_WARNINGS = 5
"""People are warned of so many causes for which files cannot be fetched; errors.jsonl has each task's."""

Answer = TypeVar("Answer", Status, Result)


class UnknownWord:
    """How long a status word that is not known is waited with: a minute beyond what a job takes, then the
    result is asked, which decides; where it does not, twice as long each time."""

    def __init__(self, typical: float) -> None:
        self._patience = UNKNOWN_SECONDS + typical
        self.ask_at = math.inf

    def asks_the_result(self, is_known: bool, now: float) -> bool:
        """Whether it is time, at this answer."""
        if is_known:
            self.ask_at = math.inf
            return False
        if now < self.ask_at:
            self.ask_at = min(self.ask_at, now + self._patience)
            return False
        self._patience *= 2
        self.ask_at = now + self._patience
        return True


class Fetching:
    """The steps of submitted and ready tasks. `warn` takes sentences for people, `jitter` draws a number from
    [0, 1)."""

    def __init__(
        self,
        job: Manifest,
        outcomes: Outcomes,
        expired: ExpiredRecords,
        *,
        ledger: Ledger,
        client: Client,
        delivery: Delivery,
        brake: DeliveryBrake,
        pacing: Pacing,
        poller: Poller,
        limit: InFlightLimit,
        in_flight: InFlight,
        ages: SubmissionAges,
        warn: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self._job = job
        self._outcomes = outcomes
        self._expired = expired
        self._ledger = ledger
        self._client = client
        self._delivery = delivery
        self._relinking = Relinking(ledger, delivery, expired)
        self._brake = brake
        self._pacing = pacing
        self._poller = poller
        self._limit = limit
        self._in_flight = in_flight
        self._ages = ages
        self._warn = warn
        self._warned: set[str] = set()
        self._jitter = jitter

    async def poll(self, entry: TaskEntry) -> TaskEntry:
        """Asks for the status until the job is done, then for its result, which is recorded."""
        submission = current_submission(entry)
        clock = asyncio.get_running_loop().time
        # From here on its age goes by a clock that nobody sets. What an earlier process left has the wall
        # clock's word alone, which one answer from behind the deadline refutes.
        age = self._ages.of(entry)
        hearsay = age >= self._job.result_ttl and not self._ages.is_own(entry)
        submitted_at = clock() - age
        deadline = submitted_at + self._job.result_ttl
        url = submission.status_url or ""
        undecided = UnknownWord(self._poller.polling.typical)
        found = not self._ages.is_own(entry)
        with self._poller.track(submitted_at) as pending:
            while True:
                await pending.until_due(min(self._last_call(deadline), undecided.ask_at))
                call = partial(self._status, url)
                status = await self._answer(entry, CallKind.STATUS, call, deadline, found=found)
                if isinstance(status, TaskEntry):
                    return status
                found = True
                age = clock() - submitted_at
                if status.finished:
                    self._in_flight.leave(entry.id, finished=True)
                    break
                if undecided.asks_the_result(status.is_known, clock()):
                    decided = await self._decided(entry, deadline)
                    if decided is not None:
                        return decided
                if clock() >= deadline and hearsay and status.is_known:
                    hearsay = False
                    submitted_at = pending.submitted_at = clock()
                    deadline = submitted_at + self._job.result_ttl
                elif clock() >= deadline:
                    error = errors.RecordGone(f"still {status.word} after its record's life")
                    return await self._expired.settle(entry, error)
                pending.still_running(clock() - submitted_at)
        return await self._fetch_result(entry, deadline, estimate=pending.estimate(age))

    async def _status(self, url: str, sent_at: float) -> Status:
        """What came whole and tells no status is a word that is not known: the result may know more."""
        try:
            return await self._client.status(url, sent_at)
        except errors.AnswerLost as error:
            if not 200 <= error.status < 300:
                raise
            return Status(finished=False, word="UNREADABLE")

    async def _decided(self, entry: TaskEntry, deadline: float) -> TaskEntry | None:
        """What the result says of a job whose status has a word that is not known; None: nothing yet."""
        with self._client.memory.lease() as room:
            url = current_submission(entry).response_url or ""
            call = partial(self._client.result, url, room=room)
            try:
                result = await self._call(entry, CallKind.RESULT, call, deadline)
            except errors.InferenceFailed as error:
                return self._outcomes.ran_and_failed(entry, error)
            except errors.NotUnderstood as error:
                return await self._outcomes.ended_unknown(entry, error)
            except (errors.BadKey, errors.Forbidden, errors.WrongEndpoint):
                raise
            except errors.ApiError:
                return await self._expired.look(entry)
            return await self._outcomes.completed(entry, result)

    async def _fetch_result(self, entry: TaskEntry, deadline: float, *, estimate: float) -> TaskEntry:
        url = current_submission(entry).response_url or ""
        with self._client.memory.lease() as room:
            call = partial(self._client.result, url, room=room)
            result = await self._answer(entry, CallKind.RESULT, call, deadline)
            if isinstance(result, TaskEntry):
                return result
            total = result.total_time if result.total_time is not None else estimate
            self._poller.learned(total)
            self._limit.completed(deadline - self._job.result_ttl + total, result.queue_time, total)
            if not result.outputs and (told := await self._expired.look(entry)) is not None:
                return told  # the history may name what the result lacks, which can be asked again
            return await self._outcomes.completed(entry, result)

    async def _answer(
        self,
        entry: TaskEntry,
        kind: CallKind,
        call: Callable[[float], Awaitable[Answer]],
        deadline: float,
        *,
        found: bool = True,
    ) -> Answer | TaskEntry:
        """What the API answers, however often it must be asked; or the entry that was recorded in its place,
        where it says FAILED or the record is gone. `deadline` is the loop's time; `found`: the record was
        there before, or another process may have seen it."""
        clock = asyncio.get_running_loop().time
        latest = max(deadline, clock())
        missing, pause = clock(), MISSING_SECONDS
        # Asked early, and told nothing but 404: else it may have been there, and its life is over.
        never = not found and latest - clock() > self._job.result_ttl / 2
        for failures in count():
            try:
                return await self._call(entry, kind, call, deadline)
            except errors.InferenceFailed as error:
                return self._outcomes.ran_and_failed(entry, error)
            except errors.BadKey:
                raise
            except errors.ApiError as error:
                never = never and isinstance(error, errors.RecordGone)
                if _too_late(error, latest):
                    if never and failures:
                        error = errors.RecordNeverFound()
                    return await self._expired.settle(entry, error)
                if isinstance(error, errors.Forbidden | errors.WrongEndpoint):
                    raise
                if _tells_nothing(error) and clock() >= missing + pause:
                    pause *= 2
                    if (ended := await self._expired.look(entry)) is not None:
                        return ended
                await self._pause(error, failures, latest)
        raise AssertionError("counting has no end")

    async def _call(
        self, entry: TaskEntry, kind: CallKind, call: Callable[[float], Awaitable[Answer]], deadline: float
    ) -> Answer:
        """One answer. That the key is refused is believed when it is said twice, with a pause between."""
        sent_at = await self._pacing.acquire(kind, deadline)
        try:
            return await self._answer_about(entry, call(sent_at))
        except (errors.BadKey, errors.Forbidden):
            await anyio.sleep(REFUSED_SECONDS)
        sent_at = await self._pacing.acquire(kind, deadline)
        return await self._answer_about(entry, call(sent_at))

    async def fetch_files(self, entry: TaskEntry) -> TaskEntry:
        """Delivers the files of a ready task; those that cannot be had now are left to the next run."""
        with self._brake.trying(entry):
            await self._relinking.complete(entry)
            return await self._try_files(entry)

    async def _try_files(self, entry: TaskEntry) -> TaskEntry:
        attempts = self._job.retry.attempts
        undecodable: set[tuple[int, str] | None] = set()
        for attempt in range(attempts):
            try:
                return await self._delivery.deliver(entry)
            except errors.NotAnImage as error:
                # Bytes that came inside the answer can be had another way only where the history has a link.
                if await self._relinking.link_damaged(entry) or await self._delivery.leave_out_damaged(entry):
                    return await self._try_files(entry)
                entry = self._ledger.failed(entry, error.reason)
                self._ledger.note_detail(entry, "its bytes, as they came, lie in .batcher/spool")
                return entry
            except errors.TaskError as error:
                reason = error.reason
                same = (error.position, error.sha256) if isinstance(error, errors.Undecodable) else None
                undecodable.add(same)
                if any(file.delivered_at is not None for file in self._ledger.files(entry)):
                    self._brake.delivered()
                else:
                    self._brake.without_file(entry, reason)
                if isinstance(error, errors.DeadLink):
                    await self._relinking.relink(entry, partial(self._outputs_again, entry))
                if isinstance(error, errors.CheckFailed):
                    break
            if attempt + 1 < attempts:
                await anyio.sleep(retry.read_backoff(attempt, jitter=self._jitter()))
        if len(undecodable) == 1 and (same := undecodable.pop()) is not None:
            # The same bytes at every try: the file itself is no picture.
            return await self._without(
                entry, same[0], f"{reason}; it is billed, and comes the same at every try"
            )
        if self._delivery.leave_out_gone(entry):
            return await self._try_files(entry)
        # The next run has it.
        self._ledger.note_detail(entry, reason)
        self._warn_once(reason)
        return entry

    async def _without(self, entry: TaskEntry, position: int, reason: str) -> TaskEntry:
        """A task whose file at this position is no picture: failed, or short of this one where its result has
        others."""
        if len(self._ledger.files(entry)) == 1:
            return self._ledger.failed(entry, reason)
        self._ledger.without(entry, [position])
        self._ledger.note_detail(entry, f"a picture of its result is left out: {reason}")
        return await self._try_files(entry)

    def _warn_once(self, reason: str) -> None:
        kind = cause_of(reason)
        if kind not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add(kind)
            unjudged = reason.startswith(f"{errors.CheckFailed.label}:")
            wait = "pictures wait unjudged" if unjudged else "files of paid results cannot be fetched"
            self._warn(f"{wait}: {reason}")

    async def _outputs_again(self, entry: TaskEntry) -> Sequence[Output]:
        """The outputs that the result names, as long as its record lives."""
        submission = current_submission(entry)
        if submission.response_url is None:
            return ()
        remaining = submission.submitted_at + self._job.result_ttl - self._ledger.now()
        deadline = asyncio.get_running_loop().time() + remaining
        call = partial(self._client.result, submission.response_url)
        try:
            return (await self._call(entry, CallKind.RESULT, call, deadline)).outputs
        except (errors.BadKey, errors.Forbidden, errors.WrongEndpoint):
            raise
        except errors.ApiError:
            return ()

    async def _answer_about(self, entry: TaskEntry, call: Awaitable[Answer]) -> Answer:
        """The answer to `call`, FAILED too, if it is about this job: a line out of step or a cache may hand
        us that of another one. Raises AnswerLost then."""
        try:
            answer = await call
        except errors.InferenceFailed as error:
            self._must_be_own(entry, error.request_id)
            raise
        self._must_be_own(entry, answer.request_id)
        return answer

    def _must_be_own(self, entry: TaskEntry, request_id: str | None) -> None:
        if request_id in (None, current_submission(entry).request_id):
            return
        if self._ledger.knows(request_id):
            raise errors.AnswerLost("the answer is about another request", status=200)

    def _last_call(self, deadline: float) -> float:
        """When to ask one last time: a result found at the very deadline could not be fetched any more."""
        early = deadline - min(LAST_CALL_SECONDS, LAST_CALL_SHARE * self._job.result_ttl)
        return early if asyncio.get_running_loop().time() < early else deadline

    async def _pause(self, error: errors.ApiError, failures: int, deadline: float) -> None:
        """Waits before the same call is made again, which is one last time at the deadline."""
        if isinstance(error, errors.Throttled):
            return  # the gate pauses everybody
        remaining = deadline - asyncio.get_running_loop().time()
        pause = retry.read_backoff(failures, jitter=self._jitter())
        await anyio.sleep(min(pause, remaining) if remaining > 0 else pause)


def _tells_nothing(error: errors.ApiError) -> bool:
    """Whether the API answered, and not of this job: no such record, a refusal that is not FAILED, an answer
    without a status."""
    if isinstance(error, errors.AnswerLost):
        return error.status > 0
    return isinstance(error, errors.RecordGone | errors.Rejected | errors.NotUnderstood)


def _too_late(error: errors.ApiError, deadline: float) -> bool:
    """Before the deadline a 404 is no expiry. Behind it a 404 is, and a way that leads nowhere; another
    failure is no answer, and ends the asking when it goes on, as a 429 that will not end."""
    grace = 0.0 if isinstance(error, errors.RecordGone | errors.FatalForRun) else UNANSWERED_SECONDS
    if isinstance(error, errors.Throttled):
        grace = THROTTLED_SECONDS
    return asyncio.get_running_loop().time() >= deadline + grace
