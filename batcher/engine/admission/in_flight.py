"""The jobs in flight: a slot each, from just before the POST to the notice of its end, and how many there may
be at this moment.

Rule: a number in the manifest is a fixed bound; `auto` follows the rate. Whatever was wanted, no more are in
flight than can be fetched before they expire, and than the rest of max_cost pays for. Uploads and results
that are being fetched hold no slot.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import deque
from collections.abc import Callable
from typing import Literal, NoReturn

import anyio

from batcher.api.pacing import Pacing
from batcher.engine.admission import in_flight_need
from batcher.engine.admission.budget import Budget
from batcher.engine.admission.in_flight_limit import InFlightLimit

LOOK_AGAIN = 0.5
"""Seconds between two looks at what is needed: the rate and the ages move without telling."""
REMEMBERED = 64
ENOUGH = 8
"""So many ends tell how long jobs are in flight; before, they only lengthen the first guess."""

Bound = Literal["limit", "cost", "expiry"]


class InFlight:
    """Which jobs are in flight. `wanted` is the manifest's number, None for auto; `guess` how many seconds
    a job is believed to be in flight before any has ended; `upload` tells how many the
    uploads of a task take (0.0: none); `changed` is called when there may be room."""

    def __init__(
        self,
        configured: int | None,
        *,
        guess: float,
        limit: InFlightLimit,
        budget: Budget,
        pacing: Pacing,
        upload: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self._configured = configured
        self._guess = guess
        self._limit = limit
        self._budget = budget
        self._pacing = pacing
        self._upload = upload
        self._changed = changed
        self._coming: set[int] = set()
        self._sent_at: dict[int, float] = {}
        """When each left; inf: it waits for its turn to call; nan: an earlier process sent it."""
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._ended_at: deque[float] = deque(maxlen=REMEMBERED)
        self._looked_at = -math.inf
        self._needed = 0

    def configure(self, configured: int | None, most: int) -> None:
        """Another number of the manifest's kind holds from now on, and `most` beside it; what is in flight
        above it comes home."""
        self._configured = configured
        self._limit.configure(most)
        self._looked_at = -math.inf
        self.notify()

    # A job's way: coming, in its slot, and out of it.

    def expect(self, task: int) -> None:
        """A task is on its way to a slot: its pictures are uploaded, and its money is set aside."""
        self._coming.add(task)

    async def acquire(self, task: int) -> None:
        """Waits for a slot, first come first served."""
        if not self._waiters and len(self._sent_at) < self.size:
            self._enter(task, math.inf)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[future] = task
        try:
            await future
        except asyncio.CancelledError:
            self._waiters.pop(future, None)
            if not future.cancelled():
                self.leave(task)
            raise

    def sent(self, task: int, at: float) -> None:
        """Its POST leaves, at `at` by the loop's clock."""
        self._sent_at[task] = at

    def resumed(self, task: int) -> None:
        """A job that an earlier process submitted, or that the history told of, is in flight whether there is
        a slot or not."""
        if task not in self._sent_at:
            self._enter(task, math.nan)

    def leave(self, task: int, *, finished: bool = False) -> None:
        """It is in flight no more, nor on its way there; `finished`: since its end was noticed."""
        self._coming.discard(task)
        at = self._sent_at.pop(task, None)
        if at is None:
            return
        if finished and math.isfinite(at):
            now = asyncio.get_running_loop().time()
            self._seconds.append(now - at)
            self._ended_at.append(now)
        self.notify()

    def notify(self) -> None:
        """There may be room: whoever waits for a slot has it, and the scheduler looks for more."""
        size = self.size
        while self._waiters and len(self._sent_at) < size:
            future = next(iter(self._waiters))
            task = self._waiters.pop(future)
            if not future.done():
                self._enter(task, math.inf)
                future.set_result(None)
        self._changed()

    async def run(self) -> NoReturn:
        """Looks again now and then, until it is cancelled."""
        while True:
            await anyio.sleep(LOOK_AGAIN)
            before = self.size
            self._looked_at = -math.inf
            if self.size > before or self._waiters:
                self.notify()

    def _enter(self, task: int, at: float) -> None:
        self._coming.discard(task)
        self._sent_at[task] = at
        self._changed()

    # How many.

    @property
    def size(self) -> int:
        """So many may be in flight now."""
        return int(max(1, min(self._limit.size, self._auto(), self._budget.room)))

    @property
    def configured(self) -> int | None:
        """The manifest's number; None: auto."""
        return self._configured

    @property
    def most(self) -> int:
        """What no rate moves: the manifest's number, or what memory bears."""
        return self._limit.most

    @property
    def bound(self) -> Bound:
        """What keeps `size` as it is: limits.in_flight (or what it needs, for auto), the rest of max_cost, or
        the expiry of results."""
        size = self.size
        if self._budget.room <= size:
            return "cost"
        return "expiry" if self._limit.is_limiting and self._limit.size <= size else "limit"

    @property
    def has_room(self) -> bool:
        """Whether another task may begin: a little ahead of its slot, and no more than there is money for."""
        ahead = in_flight_need.ahead_of_turn(self._pacing.rate, self._upload())
        coming, held, size = len(self._coming), len(self._sent_at), self.size
        most = min(size + ahead, max(size, self._budget.room))
        return coming < max(ahead, in_flight_need.SPARE) and coming + held < most

    @property
    def sent_number(self) -> int:
        """Jobs whose POST has left and whose end was not noticed yet."""
        return sum(at < math.inf or math.isnan(at) for at in self._sent_at.values())

    def _auto(self) -> int:
        if self._configured is not None:
            return self._configured
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= LOOK_AGAIN:
            self._looked_at = now
            self._needed = in_flight_need.needed(
                self._pacing.rate,
                self._pacing.metered,
                seconds=self._typical(),
                age=self._age(now),
                finished=self._finished(now),
                service=self._limit.service,
            )
        return self._needed

    def _typical(self) -> float:
        """Seconds that nine of ten are in flight."""
        ordered = sorted(self._seconds)
        if len(ordered) < ENOUGH:
            return max([self._guess, *ordered])
        return ordered[len(ordered) * 9 // 10]

    def _age(self, now: float) -> float:
        ages = [now - at for at in self._sent_at.values() if math.isfinite(at)]
        return 2 * statistics.median(ages) if ages else 0.0

    def _finished(self, now: float) -> float:
        """Jobs per second that end lately."""
        if len(self._ended_at) < ENOUGH:
            return 0.0
        return len(self._ended_at) / max(now - self._ended_at[0], 1e-3)
