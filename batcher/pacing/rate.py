"""From resets and counts to a rate: what the account really allows, told or not.

Law 3: the limit is kept, and used up. The rate never passes what was told, only a stamped 429 lowers it, and
only calls that passed raise it again.

The idea: between two resets, both met by a 429, exactly as many calls passed as the server allows in that
time, whether it counts in fixed windows, in a sliding one, or lets a bucket drip. So two resets tell the rate.
The first reset alone does not: the window before it may have begun before us, or another run used it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class _Span:
    """What passed between two resets."""

    seconds: float
    calls: int

    def under(self, rate: type[Rate] | Rate) -> float:
        """Calls per second, just under what passed: by one call, within the margins."""
        margin = min(rate.MARGIN, max(rate.LEAST_MARGIN, 1 / self.calls))
        return (1 - margin) * self.calls / self.seconds


class Rate:
    """Calls per second that may go out; times are seconds of one monotonic clock.

    `told` is what the user said (math.inf: no limit). `per_second` is the present rate, at most `told`.
    """

    MARGIN = 0.015
    """Kept below a rate that a 429 taught: one call of 60, so that jitter does not fill a window by one."""
    LEAST_MARGIN = 0.005
    """The same for windows of many calls, where one call is less than the jitter of arrivals."""
    STEP = 0.02
    """The first probe upwards; it grows fourfold with each that passed, to LONGEST_STEP."""
    LONGEST_STEP = 0.5
    CLEAN = 2 * MINUTE
    """A probed rate has passed when it was used up so long without a 429: a whole window lies within."""
    PATIENCE = 200
    """Calls between a probe that failed and the next: one 429 in 200 at most. It doubles each time."""
    MOST_PATIENCE = 1600
    LONGEST_WAIT = 30 * MINUTE
    """A slow account is probed after this time, however few its calls."""
    UNSURE = 1.5
    """Over a rate read from a first, partial window: the next 429 tells what is too high, not what is low."""
    WHOLE = MINUTE - 2
    """Seconds of a span that surely holds a whole window: limits are told by the minute."""
    AGREED = 0.1
    """Share by which two estimates may differ and still confirm each other."""
    BOLD = 0.25
    """The step upwards while the estimate is not confirmed, every second or few calls."""
    LONG_ENOUGH = 5.0
    ENOUGH = 8
    """Calls that make a span between resets trustworthy alone."""
    LONGEST_SPAN = 60 * MINUTE
    """A reset further away than this is a clock's error, not a window."""

    def __init__(self, told: float, *, learned: float | None = None) -> None:
        self.told = told
        self.per_second = min(told, learned) if learned is not None else told
        self._mark = -math.inf
        self._marked = False
        self._calls = 0
        self._spans: deque[_Span] = deque(maxlen=64)
        self._estimate = math.inf
        self._proved = self.per_second
        self._step = self.STEP
        self._patience = self.PATIENCE
        self._sure = learned is not None
        self._clean = self.CLEAN
        self._set_at = -math.inf
        self._calls_at_rate = 0

    @property
    def learned(self) -> bool:
        """Whether 429s taught a rate below what was told."""
        return self.per_second < self.told

    @property
    def proved(self) -> float:
        """The highest rate known to pass: the present one, or the one below it while it is being probed."""
        return min(self._proved, self.per_second)

    def sent(self, at: float) -> None:
        """A call that counts goes out; now and then a higher rate is tried with it."""
        if math.isinf(self._mark):
            self._mark = self._set_at = at
        self._calls += 1
        self._calls_at_rate += 1
        if self.learned:
            self._probe(at)

    def refused(self, sent_at: float | None) -> None:
        """It got a 429, so it did not count; `sent_at` None means: since the last reset."""
        if sent_at is None or sent_at >= self._mark:
            self._calls = max(0, self._calls - 1)

    def reset(self, at: float) -> None:
        """Calls pass again from `at`, after a stamped 429 that was sent since the last reset."""
        span = _Span(at - self._mark, self._calls)
        if span.calls > 0 and 0 < span.seconds <= self.LONGEST_SPAN:
            self._learn(span)
        self._mark, self._marked, self._calls = at, True, 0
        self._set_at, self._calls_at_rate = at, 0

    def _learn(self, span: _Span) -> None:
        probing = self.per_second > self._proved
        if not self._marked:
            self._learn_first(span)
        elif probing:
            self._step_back(span)
        else:
            self._learn_exactly(span)

    def _learn_first(self, span: _Span) -> None:
        """The span began with us, not with a reset: exact only where it holds a whole minute."""
        whole = span.seconds >= self.WHOLE
        self._settle(span.under(self) if whole else self.UNSURE * span.calls / span.seconds)
        self._sure = self._sure or whole

    def _learn_exactly(self, span: _Span) -> None:
        self._judge(span)
        self._settle(self._estimate)

    def _judge(self, span: _Span) -> None:
        """Sure is what spans a whole minute, or what two estimates agree on: stamps may be coarse, and a small
        bucket runs over while we wait."""
        self._spans.append(span)
        calls, seconds = 0, 0.0
        for past in reversed(self._spans):
            calls, seconds = calls + past.calls, seconds + past.seconds
            if calls >= self.ENOUGH and seconds >= self.LONG_ENOUGH:
                break
        before, self._estimate = self._estimate, _Span(seconds, calls).under(self)
        agreed = math.isfinite(before) and abs(self._estimate - before) <= self.AGREED * before
        self._sure = span.seconds >= self.WHOLE or (agreed and calls >= self.ENOUGH)
        self._clean = min(self.CLEAN, 2 * max(seconds, self.LONG_ENOUGH))

    def _settle(self, estimate: float) -> None:
        """A 429 never raises the rate; one that the estimate does not explain lowers it a little."""
        lower = estimate if estimate < self.per_second else 0.99 * self.per_second
        self.per_second = self._proved = lower
        self._step = self.STEP

    def _step_back(self, span: _Span) -> None:
        """The probe failed: back to what passed before."""
        sure = self._sure
        self._judge(span)
        proved = max(self._proved, self._estimate) if sure else self._estimate
        self.per_second = self._proved = min(self.per_second, proved)
        self._step = self.STEP
        if sure:
            self._patience = min(2 * self._patience, self.MOST_PATIENCE)

    def _probe(self, at: float) -> None:
        elapsed = at - self._set_at
        clean = self._clean if self._sure else max(1.0, self.ENOUGH / self.per_second)
        if elapsed < clean:
            return
        if self._calls_at_rate < 0.9 * self.per_second * elapsed:
            self._set_at, self._calls_at_rate = at, 0
            return
        if self.per_second > self._proved:
            self._step = min(4 * self._step, self.LONGEST_STEP)
        elif self._sure and self._calls_at_rate < self._patience and elapsed < self.LONGEST_WAIT:
            return
        self._proved = self.per_second
        step = max(self._step * self.per_second, 1 / MINUTE) if self._sure else self.BOLD * self.per_second
        self.per_second = min(self.told, self.per_second + step)
        self._set_at, self._calls_at_rate = at, 0

    def __repr__(self) -> str:
        told = "unlimited" if math.isinf(self.told) else f"{self.told * MINUTE:.4g}"
        trying = f", trying above {self._proved * MINUTE:.4g}" if self.per_second > self._proved else ""
        return f"<Rate {self.per_second * MINUTE:.4g} of {told} a minute{trying}>"
