"""How many tasks may be in flight, so that each result can be fetched before its record ends.

Rule: no submit is made whose result could not be fetched in time. Until completions prove a rate, few;
then as many as the proven rate finishes within the record's life, with margin. Where status and result calls
count against the limit, no more than the present rate can ask for and fetch, each before its own record ends.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable

SECONDS_PER_TASK = 20.0
"""Before anything is proven, so much of the life is set aside for each task in flight."""
FEWEST = 4
MARGIN = 0.5
"""Only this share of the life is planned with."""
QUEUED = 0.05
"""Waiting in the provider's queue for more than this share of the life shows that it is the bottleneck;
slow service alone must not throttle itself."""
AT_ONCE, ROOMY = 0.05, 3
"""A job that waited for less than this share of its time shows that there is room for more than one more."""
REMEMBERED = 32
CALLS_OWED = 3
"""What a task in flight may still need: two statuses and the result."""


class InFlightLimit:
    """The cap on tasks in flight. `life` is result_ttl in seconds, `most` what else bounds it."""

    def __init__(self, life: float, most: int) -> None:
        self.most = most
        self._life = life
        self._unproven = self._proven = max(FEWEST, int(life / SECONDS_PER_TASK))
        self._finished: deque[float] = deque(maxlen=REMEMBERED)
        self._queued: deque[float] = deque(maxlen=REMEMBERED)
        self._worked: deque[float] = deque(maxlen=REMEMBERED)

    def configure(self, most: int) -> None:
        """Another bound beside what is proven."""
        self.most = most

    @property
    def size(self) -> int:
        """So many may be in flight now."""
        return max(1, min(self.most, self._proven))

    @property
    def is_limiting(self) -> bool:
        """Whether the expiry guard, and not in_flight, is what submits wait for."""
        return self._proven < self.most

    @property
    def service(self) -> float:
        """Seconds that a job is at work, its queue not counted: the median of late; 0.0 before any ended."""
        return statistics.median(self._worked) if self._worked else 0.0

    def fits_before_expiry(
        self, submitted_at: Iterable[float], leaving: int, *, rate: float, now: float
    ) -> bool:
        """Whether all in flight can still be fetched, one after the other, if another submit leaves now.

        `submitted_at` (by the clock of `now`) is of those that are asked about, oldest first; `leaving`
        counts the submits whose answers are awaited; `rate` is calls per second. With nothing in flight there
        is always time.
        """
        calls = 0
        for at in submitted_at:
            calls += CALLS_OWED
            if calls > MARGIN * rate * (at + self._life - now):
                return False
        calls += CALLS_OWED * leaving
        return calls == 0 or calls + CALLS_OWED <= MARGIN * rate * self._life

    def completed(self, finished_at: float, queue_time: float | None, total_time: float) -> None:
        """A job finished at `finished_at` (s, the provider's clock as we know it) after `total_time` seconds,
        `queue_time` of them in the queue (None: not told)."""
        at_once = queue_time is not None and queue_time <= AT_ONCE * total_time
        self._unproven += ROOMY if at_once else 1
        self._finished.append(finished_at)
        self._worked.append(max(0.0, total_time - (queue_time or 0.0)))
        self._queued.append(max(0.0, total_time - self._life / 4) if queue_time is None else queue_time)
        self._proven = self._prove()

    def _prove(self) -> int:
        if len(self._finished) < FEWEST:
            return self._unproven
        if sorted(self._queued)[len(self._queued) // 2] <= QUEUED * self._life:
            return self._unproven
        spread = max(self._finished) - min(self._finished)
        rate = (len(self._finished) - 1) / spread if spread > 0 else float(self.most)
        return max(FEWEST, min(self._unproven, int(MARGIN * self._life * rate)))
