"""The account's money, in integer micro-credits.

Rule: a job is reserved when it is accepted and billed when it completes; a failed one gives its reserve back.
"""

from __future__ import annotations

MICRO = 1_000_000


class Balance:
    """Credits: what was there, what is spent, and what is promised to jobs in flight."""

    def __init__(self, credits: float) -> None:
        self.opening = round(credits * MICRO)
        self.spent = 0
        self.reserved = 0
        self.billed = 0
        """Number of jobs that were billed."""

    @property
    def left(self) -> int:
        return self.opening - self.spent

    def reserve(self, cost: int) -> bool:
        """Promise `cost` to a job, if the account still holds it beside all earlier promises."""
        if self.left - self.reserved < cost:
            return False
        self.reserved += cost
        return True

    def bill(self, cost: int) -> None:
        self.reserved -= cost
        self.spent += cost
        self.billed += 1

    def release(self, cost: int) -> None:
        self.reserved -= cost
