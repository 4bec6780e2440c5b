"""The pause after a 429: until when calls wait, and what is known of the resets.

Rule: no call goes out before the reset that a stamp names, and none waits longer than the user's patience for
it. Pure: times are seconds of one monotonic clock, and come from outside.
"""

from __future__ import annotations

import math

UNSTAMPED = (2.0, 60.0)
"""First and longest pause (s) after a 429 that does not say when calls pass again; it doubles until one
passes."""
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
    """`until` when calls wait (-inf: they do not), and since when they passed again; at most `patience`
    seconds at a time."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.until = self.resumed_at = -math.inf
        self.resets = 0
        self._coming: float | None = None
        self._known = self._heard = self._patient_until = -math.inf
        self._disagreed = 0
        self._said_now = 0
        self._unstamped = 0
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
        """A call passed: the clocks agree, and nothing refuses without a stamp any more."""
        self._disagreed = self._said_now = self._unstamped = 0

    def unstamped(self, at: float, sent_at: float | None) -> float:
        """A 429 at `at` does not say when calls pass again; seconds to wait, where that is news. One pause is
        shared by all that were under way: whatever was sent before it ended tells nothing new."""
        if self.left(at) or (sent_at is not None and sent_at < self.resumed_at):
            return 0.0
        first, longest = UNSTAMPED
        wait = min(longest, first * 2**self._unstamped)
        self._unstamped = min(self._unstamped + 1, 16)
        return self._extend(at + wait, at)

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
            return self._extend(reset + self._behind + AFTER_RESET, at)
        wait = min(LONGEST_NOW, AFTER_RESET * 2**self._said_now)
        if not self.left(at):
            self._said_now = min(self._said_now + 1, 16)
        return self._extend(at + wait, at)

    @property
    def coming(self) -> float | None:
        """The reset that it waits for, where that is known, and one of calls that count."""
        return self._coming

    def hear(self, reset: float, until: float, at: float) -> bool:
        """Another run of the account paused until then, for this reset (below 0: it has no stamp); whether
        that is news. Our patience with theirs begins when one is heard of, and not anew while they go on."""
        if reset > max(0.0, self._known + SAME_STAMP):
            self.resets += 1
            self._coming = self._known = reset
        if until <= max(at, self._heard) + SAME_STAMP:
            return False
        if self._heard <= at:
            self._patient_until = at + self._patience
        self._heard, until = until, min(until, self._patient_until)
        if until <= max(at, self.until) + SAME_STAMP:
            return False
        self.until = until
        return True

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
        return self._extend(max(reset + self._behind + AFTER_RESET, at + wait), at)

    def _extend(self, until: float, at: float) -> float:
        until = min(until, at + self._patience)
        before = max(at, self.until)
        if until <= before:
            return 0.0
        self.until = until
        return until - at if until - before >= 1.0 else 0.0
