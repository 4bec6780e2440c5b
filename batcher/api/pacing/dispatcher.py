"""Who waits at the gate, and who goes next.

Promise 3: result before status before submit. A turn is granted at the moment at which its call may leave and
not before, to whoever is the most urgent then.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NoReturn

import anyio

from batcher.api.pacing.account_limit import AccountLimit, QueueAction
from batcher.api.pacing.call_queue import SUBMITS, UNTHROTTLED, CallKind, CallQueue, Waiter
from batcher.api.pacing.other_runs import OtherRuns
from batcher.api.pacing.pause import SAME_STAMP
from batcher.api.pacing.shared_slots import SharedState, Slot
from batcher.api.pacing.token_spacing import CATCH_UP, TokenSpacing

LAST_CHANCE = 0.25
"""Seconds between two results that go out within a pause since they would not survive it."""
SPREAD = 2.0
"""Seconds over which calls that are not paced leave after a pause, at most CATCH_UP apart."""


class Dispatcher:
    """Two queues, and the two tasks that alone grant turns: calls that are paced leave at the limit's rate,
    the others wait out pauses and caution. Which calls are which, the limit says, and what it learns sorts
    the queues anew. `granted` counts the turns.
    """

    def __init__(self, limit: AccountLimit, others: OtherRuns) -> None:
        self._limit = limit
        self._others = others
        self._guard: Callable[[], bool] = lambda: False
        self._submits_held = False
        self._paced, self._free = CallQueue(self._holding), CallQueue(self._holding)
        self._spacing = TokenSpacing()
        self._last_sent = self._last_free = -math.inf
        self._gap = 0.0  # seconds between those that a pause held, until none of them waits
        self._waiting: Counter[CallKind] = Counter()
        self.granted: Counter[CallKind] = Counter()

    # A call and its turn.

    async def acquire(self, kind: CallKind, deadline: float) -> float:
        """As `Pacing.acquire`."""
        at = _clock()
        if kind in UNTHROTTLED or (not self._limit.is_paced(kind) and self._passes_at_once(kind, at)):
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
        paused = self.submits_left(at) if kind in SUBMITS else self.left(at)
        return not len(self._free) and not paused and at - self._last_free >= self._limit.caution

    def _let_out(self, kind: CallKind, at: float) -> float:
        self.granted[kind] += 1
        if self._limit.is_metered(kind):
            self._last_sent = at
            self._limit.sent(at)
        elif kind not in UNTHROTTLED:
            self._last_free = at
        return at

    def _withdraw(self, waiter: Waiter) -> None:
        """Cancelled while it waited, or with its turn in hand: then the call never went out."""
        if waiter.granted.cancelled():
            self._queue_of(waiter.kind).discard_gone()
        else:
            self.granted[waiter.kind] -= 1
            self._limit.not_sent(waiter.kind, waiter.granted.result())

    # What waits, and what holds it.

    @property
    def waiting(self) -> Mapping[CallKind, int]:
        """How many calls of each kind wait for their turn; kinds without any are left out."""
        return {kind: waiting for kind, waiting in self._waiting.items() if waiting}

    @property
    def submits_wait(self) -> bool:
        """Whether any submit waits for its turn."""
        return any(self._waiting[kind] for kind in SUBMITS)

    @property
    def guarding(self) -> bool:
        """Whether submits would wait until what is in flight can be fetched in time."""
        return self._limit.is_paced(CallKind.STATUS) and self._guard()

    def hold_submits_while(self, guard: Callable[[], bool]) -> None:
        """As `Pacing.hold_submits_while`."""
        self._guard = guard

    def hold_submits(self, held: bool) -> None:
        """As `Pacing.hold_submits`."""
        self._submits_held = held
        self.renew(QueueAction.WAKE)

    def notify(self) -> None:
        """Something changed that may let calls that are paced go."""
        self._paced.changed.notify()

    def _holding(self) -> bool:
        """Asked while a queue is read: a pause that is over is left for the dispatchers to end."""
        return self._limit.pauses_submits_alone(_clock()) or self._submits_held or self.guarding

    def left(self, at: float) -> float:
        """Seconds for which every call waits, 0 when none does."""
        self.end_pauses(at)
        return self._limit.left(at)

    def submits_left(self, at: float) -> float:
        """Seconds for which submits wait."""
        self.end_pauses(at)
        return self._limit.submits_left(at)

    def end_pauses(self, at: float) -> None:
        """A pause that is over by now teaches its lesson."""
        if self._limit.end_pauses(at):
            self.renew(QueueAction.SPACE)
            self._gap = min(CATCH_UP, SPREAD / max(1, len(self._free)))

    def renew(self, action: QueueAction) -> None:
        """Does with the queues what a change of the limit asks for."""
        if action >= QueueAction.SPACE:
            self._spacing.restart()
        for queue in (self._free, self._paced):
            if action >= QueueAction.SORT:
                for waiter in queue.drain():
                    self._queue_of(waiter.kind).push(waiter)
            if action >= QueueAction.WAKE:
                queue.changed.notify()

    def _queue_of(self, kind: CallKind) -> CallQueue:
        return self._paced if self._limit.is_paced(kind) else self._free

    def listen(self) -> None:
        """As `Pacing.listen`."""
        state = self._others.state()
        if state is not None:
            self._hear(state)

    def _hear(self, state: SharedState, own: int = 0) -> None:
        self.renew(self._others.hear(state, _clock(), self.waiting, own=own))

    # The dispatchers: they alone grant turns.

    async def run(self) -> NoReturn:
        """As `Pacing.run`."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._serve_free)
            await self._serve_paced()
        raise AssertionError("the dispatchers end only by being cancelled")

    async def _serve_paced(self) -> NoReturn:
        """At the rate, one by one: first the token, then whoever is the most urgent at that moment."""
        while True:
            await self._until_open(self._paced)
            slot = await self._token()
            in_pause = self.left(_clock()) > 0
            if not self._may_go(self._paced, _clock()) or not self._grant(self._paced, _clock()):
                # Given back: a token in hand would let the first two calls after a wait go out together.
                self._spacing.restart()
                if slot is not None:
                    self._others.give_back(slot)
            elif in_pause:
                await asyncio.sleep(LAST_CHANCE)

    async def _token(self) -> Slot | None:
        """Waits for the right to one call that counts: by this gate's own spacing, and where others share the
        limit by a slot of theirs. What would not survive a pause asks nobody."""
        alone = not self._others.number or self.left(_clock()) > 0
        if alone:
            await self._own_token()
        else:
            self._spacing.restart()
        if self.left(_clock()) or not self._limit.is_paced(CallKind.SUBMIT):
            return None
        slot = await self._others.take(*self._spacing.terms(self._limit.rate), spaced=alone)
        if slot is None:
            if not alone:
                await self._own_token()
            return None
        self._hear(slot.state, own=1)
        if self._limit.pause.left(_clock()):
            # Waiting is for `_until_open`, which sees what changes meanwhile and who would not survive it.
            self._others.give_back(slot)
            return None
        if slot.state.blocked > _clock() + SAME_STAMP:
            # A pause that goes on after our patience with it: one call at our own pace finds out.
            self._others.give_back(slot)
            await self._own_token()
            return None
        if slot.at > _clock():
            await asyncio.sleep(slot.at - _clock())
            self.listen()
        return slot

    async def _own_token(self) -> None:
        await self._spacing.token(self._limit.rate, _clock(), self._last_sent)

    async def _serve_free(self) -> NoReturn:
        """Calls that do not count waited for a pause: they leave spread, not as a herd."""
        while True:
            await self._until_open(self._free)
            gap = LAST_CHANCE if self.left(_clock()) else max(self._gap, self._limit.caution)
            if self._grant(self._free, _clock()):
                await asyncio.sleep(gap)
            if not len(self._free):
                self._gap = 0.0

    async def _until_open(self, queue: CallQueue) -> None:
        """Until somebody waits in it who may go."""
        while not self._may_go(queue, _clock()):
            with anyio.move_on_after(self._limit.next_end(_clock())):
                await queue.changed.wait()

    def _may_go(self, queue: CallQueue, at: float) -> bool:
        remaining = self.left(at)
        return queue.expires_before(at + remaining) if remaining else len(queue) > 0

    def _grant(self, queue: CallQueue, at: float) -> bool:
        waiter = queue.pop(at)
        if waiter is None:
            return False
        waiter.granted.set_result(self._let_out(waiter.kind, at))
        return True


def _clock() -> float:
    return asyncio.get_running_loop().time()
