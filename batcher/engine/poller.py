"""Who is asked about when: one poller wakes every submitted task when its time has come to ask.

Rule: what is learned reaches all who wait at once; calls that are not needed are not made.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from batcher.api.polling import PollTiming
from batcher.api.signal import Signal

RESCHEDULE_INTERVAL = 0.05
"""Seconds between two passes over all jobs after something was learned."""
LAST_JOBS = 4
"""So few jobs at the end of a run keep the whole of it waiting: they are asked about eagerly, where that
costs no submit."""
LONGEST_WAIT = 5.0
"""Seconds: the price of a call moves without telling."""


class PendingJob:
    """One submitted job between its polls. Ages are seconds since its submission."""

    def __init__(self, poller: Poller, submitted_at: float) -> None:
        self._poller = poller
        self.submitted_at = submitted_at
        self.last_poll = 0.0
        """Its age when it was last found still running; 0.0: never yet."""
        self.polls = 0
        self.latest = math.inf
        self.awake = asyncio.Event()
        self.awake.set()

    async def until_due(self, latest: float) -> None:
        """Sleeps until it is time to ask, at `latest` (the loop's time) at the latest."""
        self.latest = latest
        self.awake.clear()
        self._poller.notify()
        await self.awake.wait()

    def still_running(self, age: float) -> None:
        """It was asked about at this age, and not done."""
        self.last_poll = age
        self.polls += 1

    def estimate(self, found: float) -> float:
        """How long it took, seconds, where the provider does not say and it was found done at age `found`:
        the middle of the last interval. The moment of detection itself would make later polls ever later."""
        return (self.last_poll + found) / 2


class Poller:
    """Every job of one model that is in flight. `price` is what a call is worth now, in seconds of waiting
    (0: free); `free_for_good` whether calls are known not to count and no submit is to come; `now` gives
    seconds of a clock that nobody sets, the loop's: all moments here are its own."""

    def __init__(
        self,
        polling: PollTiming,
        *,
        price: Callable[[], float],
        free_for_good: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self.polling = polling
        self._price = price
        self._free_for_good = free_for_good
        self._now = now
        self._jobs: dict[PendingJob, None] = {}
        self._changed = Signal()

    @contextmanager
    def track(self, submitted_at: float) -> Iterator[PendingJob]:
        """A job that is asked about while the block runs, from its submission (or resume) to its end."""
        job = PendingJob(self, submitted_at)
        self._jobs[job] = None
        try:
            yield job
        finally:
            del self._jobs[job]
            self.notify()

    @property
    def submission_times(self) -> Iterator[float]:
        """When the jobs in flight were submitted (the loop's time), about in that order."""
        return (job.submitted_at for job in self._jobs)

    def learned(self, seconds: float) -> None:
        """A job took so long, as the provider's own times say."""
        self.polling.learned(seconds)
        self.notify()

    def notify(self) -> None:
        """Something changed: the next look at the jobs comes soon."""
        self._changed.notify()

    async def run(self) -> None:
        """The poller; runs until it is cancelled."""
        while True:
            wait = self._wake_due()
            with anyio.move_on_after(wait):
                await self._changed.wait()
                await anyio.sleep(RESCHEDULE_INTERVAL)

    def _wake_due(self) -> float:
        """Wakes whoever may ask now; seconds until the next one may."""
        now = self._now()
        price = self._price()
        eager = len(self._jobs) <= LAST_JOBS and self._free_for_good()
        nearest = LONGEST_WAIT
        for job, rank in self._asleep():
            at = job.latest
            if self.polling.may_ask(rank, now - job.submitted_at):
                oldest = rank == 0
                due = self.polling.next_poll(job.last_poll, job.polls, price, eager=eager, oldest=oldest)
                at = min(at, job.submitted_at + due)
            if at <= now:
                job.awake.set()
            else:
                nearest = min(nearest, at - now)
        return nearest

    def _asleep(self) -> Iterator[tuple[PendingJob, int]]:
        """The jobs that wait to be asked about, each with its rank by age, 0 the oldest.

        While nothing is known of the model, the ranks decide who may ask. They count those too that are being
        asked about at this moment, so that the few scouts of a cold start are the same ones at every look.
        Once something is known, ranks decide nothing, and sorting is saved.
        """
        if self.polling.known:
            return ((job, 0) for job in self._jobs if not job.awake.is_set())
        ranked = enumerate(sorted(self._jobs, key=lambda job: job.submitted_at))
        return ((job, rank) for rank, job in ranked if not job.awake.is_set())
