"""The common pause after a 429: until when all calls wait, and what is known of the resets.

Law: no call goes out before the reset that a stamp names, and none waits longer than LONGEST_PAUSE for it:
then one tries. Pure: times are seconds of one monotonic clock, and come from outside.
"""

from __future__ import annotations

import math

LONGEST_PAUSE = 120.0
"""Seconds; whatever a stamp says, after that long one call tries."""
AFTER_RESET = 0.05
"""Seconds between a reset and the first call, which must not arrive before it."""
LONGEST_NOW = 4.0
"""Seconds: where stamps say that calls pass again now and yet none does, waits double from AFTER_RESET."""
DISAGREED = (0.5, 30.0)
"""First and longest pause (s) when a stamp is past by our clock and yet nothing passes; it doubles."""
MOST_BEHIND = 2.5
"""Seconds by which the server's clock may be behind ours without a Date header showing it. A 429 shows it:
its stamp is past before its call went out."""
SAME_STAMP = 0.02
"""Seconds by which one reset may seem to differ when read from two answers."""


class Pause:
    """`until` when calls wait (-inf: they do not), and since when they passed again."""

    def __init__(self) -> None:
        self.until = self.resumed_at = -math.inf
        self.resets = 0
        self._coming: float | None = None
        self._known = -math.inf
        self._disagreed = 0
        self._said_now = 0
        self._behind = 0.0

    def left(self, at: float) -> float:
        """Seconds for which calls wait from `at` on."""
        return max(0.0, self.until - at)

    def has_ended(self, at: float) -> bool:
        """Whether there was one, and `end` is due."""
        return math.isfinite(self.until) and self.until <= at

    def end(self) -> float | None:
        """It is over; the reset that it waited for, where that is one of calls that count."""
        self.resumed_at, self.until = self.until, -math.inf
        reset, self._coming = self._coming, None
        return reset

    def agreed(self) -> None:
        """A call that counts passed: the clocks agree."""
        self._disagreed = self._said_now = 0

    def stamped(self, reset: float, at: float, sent_at: float | None, *, counts: bool) -> float:
        """A 429 at `at` says that calls pass again from `reset` on; seconds to wait, where that is news.

        `sent_at` is when its call went out; `counts` whether it is one of those that are metered.
        """
        if sent_at is not None:
            self._behind = min(max(self._behind, sent_at - reset), MOST_BEHIND)
        if self.left(at) and self._coming is not None:
            self._coming = self._known = max(reset, self._coming)
        elif self._is_new(reset, sent_at):
            self.resets += 1
            self._known = reset
            self._coming = reset if counts else None
        elif sent_at is None or sent_at >= self.resumed_at:
            return self._disagree(reset, at)
        if reset + self._behind > at:
            return self._longer(reset + self._behind + AFTER_RESET, at)
        wait = min(LONGEST_NOW, AFTER_RESET * 2**self._said_now)
        if not self.left(at):
            self._said_now = min(self._said_now + 1, 16)
        return self._longer(at + wait, at)

    def _is_new(self, reset: float, sent_at: float | None) -> bool:
        """Whether it tells of a reset that we did not know when the call went out."""
        if sent_at is None:
            return reset > self._known + 1.0
        return reset > self._known + SAME_STAMP and sent_at >= self.resumed_at

    def _disagree(self, reset: float, at: float) -> float:
        """Sent after the reset by our clock, before it by theirs; or the reset is further than a pause."""
        if self.left(at):
            return 0.0
        first, longest = DISAGREED
        wait = min(longest, first * 2**self._disagreed)
        self._disagreed = min(self._disagreed + 1, 16)
        return self._longer(max(reset + self._behind + AFTER_RESET, at + wait), at)

    def _longer(self, until: float, at: float) -> float:
        until = min(until, at + LONGEST_PAUSE)
        before = max(at, self.until)
        if until <= before:
            return 0.0
        self.until = until
        return until - at if until - before >= 1.0 else 0.0
