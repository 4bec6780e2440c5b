"""The account's rate limit: fixed windows as the provider counts, or a token bucket.

Rule: a limiter only says yes, or until when it will say no; a refused call costs nothing.
"""

from __future__ import annotations

import math
import random
from typing import Protocol

from batcher.sandbox.server_options import Options


class Limit(Protocol):
    """What lets calls pass, or says when they will."""

    def admit(self, now: float) -> float | None:
        """Count a call at wall time `now`; None: it passes, else the wall time at which calls pass again."""


def limit(options: Options) -> Limit | None:
    """The limiter that the options ask for; None: unlimited."""
    if options.rpm is None:
        return None
    if options.bucket:
        burst = options.burst if options.burst is not None else options.rpm / 6
        return TokenBucket(options.rpm, max(1.0, burst))
    phase = options.phase
    if phase is None:
        phase = random.Random(f"{options.seed}/phase").uniform(0, options.window)
    return FixedWindows(options.rpm, options.window, phase)


class FixedWindows:
    """At most `rpm` x `window` / 60 calls between two ticks of a clock whose phase nobody publishes."""

    def __init__(self, rpm: float, window: float, phase: float) -> None:
        self._allowed = max(1, math.floor(rpm * window / 60 + 1e-9))
        self._window = window
        self._phase = phase
        self._present = -math.inf
        self._count = 0

    def admit(self, now: float) -> float | None:
        present = math.floor((now - self._phase) / self._window)
        if present != self._present:
            self._present, self._count = present, 0
        if self._count >= self._allowed:
            return (present + 1) * self._window + self._phase
        self._count += 1
        return None


class TokenBucket:
    """Holds `burst` calls when full and is refilled at `rpm`."""

    def __init__(self, rpm: float, burst: float) -> None:
        self._per_second = rpm / 60
        self._burst = burst
        self._level = burst
        self._at: float | None = None

    def admit(self, now: float) -> float | None:
        if self._at is not None:
            gained = max(0.0, now - self._at) * self._per_second
            self._level = min(self._burst, self._level + gained)
        self._at = now
        if self._level < 1 - 1e-9:
            return now + (1 - self._level) / self._per_second
        self._level -= 1
        return None
