"""429s that no limit explains: lessons that refute each other are forgotten.

Promise 3: the limit is used up. A limit that was read rightly is not met again far below it. Where three
lessons in a row, each far under the one before, say otherwise, the 429s come at every rate (by chance, or
from some other limit of the provider): they still pause the calls, but they teach no rate until they agree.
So where lessons sink step by step: a limit is met again at itself, chance at whatever is left.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise

from batcher.api.pacing.probe import CLEAN

FAR = 0.8
"""A lesson below this share of the rate that it corrects is far under it."""
TOO_MANY = 3
SINKING, SUNK, LATELY = 5, 3.0, 10
"""So many new lowest lessons among the last ten, to a third of the first of them, are no limit either..."""
LOWER = 0.97
"""...each of them below the last by more than a search settles by."""
WITNESSES = 4
"""So many resets in a row must tell of one rate..."""
ALIKE = 0.1
"""...to this share, before 429s teach again."""


class Outliers:
    """Whether 429s are to be believed. `held` is the rate that was good before them, in calls per second."""

    def __init__(self, held: float) -> None:
        self.held = held
        self.suspected = False
        self._lessons = 0
        self._lesson = math.inf
        self._rates: deque[float] = deque(maxlen=WITNESSES)
        self._lows: deque[float] = deque(maxlen=LATELY)

    def refute(self, rate: float, before: float) -> bool:
        """A 429 tells of `rate` where `before` was known to pass; whether this refutes the lessons. One that
        tells of what the last one told is met in the search for a limit, and refutes nothing."""
        far = rate < min(FAR * before, (1 - ALIKE) * self._lesson)
        self._lessons = self._lessons + 1 if far else 0
        self._lesson = rate
        self._lows.append(min(rate, self._lows[-1] if self._lows else math.inf))
        self.suspected = self._lessons >= TOO_MANY or self._sinks()
        self._rates.clear()
        return self.suspected

    def agree(self, rate: float) -> bool:
        """Another reset tells of `rate`; whether the last few tell of the same, so that it is a limit."""
        self._rates.append(rate)
        agreed = len(self._rates) == WITNESSES and max(self._rates) <= (1 + ALIKE) * min(self._rates)
        if agreed:
            self._forget()
        return agreed

    def quiet(self, rate: float, seconds: float) -> None:
        """No 429 for so long at `rate`."""
        if seconds >= CLEAN:
            self.held = rate
            self._forget()

    def _sinks(self) -> bool:
        """Whether the lowest lesson so far has fallen again and again."""
        falls = sum(low < LOWER * before for before, low in pairwise(self._lows))
        return falls >= SINKING and self._lows[-1] * SUNK < self._lows[0]

    def _forget(self) -> None:
        self.suspected, self._lessons, self._lesson = False, 0, math.inf
        self._lows.clear()
