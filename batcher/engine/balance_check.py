"""The account's balance before and after a run, against what the run was told of.

Rule: a balance never proves what one job cost (teams share it, top-ups and expiring credits change it); the
request history does. So only what can be neither this run's own nor that of the account's other jobs on this
machine is told, and `batcher audit` is named. What those spent is known by the account's file alone; where it
cannot be had, nothing is taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from batcher.ledger.account_file import Amounts
from batcher.ledger.ledger import Ledger
from batcher.ledger.totals import Money, credits, micro
from batcher.progress.summary import credits as spelled

TOLERANCE = 100
"""Micro-credits: balances are told with few digits."""


ByJob = Mapping[str, Amounts]


class OthersSpan(NamedTuple):
    """What the account's other jobs were billed between two looks, in micro-credits: at least and at most."""

    least: int = 0
    spent: int = 0
    most: int = 0


def others_between(before: ByJob | None, after: ByJob | None) -> OthersSpan | None:
    """What other jobs were billed between two looks at the account's file; None: it cannot be known.

    What was reserved or unsure before may have been billed by then, and what is so now may be billed already.
    A job that the file did not know before may bring what it had spent long ago."""
    if before is None or after is None or not before.keys() <= after.keys():
        return None
    least = spent = most = 0
    for job, now in after.items():
        then = before.get(job)
        if then is not None:
            least += now.spent - then.spent - then.reserved - max(0, then.unsure - now.unsure)
        then = then or Amounts()
        spent += now.spent - then.spent
        most += now.spent - then.spent + now.reserved + max(0, now.unsure - then.unsure)
    return OthersSpan(least, spent, most)


@dataclass(slots=True)
class BalanceCheck:
    """Compares within one process: a resumed run may find another balance, as every sandbox has its own.

    `price` is that of an image in micro-credits, None where none is known; `others` looks at what the
    account's other jobs have, None where that cannot be known.
    """

    ledger: Ledger
    price: int | None
    others: Callable[[], ByJob | None] = lambda: None
    opening: int | None = None
    closing: int | None = None
    before: Money | None = None
    others_before: ByJob | None = None
    others_after: ByJob | None = None

    def observe(self, which: Literal["opening", "closing"], balance: float) -> None:
        """The account has so many credits now."""
        self.ledger.record_balance(which, balance)
        if which == "closing":
            self.closing, self.others_after = micro(balance), self.others()
        else:
            self.opening, self.before = micro(balance), self.ledger.money
            self.others_before = self.others()

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
        beside = others_between(self.others_before, self.others_after) or OthersSpan()
        if least + beside.least - TOLERANCE <= difference <= most + beside.most + TOLERANCE:
            return ""
        told = spelled(credits(spent))
        if beside.spent:
            told += f", and the other jobs of this machine {spelled(credits(beside.spent))}"
        fell = "fell by" if closing < opening else "rose by"
        changed = spelled(credits(abs(opening - closing)))
        reasons = (
            "another run or a teammate on this account, or credits that expired"
            if difference > beside.spent
            else "a top-up in between, or jobs that were billed before this run began"
        )
        return (
            f"the account's balance {fell} {changed} credits while this run spent {told} "
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
