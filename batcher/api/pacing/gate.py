"""The one gate that every API call passes: what a run asks of it, tells it, and may know of it.

Promise 3: the limit is kept, and used up; result before status before submit. Waiting is not failing: a call
waits here as long as it must, and costs no attempt.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

from batcher.api.pacing.account_limit import AccountLimit, QueueAction
from batcher.api.pacing.call_queue import UNTHROTTLED, CallKind
from batcher.api.pacing.dispatcher import Dispatcher
from batcher.api.pacing.events import Metered, PacingEvent, PacingStatistics
from batcher.api.pacing.other_runs import OtherRuns
from batcher.api.pacing.rate import per_minute
from batcher.api.pacing.shared_slots import SharedSlots


class Pacing:
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
        self._limit = AccountLimit(
            rpm=rpm,
            metered=metered,
            now=now,
            learned=learned,
            patience=patience,
            tell=tell or (lambda event: None),
        )
        self._others = OtherRuns(self._limit, shared)
        self._dispatcher = Dispatcher(self._limit, self._others)
        self._throttled = 0

    # A call: its turn, and what came of it.

    async def run(self) -> NoReturn:
        """Serve the waiting calls until cancelled; start it once, in the run's task group."""
        await self._dispatcher.run()

    async def acquire(self, kind: CallKind, deadline: float = math.inf) -> float:
        """Waits until this call may go out; returns the loop's time of that moment, its `sent_at`.

        Results go first, by earliest `deadline`, then statuses (and credits) by theirs, then submits as they
        came. A result's deadline is the loop's time at which its record expires: one that would not survive
        a pause goes out within it. Calls that are not metered wait out pauses only; uploads and history go to
        other hosts and never wait.
        """
        return await self._dispatcher.acquire(kind, deadline)

    def accepted(self, kind: CallKind) -> None:
        """The API took a call of this kind: any answer but 429. Errors raise no rate; nor does this alone."""
        self._limit.accepted(kind, asyncio.get_running_loop().time())

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
        self._dispatcher.end_pauses(at)
        if self._limit.is_metered(kind):
            self._others.tell_refused()
        reset_in = reset_at - now if reset_at is not None and math.isfinite(reset_at) else None
        self._dispatcher.renew(self._limit.throttled(kind, reset_in, sent_at, at))
        if self._limit.is_metered(kind):
            self._others.tell_pause(at)

    # What else bears on it.

    def listen(self) -> None:
        """Hears what the account's other runs have sent and learned meanwhile."""
        self._dispatcher.listen()

    def configure(self, rpm: float | None) -> None:
        """Another number of calls per minute holds from now on (None: unpaced); what 429s taught stays."""
        self._limit.configure(rpm)
        self._dispatcher.renew(QueueAction.SPACE)

    def hold_submits_while(self, guard: Callable[[], bool]) -> None:
        """Submits wait as long as `guard` says so, where status and result calls count like them."""
        self._dispatcher.hold_submits_while(guard)

    def hold_submits(self, held: bool) -> None:
        """Submits wait until this is called again with False; what is in flight is asked for and fetched."""
        self._dispatcher.hold_submits(held)

    def notify(self) -> None:
        """Something changed that may let submits go."""
        if self.scarce:
            self._dispatcher.notify()

    # What may be known of it.

    @property
    def rate(self) -> float | None:
        """Calls per minute at present, None where nothing is paced."""
        return per_minute(self._limit.rate.per_second)

    @property
    def own_rpm(self) -> float | None:
        """Calls per minute as this run was told, whatever those beside were."""
        return self._limit.own_rpm

    @property
    def sure_rate(self) -> float | None:
        """The part of the rate that this run has for itself, whatever the runs beside it do."""
        rate = self.rate
        return None if rate is None else rate / (1 + self.other_runs)

    @property
    def other_runs(self) -> int:
        """How many other runs share the limit."""
        return self._others.number

    @property
    def metered(self) -> Metered:
        """Which calls count, as far as known."""
        return self._limit.metered

    @property
    def free(self) -> bool:
        """Whether status and result calls are known not to count."""
        return self._limit.free

    @property
    def waiting(self) -> Mapping[CallKind, int]:
        """How many calls of each kind wait for their turn; kinds without any are left out."""
        return self._dispatcher.waiting

    @property
    def scarce(self) -> bool:
        """Whether a status call costs a submit its turn: every call counts, and submits wait."""
        return self._limit.is_paced(CallKind.STATUS) and self._dispatcher.submits_wait

    @property
    def guarding(self) -> bool:
        """Whether submits wait until what is in flight can be fetched in time."""
        return self._dispatcher.submits_wait and self._dispatcher.guarding

    @property
    def pause_left(self) -> float:
        """Seconds for which every call to the API still waits after a 429."""
        return self._dispatcher.left(asyncio.get_running_loop().time())

    @property
    def reason(self) -> str:
        """Why submits wait, as a sentence; empty when none does."""
        remaining = self._dispatcher.submits_left(asyncio.get_running_loop().time())
        if remaining:
            return f"the API's limit is reached, submits pass again in {math.ceil(remaining)} s"
        if self._dispatcher.submits_wait and self.rate is not None:
            return f"at the limit of {self.rate:.4g} a minute"
        return ""

    def statistics(self) -> PacingStatistics:
        """The gate at this moment."""
        return PacingStatistics(
            rate=self.rate,
            configured=per_minute(self._limit.rate.configured),
            metered=self._limit.metered,
            waiting=self.waiting,
            granted=dict(self._dispatcher.granted),
            throttled=self._throttled,
            resets=self._limit.resets,
        )

    def snapshot(self) -> dict[str, Any]:
        """What 429s taught, for the next run's `learned`: plain JSON."""
        return self._limit.snapshot()

    def __repr__(self) -> str:
        waiting = ", ".join(f"{number} {kind}" for kind, number in self.waiting.items()) or "nobody"
        paused = ", paused" if self._limit.is_paused else ""
        calls = f"metered {self._limit.metered}, waiting {waiting}{paused}, {self._throttled} 429s"
        return f"<Pacing {self._limit.rate!r}, {calls}>"
