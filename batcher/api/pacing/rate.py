"""From resets and counts to a rate: what the account really allows, told or not.

Promise 3: the limit is kept, and used up. The rate never passes what was told, only a stamped 429 lowers it,
and only calls that passed raise it again.

The idea: between two resets, both met by a 429, exactly as many calls passed as the server allows in that
time, whether it counts in fixed windows, in a sliding one, or lets a bucket drip. Two resets tell the rate.
The first reset alone does not: the window before it may have begun before us, or another run used it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from batcher.api.pacing.outliers import Outliers
from batcher.api.pacing.probe import Probe

MINUTE = 60.0

MARGIN = (0.005, 0.015)
"""Share kept below a rate that a 429 taught: what one call makes of the span, within these. Jitter of arrival
must not fill a window by one."""
USED_UP = 0.8
"""Share of the rate that must have been sent for what passed to be what could pass."""
WHOLE, ONE_WINDOW = MINUTE - 2, MINUTE + 2
"""Limits are told by the minute: seconds of a span that holds a whole window; and no second, idle one."""
UNSURE = 1.5
"""Over a rate read from a first, partial window: the next 429 tells what is too high, not what is too low.
So the guess is not below half of what was told either."""
ENOUGH_CALLS, ENOUGH_SECONDS = 8, 5.0
"""What shorter spans are joined to: stamps may be cut to the second."""
AGREED = 0.1
"""Share by which two estimates may differ and still confirm each other."""
UNEXPLAINED = 0.99
"""What is left of the rate after a 429 that the count does not explain."""
LONGEST_SPAN = 60 * MINUTE
"""A reset further away than this is a clock's error, not a window's end."""


def per_minute(per_second: float) -> float | None:
    """As people say it; None where there is no limit."""
    return None if math.isinf(per_second) else per_second * MINUTE


class Rate:
    """Calls per second that may go out; times are seconds of one monotonic clock.

    `configured` is what the user said (math.inf: no limit). `per_second` is the present rate, at most
    `configured`. `learned` is an earlier run's rate.
    """

    def __init__(self, configured: float, *, learned: float | None = None) -> None:
        self.configured = configured
        self.per_second = configured if learned is None else min(configured, learned)
        self._probe = Probe(sure=learned is not None)
        self._outliers = Outliers(self.per_second)
        self._estimate = math.inf
        self._spans: deque[_Span] = deque(maxlen=64)
        self._mark: float | None = None
        self._marked_by_reset = False
        self._calls = 0
        self._use = _Use()

    def configure(self, configured: float) -> None:
        """The user says another rate; what was learned below it stays."""
        if not self.learned or configured < self.per_second:
            self.per_second = configured
            self._probe = Probe(sure=False)
            self._outliers = Outliers(configured)
        self.configured = configured
        self._use = _Use()

    @property
    def learned(self) -> bool:
        """Whether 429s taught a rate below what was told."""
        return self.per_second < self.configured

    @property
    def proved(self) -> float:
        """The highest rate known to pass: the present one, or while it is being tried, the one below it."""
        return self.per_second if self._probe.base is None else self._probe.base

    def sent(self, at: float) -> None:
        """A call that counts goes out; now and then a higher rate begins with it."""
        if self._mark is None:
            self._mark = at
        self._calls += 1
        self._use.add(at)
        self._outliers.quiet(self.proved, at - self._mark)
        if self.learned:
            self._climb(at)

    def sent_by_others(self, at: float, calls: int) -> None:
        """So many calls of other runs on this account went out since the last one that was heard of."""
        if calls:
            if self._mark is None:
                self._mark = at
            self._calls += calls
            self._use.add(at, calls)

    def refused_by_others(self, calls: int) -> None:
        """So many of them got a 429."""
        self._calls = max(0, self._calls - calls)

    def refused(self, sent_at: float | None) -> None:
        """It got a 429, so it did not count; `sent_at` None means: since the last reset."""
        if self._mark is not None and (sent_at is None or sent_at >= self._mark):
            self._calls = max(0, self._calls - 1)

    def reset(self, at: float) -> None:
        """Calls pass again from `at`, as a 429 said that was sent since the last reset."""
        seconds = at - (at if self._mark is None else self._mark)
        if self._calls > 0 and 0 < seconds <= LONGEST_SPAN:
            self._learn(_Span(seconds, self._calls))
        self._mark, self._marked_by_reset, self._calls = at, True, 0
        self._use = _Use()

    def _learn(self, span: _Span) -> None:
        used_up = self._use.is_up(self.per_second)
        whole = used_up and span.seconds >= WHOLE
        if self._outliers.suspected:
            if not self._outliers.agree(span.rate):
                return
            self._probe.sure = span.calls >= ENOUGH_CALLS
            self._lower(span.rate)
        elif not used_up and span.seconds > ONE_WINDOW:
            self._lower(math.inf)
        elif not self._marked_by_reset:
            self._lower(span.rate if whole else self._first_guess(span))
            self._probe.sure = self._probe.sure or whole
        elif self._probe.base is not None and self._probe.sure:
            self.per_second = self._probe.failed(self.per_second)
        elif self._outliers.refute(self._judged(span, whole), self.proved):
            self._probe.settled(self.proved, self._outliers.held)
            self.per_second = self._outliers.held
        else:
            self._lower(self._estimate)
            return
        self._spans.clear()
        self._estimate = math.inf

    def _first_guess(self, span: _Span) -> float:
        """From a first, partial window, of which another run may have had its part."""
        half = 0.0 if math.isinf(self.configured) else self.configured / 2
        return max(UNSURE * span.calls / span.seconds, half)

    def _judged(self, span: _Span, whole: bool) -> float:
        """The new estimate. Sure is a whole minute, or what two estimates agree on: stamps may be coarse, and
        a small bucket runs over while we wait."""
        self._spans.append(span)
        joined = _joined(self._spans)
        before, self._estimate = self._estimate, joined.rate
        agreed = math.isfinite(before) and abs(self._estimate - before) <= AGREED * before
        self._probe.sure = whole or (agreed and joined.calls >= ENOUGH_CALLS)
        self._probe.window = max(joined.seconds, ENOUGH_SECONDS)
        return self._estimate

    def _lower(self, estimate: float) -> None:
        """A 429 never raises the rate; one that the estimate does not explain lowers it a little."""
        proved, before = self.proved, self.per_second
        self.per_second = estimate if estimate < before else UNEXPLAINED * before
        self._probe.settled(proved, self.per_second)

    def _climb(self, at: float) -> None:
        if not self._probe.is_due(self.per_second, self._use.calls, self._use.seconds):
            return
        if self._use.is_up(self.per_second):
            self.per_second = min(self.configured, self._probe.next(self.per_second))
        self._use = _Use()
        self._use.add(at)

    def __repr__(self) -> str:
        configured = "unlimited" if math.isinf(self.configured) else f"{self.configured * MINUTE:.4g}"
        trying = f", above {self.proved * MINUTE:.4g} on trial" if self.proved < self.per_second else ""
        return f"<Rate {self.per_second * MINUTE:.4g} of {configured} a minute{trying}>"


@dataclass(frozen=True, slots=True)
class _Span:
    """What passed between two resets."""

    seconds: float
    calls: int

    @property
    def rate(self) -> float:
        """Calls per second, kept just under what passed."""
        least, most = MARGIN
        return (1 - min(most, max(least, 1 / self.calls))) * self.calls / self.seconds


def _joined(spans: deque[_Span]) -> _Span:
    """The latest spans, as many as it takes; a long one before them tells of another time."""
    calls, seconds = 0, 0.0
    for span in reversed(spans):
        if calls and span.seconds > ONE_WINDOW:
            break
        calls, seconds = calls + span.calls, seconds + span.seconds
        if calls >= ENOUGH_CALLS and seconds >= ENOUGH_SECONDS:
            break
    return _Span(seconds, calls)


class _Use:
    """How much of one rate was used: calls, over the seconds from the first to the last."""

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self._first: float | None = None

    def add(self, at: float, calls: int = 1) -> None:
        if self._first is None:
            self._first = at
        self.calls += calls
        self.seconds = at - self._first

    def is_up(self, rate: float) -> bool:
        return self.calls >= USED_UP * rate * self.seconds
