"""What listeners are shown, and the clockwork beside the tasks: snapshots, max_duration, signals.

Law: watching changes nothing but when to stop.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable

import anyio

from batcher.ledger.writer import Ledger
from batcher.manifest import Manifest
from batcher.pacing import Pacing
from batcher.polling import Polling
from batcher.progress import Listener, Snapshot
from batcher.run.engine import Engine
from batcher.stopping import Stopping
from batcher.task import FINAL, State

SNAPSHOT_SECONDS = 0.5
LOGGED_SECONDS = 60.0
NOTICE_SECONDS = 5.0
SIGNALS = {signal.SIGINT: "Ctrl-C (SIGINT)", signal.SIGTERM: "SIGTERM"}
PACE_SECONDS = 120.0
"""Images per minute are counted over so long."""
PROVEN_ENDS = 8
PROVEN_SECONDS = 5.0
"""A pace is known by so many tasks that ended over so long; before, one more or less would double it."""
CALLS_OWED = 2
"""A task in flight is asked about, and its result is fetched."""
FETCH_SECONDS = 5.0
"""Set aside for fetching what is in flight before max_duration ends."""


class Watch:
    """Looks at a run from outside."""

    def __init__(
        self,
        job: Manifest,
        price: int | None,
        ledger: Ledger,
        engine: Engine,
        pacing: Pacing,
        polling: Polling,
        stopping: Stopping,
    ) -> None:
        self._job = job
        self._price = price
        self._ledger = ledger
        self._lifecycle = engine.lifecycle
        self._scheduler = engine.scheduler
        self._delivery = engine.delivery
        self._window = engine.window
        self._purse = engine.purse
        self._uploads = engine.uploads
        self._pacing = pacing
        self._polling = polling
        self._stopping = stopping
        self._started = asyncio.get_running_loop().time()
        self._before = ledger.images
        self._images: deque[tuple[float, int]] = deque([(self._started, ledger.images)])
        self._ends = Ends()

    async def tell(self, listener: Listener, every: float) -> None:
        """A snapshot after each `every` seconds, the first at once, until cancelled."""
        while True:
            listener(self.snapshot())
            await anyio.sleep(every)

    async def notice_others(self) -> None:
        """`batcher retry` beside this run: what it planned again is found."""
        while True:
            await anyio.sleep(NOTICE_SECONDS)
            if self._ledger.changed_outside():
                self._scheduler.look_again_from_the_start()

    async def end_after(self, seconds: float) -> None:
        """`max_duration`: submits end early enough for what is in flight to be fetched."""
        while True:
            lead = self._polling.spread((0.9,))[0] + FETCH_SECONDS + self._owed()
            left = self._started + seconds - min(lead, seconds / 2) - asyncio.get_running_loop().time()
            if left <= 0:
                self._stopping.stop(10, f"max_duration of {seconds:g} s is over")
                return
            await anyio.sleep(min(left, 5.0))

    def _owed(self) -> float:
        """Seconds until the calls can have left that what is in flight needs: behind a pause, and at the rate
        where they count."""
        gate = self._pacing.statistics()
        calls = CALLS_OWED * self._scheduler.in_flight if gate.metered == "all" else 0
        return self._pacing.pause_left + (60 * calls / gate.rate if gate.rate else 0.0)

    def snapshot(self) -> Snapshot:
        """The run as it stands."""
        now = asyncio.get_running_loop().time()
        ledger, gate = self._ledger, self._pacing.statistics()
        self._images.append((now, ledger.images))
        while self._images[0][0] < now - PACE_SECONDS and len(self._images) > 2:
            self._images.popleft()
        (then, before), delivered = self._images[0], ledger.images
        per_minute = 60 * (delivered - before) / (now - then) if now > then else 0.0
        ended = sum(ledger.counts[state] for state in FINAL)
        self._ends.seen(now, ended, max(PACE_SECONDS, 2 * self._polling.spread((0.9,))[0]))
        low, high = (None, None) if self._down else self._left(gate.rate)
        return Snapshot(
            job=self._job.name,
            model=self._job.model,
            elapsed=now - self._started,
            total=sum(ledger.counts.values()),
            counts=dict(ledger.counts),
            images=delivered,
            delivered=delivered - self._before,
            in_flight=self._scheduler.in_flight,
            fetching=self._delivery.under_way,
            cost=ledger.money.in_credits(self._price),
            projected=self._projected(),
            calls=dict(ledger.calls),
            images_per_minute=per_minute,
            rate=gate.rate,
            told=self._job.limits.rpm,
            waiting=self._waiting(),
            stopping="; ".join(self._stopping.causes.values()),
            left_low=low,
            left_high=high,
            failures=ledger.failures() if ledger.counts[State.FAILED] else {},
        )

    def _unfinished(self) -> int:
        """Tasks whose end this run will see: of the planned ones those that it will still submit."""
        planned = self._ledger.counts[State.PLANNED]
        waiting = sum(n for state, n in self._ledger.counts.items() if state not in FINAL)
        return waiting - planned + self._scheduler.to_come

    def _projected(self) -> float | None:
        """What all will have cost when this run ends, in credits; what is ready is paid for already."""
        per_image = self._ledger.money.per_image(self._price)
        if not per_image:
            return None
        cost = self._ledger.money.in_credits(self._price)
        mean_images = max(1.0, self._ledger.images / max(self._ledger.counts[State.DONE], 1))
        unpaid = self._unfinished() - self._ledger.counts[State.READY]
        return round(cost["spent"] + unpaid * mean_images * per_image / 1_000_000, 6)

    def _left(self, rate: float | None) -> tuple[float | None, float | None]:
        """Remaining seconds, from the slowest of the pace held, the slots and what really ends lately (disk,
        files and this machine have their say there alone), with the service's spread."""
        if not self._polling.known and rate is None:
            return None, None
        queued = self._scheduler.to_come
        fast, middle, slow = self._polling.spread((0.25, 0.5, 0.9))
        calls = 3.0 if self._pacing.metered == "all" else 1.0
        by_rate = 60 * calls * queued / rate if rate else 0.0
        size = self._window.size
        unfinished = self._unfinished()
        tail = 0.0 if not unfinished else 1.0
        by_ends = unfinished / self._ends.pace if self._ends.pace else 0.0
        return (
            max(max(by_rate, fast * queued / size) + tail * fast, by_ends),
            max(max(by_rate * 1.05, middle * 1.2 * queued / size) + tail * slow, by_ends * 1.05),
        )

    @property
    def _down(self) -> str:
        """What keeps everything from going on, as a sentence; empty while nothing does."""
        if self._lifecycle.outage.down:
            return f"the API is down: {self._lifecycle.outage.reason}"
        if self._uploads.outage.down:
            return f"the file storage is down: {self._uploads.outage.reason}"
        return ""

    def _waiting(self) -> str:
        """What holds submits back, as a sentence; the narrowest place first."""
        if not self._ledger.counts[State.PLANNED]:
            return ""
        if self._down:
            return self._down
        full = self._scheduler.in_flight >= self._window.size
        if self._pacing.guarding or (full and self._window.guarding):
            return "waiting for results: more in flight might expire before they can be fetched"
        if self._pacing.reason:
            return self._pacing.reason
        if self._purse.waiting:
            return "waiting for bills: the rest of max_cost is reserved"
        if full:
            return f"waiting for results: {self._window.size} tasks are in flight, as many as may be"
        return ""


