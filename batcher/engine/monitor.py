"""What listeners are shown, and the clockwork beside the tasks: snapshots, max_duration, signals.

Rule: it changes nothing but when to stop, and it has the scheduler look again after another process wrote.
"""

from __future__ import annotations

import asyncio
import math
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import anyio

from batcher import errors
from batcher.api.time_limit import time_limit
from batcher.engine.lifecycle.submitting import PendingPosts
from batcher.engine.stopping import Stopping
from batcher.engine.wiring import RunParts
from batcher.ledger import check_verdicts, in_flight_note, totals
from batcher.ledger.ledger import Ledger
from batcher.ledger.totals import MICRO
from batcher.progress import Listener, Snapshot
from batcher.task import FINAL, State

SNAPSHOT_SECONDS = 0.5
LOGGED_SECONDS = 60.0
WARNED_SECONDS = 5.0
"""Between two counts of what has a warning: each looks at all of them."""
NOTICE_SECONDS = 0.9
NOTED_SECONDS = 5.0
"""Between two notes of how many may be in flight: each is a write."""
SIGNALS = {
    signal.SIGINT: (130, "Ctrl-C (SIGINT)"),
    signal.SIGTERM: (143, "SIGTERM"),
    signal.SIGHUP: (143, "the terminal is gone (SIGHUP)"),
}
"""What ends a run in good order: its exit code, and its name for people."""
PACE_SECONDS = 120.0
"""Images per minute are counted over so long."""
PROVEN_ENDS = 8
PROVEN_SECONDS = 5.0
"""A pace is known by so many tasks that ended over so long; before, one more or less would double it."""
CALLS_OWED = 2
"""A task in flight is asked about, and its result is fetched."""
FETCH_SECONDS = 5.0
"""Set aside for fetching what is in flight before max_duration ends."""


