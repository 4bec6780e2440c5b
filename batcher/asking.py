"""Who asks when: one poller wakes every submitted task when its time has come to ask.

Law: what is learned reaches sleepers at once; calls that are not needed are not made.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from batcher.polling import Polling

LOOK_AGAIN = 0.05
"""Seconds between two looks at all sleepers after something was learned."""
FIRST_LOOKS = (0.3, 1.0)
"""Seconds: where nothing is known of a model, its oldest task is looked at early, twice. Should its jobs be
much quicker than guessed, all know it at once."""
LAST = 4
"""So few tasks at the end of a run keep the whole of it waiting: they are asked about eagerly, where that
costs no submit."""
LONGEST_LOOK = 5.0
"""Seconds: the price of a call moves without telling."""


class Sleeper:
    """One submitted task between its polls."""

    def __init__(self, asking: Asking, submitted_at: float) -> None:
        self._asking = asking
        self.submitted_at = submitted_at
        self.asked = 0.0
        self.polls = 0
        self.awake = asyncio.Event()
        self.awake.set()
        self.until = math.inf

    async def due(self, latest: float) -> None:
        """Sleeps until it is time to ask, at `latest` (Unix s) at the latest."""
        self.until = latest
        self.awake.clear()
        self._asking.look()
        await self.awake.wait()

    def pending(self, age: float) -> None:
        """It was asked for at this age (seconds since its submission), and not done."""
        self.asked = age
        self.polls += 1


class Asking:
    """All sleepers of one model. `price` is what a call is worth now, in seconds of waiting (0: free);
    `ending` whether none will come after them, and calls are known not to count."""

    def __init__(
        self,
        polling: Polling,
        *,
        price: Callable[[], float],
        ending: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self.polling = polling
        self._price = price
        self._ending = ending
        self._now = now
        self._sleepers: dict[Sleeper, None] = {}
        self._changed = asyncio.Event()

    @contextmanager
    def sleeper(self, submitted_at: float) -> Iterator[Sleeper]:
        """A place among the sleepers, from submission (or resume) to completion."""
        sleeper = Sleeper(self, submitted_at)
        self._sleepers[sleeper] = None
        try:
            yield sleeper
        finally:
            del self._sleepers[sleeper]
            self.look()

    @property
    def submitted_at(self) -> Iterator[float]:
        """When those who are asked about were submitted (Unix s), about in that order."""
        return (sleeper.submitted_at for sleeper in self._sleepers)

    def learned(self, seconds: float) -> None:
        """A job took so long, as the provider's own times say."""
        self.polling.learned(seconds)
        self.look()

    def look(self) -> None:
        """Something changed: the next look at the sleepers comes soon."""
        self._changed.set()

    async def run(self) -> None:
        """The poller; runs until it is cancelled."""
        while True:
            self._changed = asyncio.Event()
            wait = self._wake_the_due()
            with anyio.move_on_after(wait):
                await self._changed.wait()
                await anyio.sleep(LOOK_AGAIN)

    def _wake_the_due(self) -> float:
        """Wakes whoever may ask now; seconds until the next one may."""
        now = self._now()
        price = self._price()
        eager = len(self._sleepers) <= LAST and self._ending()
        nearest = LONGEST_LOOK
        for sleeper, rank in self._asleep():
            at = sleeper.until
            if rank == 0 and self.polling.guessing and sleeper.polls < len(FIRST_LOOKS):
                at = min(at, sleeper.submitted_at + FIRST_LOOKS[sleeper.polls])
            if self.polling.may_ask(rank, now - sleeper.submitted_at):
                due = self.polling.next_poll(sleeper.asked, sleeper.polls, price, eager=eager)
                at = min(at, sleeper.submitted_at + due)
            if at <= now:
                sleeper.awake.set()
            else:
                nearest = min(nearest, at - now)
        return nearest

    def _asleep(self) -> Iterator[tuple[Sleeper, int]]:
        """The sleepers with their rank, the model's oldest task first. Whoever is asking keeps its rank: the
        scouts of a cold start stay the same ones."""
        if self.polling.known:
            return ((sleeper, 0) for sleeper in self._sleepers if not sleeper.awake.is_set())
        ranked = enumerate(sorted(self._sleepers, key=lambda sleeper: sleeper.submitted_at))
        return ((sleeper, rank) for rank, sleeper in ranked if not sleeper.awake.is_set())
