"""From a request_id to files: asking, the result, and the pictures.

Law: asking never gives up before the record's end, whatever fails. The result is on disk before any byte of
a picture is fetched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TypeVar

import anyio

from batcher import errors, retry
from batcher.admission import Window
from batcher.asking import Asking
from batcher.client import Client
from batcher.delivery import Delivery
from batcher.ledger.entries import Entry
from batcher.ledger.writer import Ledger
from batcher.lifecycle.endings import Endings, in_force
from batcher.lifecycle.rules import Rules
from batcher.pacing import Kind, Pacing
from batcher.stopping import cause_of
from batcher.wire import Foreign

LAST_CALL_SECONDS = 30.0
LAST_CALL_SHARE = 0.05
"""So long (or this share of its life) before its record ends, a task is looked at whatever was learned."""
THROTTLED_SECONDS = 600.0
"""So long after its record's end nothing but a 429 is still an answer worth waiting behind."""
MOST_WARNINGS = 5
"""So many causes for which files cannot be fetched are told; errors.jsonl has each task's."""

Told = TypeVar("Told")


class Fetching:
    """The steps of submitted and ready tasks. `warn` takes sentences to tell, `luck` draws the jitter, in
    [0, 1)."""

    def __init__(
        self,
        rules: Rules,
        endings: Endings,
        *,
        ledger: Ledger,
        client: Client,
        delivery: Delivery,
        pacing: Pacing,
        asking: Asking,
        window: Window,
        warn: Callable[[str], None],
        luck: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._endings = endings
        self._ledger = ledger
        self._client = client
        self._delivery = delivery
        self._pacing = pacing
        self._asking = asking
        self._window = window
        self._warn = warn
        self._warned: set[str] = set()
        self._luck = luck

    async def ask(self, entry: Entry) -> Entry:
        """Asks until the job is done, then for its result, which is recorded."""
        submission = in_force(entry)
        deadline = submission.submitted_at + self._rules.result_ttl
        url = submission.status_url or ""
        foreign = self._foreign(entry)
        with self._asking.sleeper(submission.submitted_at) as sleeper:
            while True:
                await sleeper.due(self._last_call(deadline))
                asked = partial(self._client.status, url, foreign=foreign)
                status = await self._answered(entry, Kind.STATUS, asked, deadline)
                if isinstance(status, Entry):
                    return status
                age = self._ledger.now() - submission.submitted_at
                if status.finished:
                    break
                if self._ledger.now() >= deadline:
                    error = errors.RecordGone(f"still {status.word} after its record's life")
                    return self._endings.expired(entry, error)
                sleeper.pending(age)
        return await self._fetch_result(entry, deadline, pending=sleeper.asked, found=age)

    async def _fetch_result(self, entry: Entry, deadline: float, *, pending: float, found: float) -> Entry:
        submission = in_force(entry)
        url = submission.response_url or ""
        asked = partial(self._client.result, url, foreign=self._foreign(entry))
        result = await self._answered(entry, Kind.RESULT, asked, deadline)
        if isinstance(result, Entry):
            return result
        total = result.total_time if result.total_time is not None else (pending + found) / 2
        self._asking.learned(total)
        self._window.completed(submission.submitted_at + total, result.queue_time, total)
        return await self._endings.completed(entry, result)

    async def _answered(
        self, entry: Entry, kind: Kind, call: Callable[[float], Awaitable[Told]], deadline: float
    ) -> Told | Entry:
        """The API's answer, however often it must be asked for; or the task as it is after FAILED, or after
        its record was gone."""
        for failures in count():
            turn = await self._pacing.turn(kind, deadline)
            try:
                return await call(turn)
            except errors.InferenceFailed as error:
                return self._endings.ran_and_failed(entry, error)
            except errors.BadKey:
                raise
            except errors.ApiError as error:
                if self._too_late(error, deadline):
                    return self._endings.expired(entry, error)
                if isinstance(error, errors.Forbidden | errors.Misled):
                    raise
                await self._breathe(error, failures, deadline)
        raise AssertionError("counting has no end")

    async def fetch_files(self, entry: Entry) -> Entry:
        policy = self._rules.retry
        for round_ in range(policy.attempts):
            try:
                return await self._delivery.deliver(entry)
            except errors.NotAnImage as error:
                # Bytes that came inside the answer cannot be had another way.
                return self._ledger.failed(entry, error.reason)
            except errors.TaskError as error:
                reason = error.reason
                if isinstance(error, errors.DeadLink):
                    await self._relink(entry)
            if round_ + 1 < policy.attempts:
                await anyio.sleep(retry.again_asking(round_, luck=self._luck()))
        # The next run has it.
        self._ledger.not_fetched(entry, reason)
        self._warn_once(reason)
        return entry

    def _warn_once(self, reason: str) -> None:
        kind = cause_of(reason)
        if kind not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add(kind)
            self._warn(f"files of paid results cannot be fetched: {reason}")

    async def _relink(self, entry: Entry) -> None:
        """A dead link is asked for again through the result, as long as its record may live."""
        submission = in_force(entry)
        if submission.response_url is None:
            return
        turn = await self._pacing.turn(Kind.RESULT, submission.submitted_at + self._rules.result_ttl)
        try:
            result = await self._client.result(submission.response_url, turn, foreign=self._foreign(entry))
        except (errors.BadKey, errors.Forbidden, errors.Misled):
            raise
        except errors.ApiError:
            return
        self._ledger.relinked(entry, result.outputs)
        await self._ledger.committed()

    def _foreign(self, entry: Entry) -> Foreign:
        """Whether an answer is another job's: known here, and not the one that was asked about."""
        own = in_force(entry).request_id
        return lambda told: told != own and self._ledger.knows(told)

    def _last_call(self, deadline: float) -> float:
        """A result found at the very deadline could no longer be fetched: one look comes before."""
        early = deadline - min(LAST_CALL_SECONDS, LAST_CALL_SHARE * self._rules.result_ttl)
        return early if self._ledger.now() < early else deadline

    def _too_late(self, error: errors.ApiError, deadline: float) -> bool:
        """Before the deadline a 404 is no expiry; behind it every failure is, and a 429 that will not end."""
        grace = THROTTLED_SECONDS if isinstance(error, errors.Throttled) else 0.0
        return self._ledger.now() >= deadline + grace

    async def _breathe(self, error: errors.ApiError, failures: int, deadline: float) -> None:
        """A pause before the same question is asked again; one last time at the deadline."""
        if isinstance(error, errors.Throttled) and error.reset_at is not None:
            return
        left = deadline - self._ledger.now()
        pause = retry.again_asking(failures, luck=self._luck())
        await anyio.sleep(min(pause, left) if left > 0 else pause)