class RunMonitor:
    """Looks at a run from outside."""

    def __init__(
        self,
        ledger: Ledger,
        parts: RunParts,
    ) -> None:
        self._job = parts.context.job
        self._price = parts.context.price
        self._ledger = ledger
        self._lifecycle = parts.lifecycle
        self._scheduler = parts.scheduler
        self._delivery = parts.delivery
        self._in_flight = parts.in_flight
        self._budget = parts.budget
        self._uploads = parts.uploads
        self._control = parts.control
        self._replacements = parts.replacements
        self._pacing = parts.pacing
        self._polling = parts.polling
        self._stopping = parts.stopping
        self._started = asyncio.get_running_loop().time()
        self._before = ledger.images
        self._images: deque[tuple[float, int]] = deque([(self._started, ledger.images)])
        self._completions = CompletionPace()
        self._at_start = dict(ledger.counts)
        options = parts.context.options
        is_part = any(part is not None for part in (options.limit, options.sample, options.tasks))
        self._asked = self._scheduler.to_come if is_part else None
        self._warned = (-math.inf, -1, 0)
        self._noted: tuple[float, in_flight_note.InFlightNote | None] = (-math.inf, None)

    async def send_snapshots(self, listener: Listener, every: float) -> None:
        """A snapshot after each `every` seconds, the first at once, until cancelled."""
        while True:
            # A ledger that refuses ends the run elsewhere, once all answers are in.
            with suppress(errors.DiskError, errors.LedgerError):
                listener(self.snapshot())
            await anyio.sleep(every)

    async def notice_other_processes(self) -> None:
        """Looks again after another process wrote to the ledger: `batcher retry`, `pause`, `set`."""
        while True:
            await anyio.sleep(NOTICE_SECONDS)
            self._note_in_flight()
            try:
                if self._ledger.changed_outside():
                    self._control.look()
                    self._replacements.plan_requested()
                    self._scheduler.rescan()
            except (errors.DiskError, errors.LedgerError) as error:
                # Submits end; answers that are in the air are still awaited, and paid for.
                self._stopping.for_error(error)

    def _note_in_flight(self) -> None:
        """For those who look from outside (`batcher status`, the live page), where it has changed."""
        now, note = (
            asyncio.get_running_loop().time(),
            in_flight_note.InFlightNote(
                self._in_flight.size, self._in_flight.most, self._in_flight.configured is None
            ),
        )
        at, noted = self._noted
        if note != noted and now - at >= NOTED_SECONDS:
            self._ledger.note(in_flight_note.KEY, note.as_text())
            self._noted = (now, note)

    async def end_after(
        self, seconds: float, tasks: anyio.CancelScope, grace: float, pending_posts: PendingPosts
    ) -> None:
        """`max_duration`: submits end early enough for what is in flight to be fetched. What is not by then,
        and `grace` seconds later, stays in flight for the next run; no answer to a POST is left behind."""
        while True:
            lead = self._polling.spread((0.9,))[0] + FETCH_SECONDS + self._owed()
            remaining = self._started + seconds - min(lead, seconds / 2) - asyncio.get_running_loop().time()
            if remaining <= 0:
                self._stopping.stop(
                    10,
                    f"max_duration of {seconds:g} s: what would be submitted now could not be fetched in it",
                )
                break
            await anyio.sleep(min(remaining, 5.0))
        await anyio.sleep(self._started + seconds + grace - asyncio.get_running_loop().time())
        if pending_posts.number:
            await pending_posts.none()
            await anyio.sleep(FETCH_SECONDS)
        tasks.cancel()

    def _owed(self) -> float:
        """Seconds until the calls can have left that what is in flight needs: behind a pause, and at the rate
        where they count."""
        rate = self._pacing.rate
        calls = CALLS_OWED * self._in_flight.sent_number if self._pacing.metered == "all" else 0
        return self._pacing.pause_left + (60 * calls / rate if rate else 0.0)

    def snapshot(self) -> Snapshot:
        """The run as it stands."""
        now = asyncio.get_running_loop().time()
        ledger, rate = self._ledger, self._pacing.rate
        self._images.append((now, ledger.images))
        while self._images[0][0] < now - PACE_SECONDS and len(self._images) > 2:
            self._images.popleft()
        (then, before), delivered = self._images[0], ledger.images
        per_minute = 60 * (delivered - before) / (now - then) if now > then else 0.0
        ended = sum(ledger.counts[state] for state in FINAL)
        self._completions.observe(now, ended, max(PACE_SECONDS, 2 * self._polling.spread((0.9,))[0]))
        low, high = (None, None) if self._down or self._is_held else self._eta(rate)
        return Snapshot(
            job=self._job.name,
            model=self._job.model,
            elapsed=now - self._started,
            total=sum(ledger.counts.values()),
            counts=dict(ledger.counts),
            images=delivered,
            delivered=delivered - self._before,
            in_flight=self._in_flight.sent_number,
            in_flight_limit=self._in_flight.size,
            in_flight_configured=self._in_flight.configured,
            fetching=self._delivery.under_way,
            cost=ledger.money.in_credits(self._price),
            unsure=ledger.money.unsure,
            projected=self._projected(),
            calls=dict(ledger.calls),
            images_per_minute=per_minute,
            rate=rate,
            rpm_configured=self._pacing.statistics().configured,
            paused=self._control.paused,
            waiting=self._waiting(),
            stopping="; ".join(cause.text for cause in self._stopping.causes.values()),
            eta_low=low,
            eta_high=high,
            failures=ledger.read(totals.failures) if ledger.counts[State.FAILED] else {},
            rejections=ledger.read(totals.rejections) if ledger.counts[State.REJECTED] else {},
            warned=self._count_warned(now),
            other_jobs=self._pacing.other_runs,
            this_time={} if self._asked is None else self._this_time(self._asked),
        )

    def _this_time(self, asked: int) -> dict[State, int]:
        """The tasks of a start that was to submit so many, and what was in flight before it."""
        before = {state: self._at_start[state] for state in (*FINAL, State.DOUBTFUL)}
        counts = {
            state: max(0, number - before.get(state, 0))
            for state, number in self._ledger.counts.items()
            if state is not State.PLANNED
        }
        sent = sum(self._at_start[state] for state in (State.SUBMITTING, State.SUBMITTED, State.READY))
        waiting = max(asked + sent - sum(counts.values()), self._scheduler.to_come)
        return {State.PLANNED: max(0, waiting)} | counts

    @property
    def _is_held(self) -> bool:
        """Whether somebody has to let it go on: nobody knows when that will be."""
        return self._control.paused and self._scheduler.to_come > 0

    def _count_warned(self, now: float) -> int:
        """Counted anew where other pictures are done than at the last count, and that was a while ago."""
        at, done, number = self._warned
        if done != self._ledger.counts[State.DONE] and now - at >= WARNED_SECONDS:
            number = self._ledger.read(check_verdicts.warned)
            self._warned = (now, self._ledger.counts[State.DONE], number)
        return number

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
        mean_images = max(
            1.0,
            self._ledger.images
            / max(self._ledger.counts[State.DONE] + self._ledger.counts[State.REJECTED], 1),
        )
        unpaid = self._unfinished() - self._ledger.counts[State.READY]
        return round(cost["spent"] + unpaid * mean_images * per_image / MICRO, 6)

    def _eta(self, rate: float | None) -> tuple[float | None, float | None]:
        """Remaining seconds, from the slowest of the pace held, the slots and what really ends lately (disk,
        files and this machine have their say there alone), with the service's spread."""
        if not self._polling.known and rate is None:
            return None, None
        queued = self._scheduler.to_come
        fast, middle, slow = self._polling.spread((0.25, 0.5, 0.9))
        calls = 3.0 if self._pacing.metered == "all" else 1.0
        by_rate = 60 * calls * queued / rate if rate else 0.0
        size = self._in_flight.size
        unfinished = self._unfinished()
        tail = 0.0 if not unfinished else 1.0
        by_completions = unfinished / self._completions.pace if self._completions.pace else 0.0
        return (
            max(max(by_rate, fast * queued / size) + tail * fast, by_completions),
            max(max(by_rate * 1.05, middle * 1.2 * queued / size) + tail * slow, by_completions * 1.05),
        )

    @property
    def _down(self) -> str:
        """What keeps everything from going on, as a sentence; empty while nothing does."""
        if self._lifecycle.outage.down:
            return f"the API is down: {self._lifecycle.outage.reason}"
        if self._uploads.outage.down:
            return f"the file storage is down: {self._uploads.outage.reason}"
        if self._lifecycle.brake.is_on:
            return self._lifecycle.brake.reason
        return ""

    def _waiting(self) -> str:
        """What holds submits back, as a sentence; the narrowest place first."""
        if not self._ledger.counts[State.PLANNED]:
            return ""
        if self._control.paused:
            return self._control.reason
        if self._down:
            return self._down
        if self._lifecycle.brake.reason:
            return self._lifecycle.brake.reason
        full, bound = self._in_flight.sent_number >= self._in_flight.size, self._in_flight.bound
        if self._pacing.guarding or (full and bound == "expiry"):
            return "waiting for results: more in flight might expire before they can be fetched"
        if self._pacing.reason:
            return self._pacing.reason
        if self._budget.waiting or (full and bound == "cost"):
            return self._budget.reason
        if full:
            return f"waiting for results: {self._in_flight.size} tasks are in flight, as many as may be"
        return ""


