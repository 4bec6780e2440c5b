"""Servers that limit, and runs of many calls against them.

The servers are a few lines of arithmetic, so nothing real is waited for: the clock jumps at once.
"""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from batcher.api.pacing import CallKind, Pacing, PacingEvent

T = TypeVar("T")
START = 1000.0
WALL = 1_767_614_400.0
"""What the wall clock shows at loop time 0."""


class SimulatedTime(asyncio.SelectorEventLoop):
    """Jumps to the next timer, and a nanosecond past it, as a real clock would: aiolimiter waits until its
    level is quite low enough, and asyncio runs timers early by up to a clock's resolution."""

    def __init__(self) -> None:
        self.now = START
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.DefaultSelector):
    def __init__(self, loop: SimulatedTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and (timeout > 0 or not self._loop._ready):
            self._loop.now += max(timeout, 0.0) + 1e-9
            timeout = 0
        return super().select(timeout)


def simulate(story: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=SimulatedTime) as runner:
        return runner.run(story)


def wall() -> float:
    return WALL + asyncio.get_running_loop().time()


async def with_gate(gate: Pacing, story: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.TaskGroup() as group:
        dispatcher = group.create_task(gate.run())
        result = await story()
        dispatcher.cancel()
    return result


class Server(Protocol):
    def admit(self, at: float) -> float | None:
        """None when it is accepted, else the time at which calls pass again (seconds since the start)."""


@dataclass
class FixedWindows:
    """`plan`: (from second, calls a minute); windows begin `phase` seconds before the start and so on."""

    plan: list[tuple[float, float]]
    phase: float = 0.0
    used: int = 0
    length: float = 60.0
    _count: int = field(init=False, default=0)
    _present: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._count = self.used

    def admit(self, at: float) -> float | None:
        present = math.floor((at + self.phase) / self.length)
        if present != self._present:
            self._present, self._count = present, 0
        allowed = [rpm for since, rpm in self.plan if since <= at][-1] * self.length / 60
        if self._count + 1 > allowed + 1e-9:
            return (present + 1) * self.length - self.phase
        self._count += 1
        return None


@dataclass
class TokenBucket:
    plan: list[tuple[float, float]]
    capacity: float
    _level: float = field(init=False)
    _at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._level = self.capacity

    def admit(self, at: float) -> float | None:
        rate = [rpm for since, rpm in self.plan if since <= at][-1] / 60
        self._level = min(self.capacity, self._level + (at - self._at) * rate)
        self._at = at
        if self._level < 1 - 1e-9:
            return at + (1 - self._level) / rate
        self._level -= 1
        return None


@dataclass
class Seen:
    """Times in seconds since the start."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    events: list[PacingEvent] = field(default_factory=list)
    gate: Pacing = field(init=False)

    @property
    def makespan(self) -> float:
        return max(self.accepted)

    @property
    def throttled_share(self) -> float:
        return len(self.refused) / len(self.accepted)

    def per_minute(self, since: float, until: float) -> float:
        return sum(since <= at < until for at in self.accepted) / (until - since) * 60

    def ideal(self, per_minute: float) -> float:
        """What a client reaches that knows the rate, granted the calls that passed before the first 429."""
        first = min(self.refused, default=0.0)
        burst = sum(at <= first for at in self.accepted)
        resumed = min((at for at in self.accepted if at > first), default=0.0)
        return resumed + (len(self.accepted) - burst - 1) / per_minute * 60


def busiest_minute(times: list[float]) -> int:
    """The most that any half-open window of 60 s holds."""
    times = sorted(times)
    worst = oldest = 0
    for newest, at in enumerate(times):
        while times[oldest] <= at - 60:
            oldest += 1
        worst = max(worst, newest - oldest + 1)
    return worst


def run_submits(
    server: Server,
    tasks: int,
    *,
    configured: float | None,
    latency: tuple[float, float] = (0.001, 0.005),
    learned: Mapping[str, Any] | None = None,
    clock_ahead: float = 0.0,
    tells_when_sent: bool = True,
) -> Seen:
    """All tasks at once, each until it is accepted; a call travels for half of `latency` each way."""
    chance = random.Random(42)
    seen = Seen()

    async def call(gate: Pacing) -> bool:
        loop = asyncio.get_running_loop()
        sent = await gate.acquire(CallKind.SUBMIT)
        await asyncio.sleep(chance.uniform(*latency) / 2)
        at = loop.time() - START
        reset = server.admit(at)
        (seen.accepted if reset is None else seen.refused).append(at)
        await asyncio.sleep(chance.uniform(*latency) / 2)
        if reset is None:
            gate.accepted(CallKind.SUBMIT)
            return True
        stamp = WALL + START + reset - clock_ahead
        gate.throttled(CallKind.SUBMIT, stamp, wall(), sent if tells_when_sent else None)
        return False

    async def task(gate: Pacing) -> None:
        while not await call(gate):
            pass

    async def story() -> None:
        seen.gate = gate = Pacing(rpm=configured, now=wall, learned=learned, tell=seen.events.append)

        async def everything() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(tasks):
                    group.create_task(task(gate))

        await with_gate(gate, everything)

    simulate(story())
    return seen
