"""What the server allows, and the strict ideal that follows from it.

Rule: pure. The i-th job that is accepted takes the i-th length, whoever submits it, so that every contender
meets the same jobs; no client, however clever, can be done before the ideal.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Terms:
    """How the mock serves. Times in seconds.

    `service` is a job's mean length (0: none), lognormal with `sigma`; `workers` 0: as many as wanted;
    `rate` calls a second (None: no limit), counted in fixed windows of `window` seconds, or in a bucket of
    `burst` calls where that is set; `metered` says which calls count; a record lives `ttl` seconds.
    `travel` is a round trip, which no answer is sooner than.
    `picture` is a file to serve (None: a picture of 100 KB that costs little to decode).
    """

    service: float = 0.0
    sigma: float = 0.0
    workers: int = 0
    rate: float | None = None
    window: float = 3.0
    burst: float | None = None
    metered: Literal["submits", "all"] = "submits"
    ttl: float = 3600.0
    seed: int = 1
    picture: str | None = None
    travel: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Windows:
    """So many calls in each stretch of a clock; the first stretch begins with the first call."""

    def __init__(self, rate: float, window: float) -> None:
        self._allowed = max(1, math.floor(rate * window + 1e-9))
        self._window = window
        self._origin: float | None = None
        self._present = -1
        self._count = 0

    def admit(self, at: float) -> float | None:
        """None: the call passes; else the time at which calls pass again."""
        if self._origin is None:
            self._origin = at
        present = math.floor((at - self._origin) / self._window + 1e-9)
        if present != self._present:
            self._present, self._count = present, 0
        if self._count >= self._allowed:
            return self._origin + (present + 1) * self._window
        self._count += 1
        return None


class Bucket:
    """Holds `burst` calls when full and drips `rate` a second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._level = burst
        self._at: float | None = None

    def admit(self, at: float) -> float | None:
        """None: the call passes; else the time at which calls pass again."""
        if self._at is not None:
            self._level = min(self._burst, self._level + (at - self._at) * self._rate)
        self._at = at
        if self._level < 1 - 1e-9:
            return at + (1 - self._level) / self._rate
        self._level -= 1
        return None


def limiter(terms: Terms) -> Windows | Bucket | None:
    """The limiter that the terms ask for; None: unlimited."""
    if terms.rate is None:
        return None
    if terms.burst is not None:
        return Bucket(terms.rate, terms.burst)
    return Windows(terms.rate, terms.window)


def lengths(terms: Terms) -> Iterator[float]:
    """The jobs' lengths (s), in the order of their acceptance, without end."""
    dice = random.Random(terms.seed)
    middle = math.log(terms.service) - terms.sigma**2 / 2 if terms.service else 0.0
    while True:
        yield dice.lognormvariate(middle, terms.sigma) if terms.service else 0.0


class Queue:
    """First come, first served, by so many workers (0: one for each job)."""

    def __init__(self, terms: Terms) -> None:
        self._free = [0.0] * terms.workers
        self._lengths = lengths(terms)

    def take(self, at: float) -> tuple[float, float]:
        """When a job that is submitted at `at` starts, and when it is done."""
        length = next(self._lengths)
        if not self._free:
            return at, at + length
        start = max(at, heapq.heappop(self._free))
        heapq.heappush(self._free, start + length)
        return start, start + length


def submit_ideal(terms: Terms, tasks: int, in_flight: int = 0) -> float:
    """Seconds from the first submit to the last job's end, if every submit left as early as it may.

    `in_flight` 0: no bound; else a submit waits until one of so many places is free.
    """
    gate, queue = limiter(terms), Queue(terms)
    at, last = 0.0, 0.0
    places: list[float] = [0.0] * in_flight
    for _ in range(tasks):
        if places:
            at = max(at, heapq.heappop(places))
        while gate is not None and (again := gate.admit(at)) is not None:
            at = again
        done = queue.take(at)[1]
        if places:
            heapq.heappush(places, done)
        last = max(last, done)
    return last


def even_pace(terms: Terms, tasks: int) -> float:
    """The same where submits leave one by one at the rate: the best that a client can have that knows the
    rate, and neither when a window begins nor how many calls a bucket holds."""
    assert terms.rate is not None
    return max(n / terms.rate + length for n, length in enumerate(islice(lengths(terms), tasks)))


def call_ideal(terms: Terms, tasks: int, calls: int = 3) -> float:
    """Seconds for so many tasks of `calls` calls each where every call counts and none is in vain."""
    gate = limiter(terms)
    at = 0.0
    for _ in range(tasks * calls):
        while gate is not None and (again := gate.admit(at)) is not None:
            at = again
    return max(at, *islice(lengths(terms), tasks))