class Ends:
    """How many tasks a second come to their end lately, counted from the first end that was seen: what is
    before it tells how long a job takes, not how many go side by side."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self.pace = 0.0
        """0.0 while it is not known yet."""

    def seen(self, now: float, ended: int, span: float) -> None:
        """So many have ended by `now`; what is older than `span` seconds counts no more."""
        if self._seen and (ended < self._seen[-1][1] or ended == self._seen[0][1]):
            self._seen.clear()  # fewer: failed ones were planned again
        self._seen.append((now, ended))
        while self._seen[0][0] < now - span and len(self._seen) > 2:
            self._seen.popleft()
        (then, before) = self._seen[0]
        enough = ended - before >= PROVEN_ENDS and now - then >= PROVEN_SECONDS
        self.pace = (ended - before) / (now - then) if enough else 0.0


async def heed_signals(
    stopping: Stopping, tasks: anyio.CancelScope, grace: float, told: Callable[[str], None]
) -> None:
    """First SIGINT or SIGTERM: no new submits, `grace` seconds for what is in flight; second: at once."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        seen = 0
        async with anyio.create_task_group() as waits:
            async for number in signals:
                seen += 1
                if seen > 1:
                    tasks.cancel()
                    return
                stopping.stop(128 + number, SIGNALS[number])
                told(
                    f"stopping: what is in flight is fetched for up to {grace:g} s; once more leaves at once"
                )
                waits.start_soon(_cancel_after, grace, tasks)


async def _cancel_after(seconds: float, scope: anyio.CancelScope) -> None:
    await anyio.sleep(seconds)
    scope.cancel()
