"""The one gate that every API call passes: who may go next, and when.

Law 3: the limit is kept, and used up; result before status before submit. Waiting is not failing: a call
waits here as long as it must, and costs no attempt.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

import anyio
from aiolimiter import AsyncLimiter

from batcher.pacing.free import Free
from batcher.pacing.news import Lesson, Metered, PacingEvent, Statistics
from batcher.pacing.order import BESIDE, SUBMITS, Kind, Queue, Waiter
from batcher.pacing.pause import Pause
from batcher.pacing.rate import MINUTE, Rate

CATCH_UP = 0.010
"""Seconds of lateness that are made good; above 6,000 calls a minute also the length of a burst."""
LONGEST_CATCH_UP = 0.050
"""At slower rates more is made good, up to the time of one call: a busy machine wakes us late at times."""
JITTER = 0.002
"""Share left of a rate that was told: calls may travel 0.12 s unevenly, and no minute holds one too many."""
LAST_CHANCE = 0.25
"""Seconds between two results that go out within a pause since they would not survive it."""
CAUTIOUS = 8.0
"""Calls that may turn out to count leave at no more than so many times the rate..."""
LONGEST_CAUTION = 0.25
"""...and at most so many seconds apart."""
SPREAD = 2.0
"""Seconds over which calls that are not paced leave after a pause, at most CATCH_UP apart."""


class Pacing:
    """The call budget of one run, in one event loop.

    `rpm` is calls per minute as told (None: unpaced, until a 429 teaches better); `metered` says which calls
    count; `now` is the wall clock (epoch seconds); `learned` an earlier run's `snapshot()`, ignored where it
    is old or unreadable; `tell` gets PacingEvents and must not raise. Raises ValueError on an impossible rpm.
    """

    def __init__(
        self,
        *,
        rpm: float | None,
        metered: Literal["submits", "all", "auto"] = "auto",
        now: Callable[[], float],
        learned: Mapping[str, Any] | None = None,
        tell: Callable[[PacingEvent], None] | None = None,
    ) -> None:
        if rpm is not None and not (math.isfinite(rpm) and rpm > 0):
            raise ValueError(f"rpm must be a positive number, or None for no limit; not {rpm!r}")
        self._now = now
        self._tell = tell or (lambda event: None)
        lesson = Lesson.read(learned, now())
        self._auto = metered == "auto"
        self._found_out = self._auto and lesson.found_out
        self._metered: Metered = "all" if metered == "all" or self._found_out else "submits"
        told = math.inf if rpm is None else rpm / MINUTE
        known = lesson.per_minute if lesson.counted == self._metered else None
        self._rate = Rate(told, learned=None if known is None else known / MINUTE)
        self._others = Free()
        self._last_told_rate = self._rate.per_second

        self._guard: Callable[[], bool] = lambda: False
        self._paced, self._free = Queue(self._holding), Queue(self._holding)
        self._limiter: AsyncLimiter | None = None
        self._limiter_pace = 0.0
        self._last_sent = self._last_free = -math.inf
        self._waiting: Counter[Kind] = Counter()
        self._granted: Counter[Kind] = Counter()
        self._throttled = 0
        self._pause = Pause()
        self._gap = 0.0

    # The story of a call: its turn, and what came of it.

    async def turn(self, kind: Kind, deadline: float = math.inf) -> float:
        """Wait until this call may go out; returns the loop's time of that moment, for `throttled`.

        Results go first, by earliest `deadline`, then statuses (and credits) by theirs, then submits as they
        came. A result's deadline is the wall time at which its record expires: one that would not survive a
        pause goes out within it. Calls that are not metered wait out pauses only; uploads and history go to
        other hosts and never wait.
        """
        at = asyncio.get_running_loop().time()
        if kind in BESIDE or (not self._is_paced(kind) and self._passes_at_once(at)):
            return self._let_out(kind, at)
        waiter = Waiter(deadline, kind, at, asyncio.get_running_loop().create_future())
        self._queue_of(kind).push(waiter)
        self._waiting[kind] += 1
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise
        finally:
            self._waiting[kind] -= 1

    def _passes_at_once(self, at: float) -> bool:
        """Whether a call that is not paced need not wait for others, a pause, or caution."""
        return not len(self._free) and not self._left(at) and at - self._last_free >= self._caution

    @property
    def _caution(self) -> float:
        """Seconds between calls that, as far as is known, do not count. As long as they may, after all, few
        must be under way when the first 429 proves it."""
        if self.free or self._found_out:
            return 0.0
        return min(LONGEST_CAUTION, 1 / (CAUTIOUS * self._rate.per_second))

    def accepted(self, kind: Kind) -> None:
        """The API took a call of this kind: any answer but 429. Errors raise no rate; nor does this alone."""
        if kind not in BESIDE:
            self._others.passed(asyncio.get_running_loop().time(), self._rate.per_second)
        if self._is_metered(kind):
            self._pause.agreed()

    def throttled(self, kind: Kind, reset_at: float | None, now: float, sent_at: float | None = None) -> None:
        """A call got a 429 at wall time `now`; `reset_at` is its stamp by our wall clock, None without one.

        `sent_at` is what `turn` returned for it, and tells a 429 that was under way when we paused from a new
        one; without it, 429s whose stamps lie within a second are one event. An unstamped 429 is only
        counted: its caller backs off.
        """
        self._throttled += 1
        at = asyncio.get_running_loop().time()
        self._left(at)
        self._others.refused()
        if self._is_metered(kind):
            self._rate.refused(sent_at)
        if reset_at is None or not math.isfinite(reset_at):
            return
        if self._auto and not self._found_out and kind in (Kind.STATUS, Kind.RESULT):
            self._all_are_metered()
        reset = at + (reset_at - now)
        seconds = self._pause.stamped(reset, at, sent_at, counts=self._is_metered(kind))
        if seconds:
            text = f"calls pause for {seconds:.0f} s: the API's limit is reached"
            self._tell(PacingEvent("paused", text, seconds=seconds))

    def hold_submits_while(self, guard: Callable[[], bool]) -> None:
        """Submits wait as long as `guard` says so, where status and result calls count like them."""
        self._guard = guard

    def look(self) -> None:
        """Something changed that may let submits go."""
        if self.scarce:
            self._paced.changed.set()

    def _holding(self) -> bool:
        return self._is_paced(Kind.STATUS) and self._guard()

    # The dispatchers: they alone grant turns.

    async def run(self) -> NoReturn:
        """Serve the waiting calls until cancelled; start it once, in the run's task group."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._serve_free)
            await self._serve_paced()
        raise AssertionError("the dispatchers end only by being cancelled")

    async def _serve_paced(self) -> NoReturn:
        """At the rate, one by one: first the token, then whoever is the most urgent at that moment."""
        loop = asyncio.get_running_loop()
        while True:
            await self._until_open(self._paced)
            await self._token(loop.time())
            in_pause = self._left(loop.time()) > 0
            if not self._may_go(self._paced, loop.time()) or not self._grant(self._paced, loop.time()):
                # Given back: a token in hand would let the first two calls after a wait go out together.
                self._limiter = None
            elif in_pause:
                await asyncio.sleep(LAST_CHANCE)

    async def _serve_free(self) -> NoReturn:
        """Calls that do not count waited for a pause: they leave spread, not as a herd."""
        loop = asyncio.get_running_loop()
        while True:
            await self._until_open(self._free)
            gap = LAST_CHANCE if self._left(loop.time()) else max(self._gap, self._caution)
            if self._grant(self._free, loop.time()):
                await asyncio.sleep(gap)
            if not len(self._free):
                self._gap = 0.0

    async def _until_open(self, queue: Queue) -> None:
        """Until somebody waits in it who may go."""
        loop = asyncio.get_running_loop()
        while not self._may_go(queue, loop.time()):
            queue.changed.clear()
            left = self._left(loop.time()) if len(queue) else math.inf
            with anyio.move_on_after(left):
                await queue.changed.wait()

    def _may_go(self, queue: Queue, at: float) -> bool:
        left = self._left(at)
        return queue.expires_before(self._now() + left) if left else len(queue) > 0

    def _grant(self, queue: Queue, at: float) -> bool:
        waiter = queue.pop(at, self._now())
        if waiter is None:
            return False
        waiter.granted.set_result(self._let_out(waiter.kind, at))
        return True

    def _let_out(self, kind: Kind, at: float) -> float:
        self._granted[kind] += 1
        if self._is_metered(kind):
            self._last_sent = at
            self._rate.sent(at)
            self._tell_rate("more passes than before")
        elif kind not in BESIDE:
            self._last_free = at
        return at

    def _withdraw(self, waiter: Waiter) -> None:
        """Cancelled while it waited, or with its turn in hand: then the call never went out."""
        if waiter.granted.cancelled():
            self._queue_of(waiter.kind).discard_gone()
        else:
            self._granted[waiter.kind] -= 1
            if self._is_metered(waiter.kind):
                self._rate.refused(waiter.granted.result())

    async def _token(self, at: float) -> None:
        """Wait for the next token. A new limiter takes over the spacing since the last call: no change of
        rate, no pause and no idle time is followed by a burst."""
        pace = self._pace()
        late = min(max(CATCH_UP, 1 / pace), LONGEST_CATCH_UP)
        idle = at - self._last_sent > 1 / pace + late
        if self._limiter is None or pace != self._limiter_pace or idle:
            catch_up = late * pace
            owed = min(1.0, max(0.0, 1 - (at - self._last_sent) * pace))
            self._limiter = AsyncLimiter(1 + catch_up, (1 + catch_up) / pace)
            self._limiter_pace = pace
            await self._limiter.acquire(catch_up + owed)
        await self._limiter.acquire()

    def _pace(self) -> float:
        rate = self._rate
        return rate.per_second if rate.learned else (1 - JITTER) * rate.per_second

    # Pauses and what they teach.

    def _left(self, at: float) -> float:
        """Seconds of pause left, 0 when there is none; a pause that just ended teaches its lesson here."""
        if self._pause.has_ended(at):
            self._resume()
        return self._pause.left(at)

    def _resume(self) -> None:
        self._limiter = None
        reset = self._pause.end()
        if reset is not None:
            self._rate.reset(reset)
            self._tell_rate("as the API's 429s tell")
        self._sort_again()
        self._gap = min(CATCH_UP, SPREAD / max(1, len(self._free)))

    def _all_are_metered(self) -> None:
        """The rate was judged by the wrong calls, so what was told holds again."""
        self._found_out, self._metered = True, "all"
        self._rate = Rate(self._rate.told)
        self._last_told_rate = self._rate.per_second
        self._sort_again()
        text = "a 429 on a status or result call: every call counts against the limit, not only submits"
        self._tell(PacingEvent("metered", text, per_minute=self.rate))

    def _sort_again(self) -> None:
        for queue in (self._free, self._paced):
            for waiter in queue.drain():
                self._queue_of(waiter.kind).push(waiter)
            queue.changed.set()

    def _is_metered(self, kind: Kind) -> bool:
        return kind in SUBMITS if self._metered == "submits" else kind not in BESIDE

    def _is_paced(self, kind: Kind) -> bool:
        return self._is_metered(kind) and math.isfinite(self._rate.per_second)

    def _queue_of(self, kind: Kind) -> Queue:
        return self._paced if self._is_paced(kind) else self._free

    # What others may know.

    @property
    def rate(self) -> float | None:
        """Calls per minute at present, None where nothing is paced."""
        return _per_minute(self._rate.per_second)

    @property
    def metered(self) -> Metered:
        """Which calls count, as far as known."""
        return self._metered

    @property
    def waiting(self) -> Mapping[Kind, int]:
        """How many calls of each kind wait for their turn; kinds without any are left out."""
        return {kind: waiting for kind, waiting in self._waiting.items() if waiting}

    @property
    def free(self) -> bool:
        """Whether status and result calls are known not to count: it was said, no call does, or they proved
        it."""
        if self._metered == "all" or not self._auto:
            return self._metered == "submits"
        return self._others.proved or math.isinf(self._rate.per_second)

    @property
    def scarce(self) -> bool:
        """Whether a status call costs a submit its turn: every call counts, and submits wait."""
        return self._is_paced(Kind.STATUS) and any(self._waiting[kind] for kind in SUBMITS)

    @property
    def guarding(self) -> bool:
        """Whether submits wait until what is in flight can be fetched in time."""
        return any(self._waiting[kind] for kind in SUBMITS) and self._holding()

    @property
    def pause_left(self) -> float:
        """Seconds for which every call to the API still waits after a 429."""
        return self._left(asyncio.get_running_loop().time())

    @property
    def reason(self) -> str:
        """Why submits wait, as a sentence; empty when none does."""
        left = self.pause_left
        if left:
            return f"the API's limit is reached, calls pass again in {math.ceil(left)} s"
        submits = sum(self._waiting[kind] for kind in SUBMITS)
        if submits and self.rate is not None:
            what = "calls" if self._metered == "all" else "submits"
            return f"at the limit of {self.rate:.4g} {what} a minute"
        return ""

    def statistics(self) -> Statistics:
        """The gate at this moment."""
        return Statistics(
            rate=self.rate,
            told=_per_minute(self._rate.told),
            metered=self._metered,
            waiting=self.waiting,
            granted=dict(self._granted),
            throttled=self._throttled,
            resets=self._pause.resets,
        )

    def snapshot(self) -> dict[str, Any]:
        """What 429s taught, for the next run's `learned`: plain JSON."""
        per_minute = self._rate.proved * MINUTE if self._rate.learned else None
        return Lesson(per_minute, self._metered, self._found_out).written(self._now())

    def __repr__(self) -> str:
        waiting = ", ".join(f"{number} {kind}" for kind, number in self.waiting.items()) or "nobody"
        paused = ", paused" if math.isfinite(self._pause.until) else ""
        calls = f"metered {self._metered}, waiting {waiting}{paused}, {self._throttled} 429s"
        return f"<Pacing {self._rate!r}, {calls}>"

    def _tell_rate(self, why: str) -> None:
        proved = self._rate.proved
        if math.isinf(proved) or abs(proved - self._last_told_rate) < 0.01 * self._last_told_rate:
            return
        self._last_told_rate = proved
        per_minute = proved * MINUTE
        self._tell(PacingEvent("rate", f"{per_minute:.4g} calls a minute, {why}", per_minute=per_minute))


def _per_minute(per_second: float) -> float | None:
    return None if math.isinf(per_second) else per_second * MINUTE
