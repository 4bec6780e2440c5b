"""Trying a higher rate, gently: a limit that rises again is found, and hardly a 429 is spent on it.

Promise 3: the limit is used up. A probe that fails costs one 429 and, in fixed windows and buckets alike, no
throughput, since what the server allows has passed by then.
"""

from __future__ import annotations

CLEAN = 120.0
"""Seconds without a 429 after which a rate has proved itself where windows last a minute: a whole one lies
within them, wherever it begins. Where resets come faster, two of the spans that taught the rate."""
STEP, LONGEST_STEP = 0.02, 0.5
"""The first step upwards, as a share; it grows fourfold with each that proved itself, and shrinks so."""
LEAST_STEP = 1 / 60
"""A step is at least one call a minute, in calls per second: less could not be seen."""
BOLD = 0.25
"""The step while the rate is not sure, about every second."""
BOLD_CALLS = 8
"""Calls that must have passed before each bold step."""
PATIENCE = (200, 1600)
"""Calls before a sure rate is tried again: at first, and at most; doubled by each trial in vain."""
LONGEST_WAIT = 1800.0
"""Seconds after which a slow account is tried again, however few its calls."""
GAIN = 1.05
"""A trial that brought less than this share was in vain; a rate lowered by more is a new one."""


class Probe:
    """When and how far the rate goes up. Rates are calls per second.

    `sure`: whether the rate is known well; `window`: seconds of the span that taught it; `base`: the rate
    that proved itself, while one above it is on trial, else None.
    """

    def __init__(self, *, sure: bool) -> None:
        self.sure = sure
        self.window = CLEAN
        self.base: float | None = None
        self._began_at: float | None = None
        self._step = STEP
        self._patience = PATIENCE[0]

    def is_due(self, rate: float, calls: int, seconds: float) -> bool:
        """Whether `calls` over `seconds` at this `rate` suffice to go on."""
        if not self.sure:
            return seconds >= max(1.0, BOLD_CALLS / rate)
        if seconds < min(CLEAN, 2 * self.window):
            return False
        return self._began_at is not None or calls >= self._patience or seconds >= LONGEST_WAIT

    def next(self, rate: float) -> float:
        """This `rate` has proved itself; the one to try now."""
        if not self.sure:
            self.base = rate
            return rate * (1 + BOLD)
        if self.base is not None:
            self._step = min(4 * self._step, LONGEST_STEP)
        if self._began_at is None:
            self._began_at = rate
        self.base = rate
        return rate + max(self._step * rate, LEAST_STEP)

    def failed(self, rate: float) -> float:
        """A 429 while a sure rate's trial went on: back to what proved itself, and soon a smaller step."""
        proved = rate if self.base is None else self.base
        if self._step > STEP:
            self._step = max(STEP, self._step / 4)
            self.base = None
        else:
            self.settled(rate, proved)
        return proved

    def settled(self, proved: float, rate: float) -> None:
        """429s taught: not `proved`, but `rate`. The trial is over, if there was one."""
        gained = self._began_at is None or rate > GAIN * self._began_at
        if self._began_at is not None:
            self._patience = PATIENCE[0] if gained else min(2 * self._patience, PATIENCE[1])
        elif proved > GAIN * rate:
            self._patience = PATIENCE[0]
        self.base = self._began_at = None
        self._step = STEP
