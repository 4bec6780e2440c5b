"""Calls that count leave one by one at the rate: a token that drips, and no burst after anything."""

from __future__ import annotations

from aiolimiter import AsyncLimiter

from batcher.api.pacing.rate import Rate

CATCH_UP = 0.010
"""Seconds of lateness that are made good; above 6,000 calls a minute also the length of a burst."""
LONGEST_CATCH_UP = 0.050
"""At slower rates more is made good, up to the time of one call: a busy machine wakes us late at times."""
JITTER = 0.002
"""Share left of a rate that was told: calls may travel 0.12 s unevenly, and no minute holds one too many."""


class TokenSpacing:
    """One token after the other."""

    def __init__(self) -> None:
        self._limiter: AsyncLimiter | None = None
        self._pace = 0.0

    def restart(self) -> None:
        """The next token is spaced from the last call anew."""
        self._limiter = None

    @staticmethod
    def terms(rate: Rate) -> tuple[float, float]:
        """Calls per second that leave at `rate`, and how many seconds of lateness are made good."""
        pace = rate.per_second if rate.learned else (1 - JITTER) * rate.per_second
        return pace, min(max(CATCH_UP, 1 / pace), LONGEST_CATCH_UP)

    async def token(self, rate: Rate, at: float, last_sent: float) -> None:
        """Waits for the next token at `rate`, from the loop's time `at` on. A new limiter takes over the
        spacing since `last_sent`: no change of rate, no pause and no idle time is followed by a burst."""
        pace, late = self.terms(rate)
        idle = at - last_sent > 1 / pace + late
        limiter = self._limiter  # it may be restarted while this waits
        if limiter is None or pace != self._pace or idle:
            catch_up = late * pace
            owed = min(1.0, max(0.0, 1 - (at - last_sent) * pace))
            limiter = self._limiter = AsyncLimiter(1 + catch_up, (1 + catch_up) / pace)
            self._pace = pace
            await limiter.acquire(catch_up + owed)
        await limiter.acquire()
