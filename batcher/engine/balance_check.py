"""The account's balance before and after a run, against what the run was told of.

Rule: a balance never proves what one job cost (teams share it, top-ups and expiring credits change it); the
request history does. So only what cannot be this run's own is told, and `batcher audit` is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from batcher.ledger.ledger import Ledger
from batcher.ledger.totals import Money, credits, micro
from batcher.progress.summary import credits as spelled

TOLERANCE = 100
"""Micro-credits: balances are told with few digits."""


@dataclass(slots=True)
class BalanceCheck:
    """Compares within one process: a resumed run may find another balance, as every sandbox has its own.

    `price` is that of an image in micro-credits, None where none is known.
    """

    ledger: Ledger
    price: int | None
    opening: int | None = None
    closing: int | None = None
    before: Money | None = None

    def observe(self, which: Literal["opening", "closing"], balance: float) -> None:
        """The account has so many credits now."""
        self.ledger.record_balance(which, balance)
        if which == "closing":
            self.closing = micro(balance)
        else:
            self.opening, self.before = micro(balance), self.ledger.money

    def facts(self) -> dict[str, float] | None:
        """Opening, spent, closing and the difference, in credits; None where a balance is not known."""
        sums = self._sums()
        if sums is None:
            return None
        opening, spent, closing = sums
        return {
            "opening": credits(opening),
            "spent": credits(spent),
            "closing": credits(closing),
            "difference": credits(opening - spent - closing),
        }

    def sentence(self) -> str:
        """What cannot be this run's own, in words; empty where there is nothing, or it is not known."""
        sums = self._sums()
        if sums is None or self.before is None:
            return ""
        opening, spent, closing = sums
        difference = opening - spent - closing
        least, most = self._explained(self.before)
        if least - TOLERANCE <= difference <= most + TOLERANCE:
            return ""
        fell = "fell by" if closing < opening else "rose by"
        changed = spelled(credits(abs(opening - closing)))
        reasons = (
            "another run or a teammate on this account, or credits that expired"
            if difference > 0
            else "a top-up in between, or jobs that were billed before this run began"
        )
        return (
            f"the account's balance {fell} {changed} credits while this run spent {spelled(credits(spent))} "
            f"({reasons}); `batcher audit` compares request by request"
        )

    def _sums(self) -> tuple[int, int, int] | None:
        if self.opening is None or self.closing is None or self.before is None:
            return None
        return self.opening, self.ledger.money.since(self.before).spent, self.closing

    def _explained(self, before: Money) -> tuple[float, float]:
        """The difference that this run accounts for: what it counts as perhaps paid, lost, in flight or paid
        without being told a cost; and what was in flight before it and billed by then."""
        after = self.ledger.money
        each = max(after.per_image(self.price), after.dearest)
        since = after.since(before)
        unsure = max(0, since.doubtful_images) + max(0, since.lost_images) + max(0, since.unpriced_images)
        return -(before.reserved + before.open * each), unsure * each + after.reserved + after.open * each
