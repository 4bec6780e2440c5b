"""The reserve: before a POST leaves, its price is set aside; what it cost takes the reserve's place.

Law: spent + reserved + doubtful + lost never exceed max_cost, under any concurrency and across resumes.
What is in flight counts as spent, for there is no cancel.
"""

from __future__ import annotations

import asyncio

from batcher import errors
from batcher.ledger.totals import credits
from batcher.ledger.writer import Ledger


class Purse:
    """What may still be spent in this run. `limit` and `price` (of an image) in micro-credits or None."""

    def __init__(self, ledger: Ledger, *, limit: int | None, price: int | None) -> None:
        self._ledger = ledger
        self._limit = limit
        self._price = price
        self._promised: dict[int, int] = {}
        self._changed = asyncio.Event()
        self.waiting = 0
        """Tasks that wait for room in the budget."""

    async def reserve(self, task: int, images: int) -> int:
        """Waits until the budget has room for `images` more; the amount set aside, micro-credits.

        Raises BudgetSpent when there is none and nothing outstanding could make some. What is reserved here
        must go into the ledger with `taken`, or back with `released`.
        """
        while True:
            amount = self._estimate(images)
            if self._limit is None or self._fits(amount):
                self._promised[task] = amount
                return amount
            if not self._outstanding:
                raise errors.BudgetSpent(
                    f"max_cost of {credits(self._limit)} credits leaves no room for another request "
                    f"({credits(self._committed())} are spent or in doubt); raise it to go on"
                )
            self.waiting += 1
            try:
                await self._changed.wait()
            finally:
                self.waiting -= 1

    def taken(self, task: int) -> None:
        """The ledger has the reservation now."""
        self._promised.pop(task, None)

    def released(self, task: int) -> None:
        """The task was not submitted after all."""
        if self._promised.pop(task, None) is not None:
            self.look_again()

    def look_again(self) -> None:
        """Something was settled: whoever waits for room may have it."""
        if self.waiting:
            self._changed.set()
            self._changed = asyncio.Event()

    def _estimate(self, images: int) -> int:
        return max(self._price or 0, self._ledger.money.dearest) * images

    @property
    def _outstanding(self) -> bool:
        return bool(self._promised) or self._ledger.money.open > 0

    def _committed(self) -> int:
        money = self._ledger.money_of_run()
        dearest = max(self._price or 0, money.dearest)
        unsure = (money.unpriced + money.doubtful + money.lost) * dearest
        return money.spent + money.reserved + unsure + sum(self._promised.values())

    def _fits(self, amount: int) -> bool:
        """A price that no bill has confirmed is only a word: one probe goes first."""
        money = self._ledger.money
        if not (money.paid_images or money.unpriced) and self._outstanding:
            return False
        return self._committed() + amount <= (self._limit or 0)
