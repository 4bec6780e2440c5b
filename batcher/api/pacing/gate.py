"""The one gate that every API call passes: who may go next, and when.

Promise 3: the limit is kept, and used up; result before status before submit. Waiting is not failing: a call
waits here as long as it must, and costs no attempt.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

import anyio

from batcher.api.pacing.call_queue import SUBMITS, UNTHROTTLED, CallKind, CallQueue, Waiter
from batcher.api.pacing.events import LearnedRate, Metered, PacingEvent
from batcher.api.pacing.gate_sharing import GateSharing
from batcher.api.pacing.pause import SAME_STAMP, Pause
from batcher.api.pacing.rate import MINUTE, Rate
from batcher.api.pacing.shared_slots import SharedSlots, SharedState, Slot
from batcher.api.pacing.token_spacing import CATCH_UP, TokenSpacing
from batcher.api.pacing.unmetered import UnmeteredEvidence

LAST_CHANCE = 0.25
"""Seconds between two results that go out within a pause since they would not survive it."""
CAUTIOUS = 8.0
"""Calls that may turn out to count leave at no more than so many times the rate..."""
LONGEST_CAUTION = 0.25
"""...and at most so many seconds apart."""
SPREAD = 2.0
"""Seconds over which calls that are not paced leave after a pause, at most CATCH_UP apart."""


class Pacing(GateSharing):
    """The call budget of one run, in one event loop.

    `rpm` is calls per minute as told (None: unpaced, until a 429 teaches better); `metered` says which calls
    count; `now` is the wall clock (epoch seconds); `learned` an earlier run's `snapshot()`, ignored where it
    is old or unreadable; `patience` is how many seconds a 429 is waited out; `tell` gets PacingEvents and
    must not raise; `shared` are the slots of the account, where other runs use them too. Raises ValueError on
    an impossible rpm.
    """

    def __init__(
        self,
        *,
        rpm: float | None,
        metered: Literal["submits", "all", "auto"] = "auto",
        now: Callable[[], float],
        learned: Mapping[str, Any] | None = None,
        patience: float = 3600.0,
        tell: Callable[[PacingEvent], None] | None = None,
        shared: SharedSlots | None = None,
    ) -> None:
        if rpm is not None and not (math.isfinite(rpm) and rpm > 0):
            raise ValueError(f"rpm must be a positive number, or None for no limit; not {rpm!r}")
        self._now = now
        self._tell = tell or (lambda event: None)
        lesson = LearnedRate.read(learned, now())
        self._auto = metered == "auto"
        self._found_out = self._auto and lesson.found_out
        self._metered: Metered = "all" if metered == "all" or self._found_out else "submits"
        configured = math.inf if rpm is None else rpm / MINUTE
        known = lesson.per_minute if lesson.counted == self._metered else None
        self._rate = Rate(configured, learned=None if known is None else known / MINUTE)
        self._others = UnmeteredEvidence()
        self._last_told_rate = self._rate.per_second

        self._guard: Callable[[], bool] = lambda: False
        self._submits_held = False
        self._paced, self._free = CallQueue(self._holding), CallQueue(self._holding)
        self._spacing = TokenSpacing()
        self._last_sent = self._last_free = -math.inf
        self._waiting: Counter[CallKind] = Counter()
        self._granted: Counter[CallKind] = Counter()
        self._throttled = 0
        self._patience = patience
        self._refused_since: float | None = None
        # After a 429 on a call that counts: holds what counts. After one on another call: holds everything.
        self._pause, self._pause_of_all = Pause(patience), Pause(patience)
        self._gap = 0.0
        self._shared = shared
        self._seen: SharedState | None = None
        self._told_end = -math.inf
        self._own_rpm, self._others_rpm = rpm, math.inf

    # The story of a call: its turn, and what came of it.

    async def acquire(self, kind: CallKind, deadline: float = math.inf) -> float:
        """Waits until this call may go out; returns the loop's time of that moment, its `sent_at`.

        Results go first, by earliest `deadline`, then statuses (and credits) by theirs, then submits as they
        came. A result's deadline is the loop's time at which its record expires: one that would not survive
        a pause goes out within it. Calls that are not metered wait out pauses only; uploads and history go to
        other hosts and never wait.
        """
        at = asyncio.get_running_loop().time()
        if kind in UNTHROTTLED or (not self._is_paced(kind) and self._passes_at_once(kind, at)):
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

    def _passes_at_once(self, kind: CallKind, at: float) -> bool:
        """Whether a call that is not paced need not wait for others, a pause, or caution."""
        if kind in SUBMITS and self._submits_held:
            return False
        paused = self._submits_left(at) if kind in SUBMITS else self._left(at)
        return not len(self._free) and not paused and at - self._last_free >= self._caution

    @property
    def _caution(self) -> float:
        """Seconds between calls that, as far as is known, do not count. As long as they may, after all, few
        must be under way when the first 429 proves it."""
        if self.free or self._found_out:
            return 0.0
        return min(LONGEST_CAUTION, 1 / (CAUTIOUS * self._rate.per_second))

    def accepted(self, kind: CallKind) -> None:
        """The API took a call of this kind: any answer but 429. Errors raise no rate; nor does this alone."""
        if kind not in UNTHROTTLED:
            self._others.passed(asyncio.get_running_loop().time(), self._rate.per_second)
        self._pause_of_all.agreed()
        if self._is_metered(kind):
            self._refused_since = None
            self._pause.agreed()

    def throttled(
        self, kind: CallKind, reset_at: float | None, now: float, sent_at: float | None = None
    ) -> None:
        """A call got a 429 at wall time `now`; `reset_at` is its stamp by our wall clock, None without one.

        `sent_at` is what `acquire` returned for it, and tells a 429 that was under way when we paused from a
        new one; without it, 429s whose stamps lie within a second are one event. Only a stamped 429 teaches
        the rate, or which calls count; unstamped ones share one growing pause. A 429 of another host than
        the API is only counted: its caller backs off.
        """
        self._throttled += 1
        if kind in UNTHROTTLED:
            return
        self.listen()
        at = asyncio.get_running_loop().time()
        self._left(at)
        self._others.refused()
        if self._is_metered(kind):
            self._rate.refused(sent_at)
            self._count_refused()
        stamped = reset_at is not None and math.isfinite(reset_at)
        if stamped and self._auto and not self._found_out and kind in (CallKind.STATUS, CallKind.RESULT):
            self._all_are_metered()
        counts = self._is_metered(kind)
        pause = self._pause if counts else self._pause_of_all
        seconds_to_reset = reset_at - now if stamped and reset_at is not None else 0.0
        seconds = (
            pause.stamped(at + seconds_to_reset, at, sent_at, counts=counts)
            if stamped
            else pause.unstamped(at, sent_at)
        )
        if counts and self._shared is not None and pause.left(at):
            self._shared.pause(pause.until, pause.coming)
        if seconds:
            what = "submits" if counts and self._metered == "submits" else "calls"
            text = f"{what} pause for {seconds:.0f} s: the API's limit is reached"
            self._tell(PacingEvent("paused", text, seconds=seconds))
        self._tell_exhausted(at, seconds_to_reset)

    def _tell_exhausted(self, at: float, left: float) -> None:
        """A reset later than the user waits for, or nothing let through for that long."""
        self._refused_since = at if self._refused_since is None else self._refused_since
        if left > self._patience:
            self._tell_used_up(left)
        elif at - self._refused_since > self._patience:
            minutes = (at - self._refused_since) / MINUTE
            text = f"the API's limit let nothing pass for {minutes:.0f} minutes: run again later"
            self._tell(PacingEvent("exhausted", text, seconds=left))

    def _tell_used_up(self, left: float) -> None:
        text = f"the API's limit is used up until {_utc(self._now() + left)}: run again then"
        self._tell(PacingEvent("exhausted", text, seconds=left))

    def hold_submits_while(self, guard: Callable[[], bool]) -> None:
        """Submits wait as long as `guard` says so, where status and result calls count like them."""
        self._guard = guard

    def hold_submits(self, held: bool) -> None:
        """Submits wait until this is called again with False; what is in flight is asked for and fetched."""
        self._submits_held = held
        for queue in (self._free, self._paced):
            queue.changed.notify()

    def configure(self, rpm: float | None) -> None:
        """Another number of calls per minute holds from now on (None: unpaced); what 429s taught stays."""
        self._own_rpm = rpm
        self._configure()

    def _configure(self) -> None:
        """The lower of the own limit and of those of the runs beside holds."""
        own = math.inf if self._own_rpm is None else self._own_rpm
        self._rate.configure(min(own, self._others_rpm) / MINUTE)
        self._last_told_rate = self._rate.per_second
        self._spacing.restart()
        self._sort_again()

    def notify(self) -> None:
        """Something changed that may let submits go."""
        if self.scarce:
            self._paced.changed.notify()

    def _holding(self) -> bool:
        """Asked while a queue is read: a pause that is over is left for the dispatchers to end."""
        if self._metered == "submits" and self._pause.left(asyncio.get_running_loop().time()):
            return True
        return self._submits_held or self._guarding()

    def _guarding(self) -> bool:
        return self._is_paced(CallKind.STATUS) and self._guard()

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
            slot = await self._token()
            in_pause = self._left(loop.time()) > 0
            if not self._may_go(self._paced, loop.time()) or not self._grant(self._paced, loop.time()):
                # Given back: a token in hand would let the first two calls after a wait go out together.
                self._spacing.restart()
                self._give_back(slot)
            elif in_pause:
                await asyncio.sleep(LAST_CHANCE)

    async def _token(self) -> Slot | None:
        """Waits for the right to one call that counts: by this gate's own spacing, and where others share the
        limit by a slot of theirs. What would not survive a pause asks nobody."""
        loop = asyncio.get_running_loop()
        alone = self._shared is None or not self._shared.beside or self._left(loop.time()) > 0
        if alone:
            await self._spacing.token(self._rate, loop.time(), self._last_sent)
        else:
            self._spacing.restart()
        if self._shared is None or self._left(loop.time()) or not self._is_paced(CallKind.SUBMIT):
            return None
        slot = await self._shared.take(*self._spacing.terms(self._rate), spaced=alone)
        if slot is None:
            if not alone:
                await self._spacing.token(self._rate, loop.time(), self._last_sent)
            return None
        self._hear(slot.state, own=1)
        if self._pause.left(loop.time()):
            # Waiting is for `_until_open`, which sees what changes meanwhile and who would not survive it.
            self._give_back(slot)
            return None
        if slot.state.blocked > loop.time() + SAME_STAMP:
            # A pause that goes on after our patience with it: one call at our own pace finds out.
            self._give_back(slot)
            await self._spacing.token(self._rate, loop.time(), self._last_sent)
            return None
        if slot.at > loop.time():
            await asyncio.sleep(slot.at - loop.time())
            self.listen()
        return slot

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

    async def _until_open(self, queue: CallQueue) -> None:
        """Until somebody waits in it who may go."""
        loop = asyncio.get_running_loop()
        while not self._may_go(queue, loop.time()):
            with anyio.move_on_after(self._next_end(loop.time())):
                await queue.changed.wait()

    def _may_go(self, queue: CallQueue, at: float) -> bool:
        remaining = self._left(at)
        return queue.expires_before(at + remaining) if remaining else len(queue) > 0

    def _grant(self, queue: CallQueue, at: float) -> bool:
        waiter = queue.pop(at)
        if waiter is None:
            return False
        waiter.granted.set_result(self._let_out(waiter.kind, at))
        return True

    def _let_out(self, kind: CallKind, at: float) -> float:
        self._granted[kind] += 1
        if self._is_metered(kind):
            self._last_sent = at
            self._rate.sent(at)
            self._tell_rate("more passes than before")
        elif kind not in UNTHROTTLED:
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

    # Pauses and what they teach.

    def _left(self, at: float) -> float:
        """Seconds for which every call waits, 0 when none does; a pause that just ended teaches its lesson
        here."""
        for pause in (self._pause, self._pause_of_all):
            if pause.has_ended(at):
                self._resume(pause)
        of_all = self._pause_of_all.left(at)
        return max(of_all, self._pause.left(at)) if self._metered == "all" else of_all

    def _submits_left(self, at: float) -> float:
        """Seconds for which submits wait: where they alone count, their 429s hold nobody else."""
        return max(self._left(at), self._pause.left(at))

    def _next_end(self, at: float) -> float:
        """Seconds until the next pause is over, inf when there is none."""
        ends = (pause.left(at) for pause in (self._pause, self._pause_of_all))
        return min((left for left in ends if left), default=math.inf)

    def _resume(self, pause: Pause) -> None:
        self._spacing.restart()
        reset = pause.end()
        if reset is not None:
            self._rate.reset(reset)
            self._tell_rate("as the API's 429s tell")
        self._sort_again()
        self._gap = min(CATCH_UP, SPREAD / max(1, len(self._free)))

    def _all_are_metered(self) -> None:
        """The rate was judged by the wrong calls, so what was told holds again."""
        self._found_out, self._metered = True, "all"
        self._rate = Rate(self._rate.configured)
        self._last_told_rate = self._rate.per_second
        self._sort_again()
        text = "a 429 on a status or result call: every call counts against the limit, not only submits"
        self._tell(PacingEvent("metered", text, per_minute=self.rate, learned=self.snapshot()))

    def _sort_again(self) -> None:
        for queue in (self._free, self._paced):
            for waiter in queue.drain():
                self._queue_of(waiter.kind).push(waiter)
            queue.changed.notify()

    def _tell_rate(self, why: str) -> None:
        proved = self._rate.proved
        if math.isinf(proved) or abs(proved - self._last_told_rate) < 0.01 * self._last_told_rate:
            return
        self._last_told_rate = proved
        per_minute = proved * MINUTE
        text = f"{per_minute:.4g} calls a minute, {why}"
        self._tell(PacingEvent("rate", text, per_minute=per_minute, learned=self.snapshot()))


def _utc(moment: float) -> str:
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return "a day that no calendar has"