class CompletionPace:
    """How many tasks a second come to their end lately, counted from the first end that was seen: what is
    before it tells how long a job takes, not how many go side by side."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self.pace = 0.0
        """0.0 while it is not known yet."""

    def observe(self, now: float, ended: int, span: float) -> None:
        """So many have ended by `now`; what is older than `span` seconds counts no more."""
        if self._seen and (ended < self._seen[-1][1] or ended == self._seen[0][1]):
            self._seen.clear()  # fewer: failed ones were planned again
        self._seen.append((now, ended))
        while self._seen[0][0] < now - span and len(self._seen) > 2:
            self._seen.popleft()
        (then, before) = self._seen[0]
        enough = ended - before >= PROVEN_ENDS and now - then >= PROVEN_SECONDS
        self.pace = (ended - before) / (now - then) if enough else 0.0


async def end_with_ledger(
    ledger: Ledger, pending_posts: PendingPosts, stopping: Stopping, tasks: anyio.CancelScope
) -> None:
    """A ledger that takes no more writes ends the run: answers in the air are awaited, and nothing else."""
    stopping.for_error(await ledger.refusal())
    await pending_posts.none()
    tasks.cancel()


async def handle_signals(
    stopping: Stopping, tasks: anyio.CancelScope, grace: float, warn: Callable[[str], None]
) -> None:
    """First SIGINT, SIGTERM or SIGHUP: no new submits, `grace` seconds for what is in flight; second: at
    once.

    A terminal that goes may say so twice: SIGHUP is never the second.
    """
    heard = set(SIGNALS)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        heard.discard(signal.SIGHUP)  # under nohup a run goes on without its terminal
    with anyio.open_signal_receiver(*heard) as signals:
        seen = 0
        async with anyio.create_task_group() as waits:
            async for number in signals:
                if seen and number == signal.SIGHUP:
                    continue
                seen += 1
                if seen > 1:
                    tasks.cancel()
                    return
                stopping.stop(*SIGNALS[number])
                warn(
                    f"stopping: what is in flight is fetched for up to {grace:g} s; once more leaves at once"
                )
                waits.start_soon(_cancel_after, grace, tasks)


async def _cancel_after(seconds: float, scope: anyio.CancelScope) -> None:
    with suppress(TimeoutError), time_limit(seconds):
        await anyio.sleep_forever()
    scope.cancel()
