"""The reserve: before a POST leaves, its price is set aside; what it cost takes the reserve's place.

Rule: spent + reserved + doubtful + lost never exceed max_cost, under any concurrency and across resumes, but
by what the provider bills above the dearest price seen for requests that are in flight already. So few are in
flight until bills have confirmed the price, one more with each; a bill of 0, or none, confirms nothing. What
is in flight counts as spent, for there is no cancel.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from batcher import errors
from batcher.api.signal import Signal
from batcher.engine.admission.period_budget import PeriodBudget, has_room, next_cost
from batcher.ledger.ledger import Ledger
from batcher.ledger.spending import Period
from batcher.ledger.totals import credits

PRICE_MARGIN = 5
"""Where even so many times the price would fit for all that is in flight, nobody need wait for bills."""
DEARER = 1.05
"""A bill above the dearest known by more than this says that the price is not known yet."""
UNTOLD = 3
"""Results without a cost after which max_cost cannot be kept, where nobody says a price."""


class Reserve(NamedTuple):
    """What is set aside for a task of so many images, in micro-credits."""

    amount: int
    images: int


class Budget:
    """What may still be spent in this run. `limit` and `price` (of an image) in micro-credits or None;
    `periods`: today and this month, by all jobs of the account."""

    def __init__(
        self, ledger: Ledger, *, limit: int | None, price: int | None, periods: PeriodBudget | None = None
    ) -> None:
        self._ledger = ledger
        self._limit = limit
        self._periods = periods
        self._price = price
        self._reserved: dict[int, Reserve] = {}
        self._known = max(price or 0, ledger.money.dearest)
        self._unconfirmed = 0
        self._changed = Signal()
        self.waiting = 0
        """Tasks that wait for room in the budget."""

    def configure(self, limit: int | None) -> None:
        """Another limit holds from now on, in micro-credits (None: none), for all that was not sent yet."""
        self._limit = limit
        self._reconsider()

    def configure_period(self, period: Period, limit: int | None) -> None:
        """The same of the account's budget of a day or a month."""
        if self._periods is not None:
            self._periods.configure(period, limit)
        self._reconsider()

    def _reconsider(self) -> None:
        """What was set aside under another limit, and was not sent yet, stays so as far as the new one
        reaches, the oldest first. Who lost it learns so from `is_current`."""
        waiting, self._reserved = self._reserved, {}
        if self._periods is not None:
            for task in waiting:
                self._periods.dropped(task)
        for task, reserve in waiting.items():
            if reserve.amount >= self._estimate(reserve.images) and self._fits(reserve.amount):
                self._reserved[task] = reserve
                if self._periods is not None:
                    self._periods.kept(task, reserve.amount)
        self._changed.notify()

    async def reserve(self, task: int, images: int) -> int:
        """Waits until the budget has room for `images` more; the amount set aside, micro-credits.

        Raises BudgetSpent when there is none and nothing outstanding could make some. What is reserved here
        must go into the ledger with `recorded`, or back with `released`.
        """
        while True:
            amount = self._estimate(images)
            self._check_told()
            if self._fits(amount) and await self._set_aside(task, Reserve(amount, images)):
                return amount
            if not self._outstanding:
                raise self._refusal(amount)
            self.waiting += 1
            try:
                await self._changed.wait()
            finally:
                self.waiting -= 1

    async def _set_aside(self, task: int, reserve: Reserve) -> bool:
        """In memory first: while the account's file is asked, nobody else of this run takes the same room."""
        self._reserved[task] = reserve
        if self._periods is None:
            return True
        try:
            taken = await self._periods.reserve(task, reserve.amount)
        except BaseException:
            self.released(task)
            raise
        taken = taken and task in self._reserved  # another limit may hold since the file was asked
        if not taken:
            self.released(task)
        return taken

    def is_current(self, task: int) -> bool:
        """Whether what was reserved still is: no lower limit was set since, and its day is not over."""
        return task in self._reserved and (self._periods is None or self._periods.is_current(task))

    def recorded(self, task: int) -> None:
        """The ledger has the reservation now."""
        self._reserved.pop(task, None)
        if self._periods is not None:
            self._periods.dropped(task)

    def released(self, task: int) -> None:
        """The task was not submitted after all."""
        if self._periods is not None:
            self._periods.dropped(task)
        if self._reserved.pop(task, None) is not None:
            self._changed.notify()

    async def refresh(self) -> None:
        """Hears what the account's other jobs have spent meanwhile."""
        if self._periods is not None:
            await self._periods.refresh()
            if self.waiting:
                self._changed.notify()

    def notify(self) -> None:
        """A request ended: whoever waits for room may have it."""
        self._changed.notify()

    def _check_told(self) -> None:
        """Raises BudgetSpent where results come without a cost and nobody says a price."""
        money = self._ledger.money
        if not self._is_bounded or self._price is not None or money.dearest:
            return
        untold = money.paid_images + money.unpriced_images
        if untold >= UNTOLD and not self._outstanding:
            name = "max_cost_per" if self._limit is None else f"max_cost of {credits(self._limit)} credits"
            raise errors.BudgetSpent(
                f"{name} cannot be kept: {untold} pictures came and the "
                "provider told no cost; say what one costs in the manifest, as in `price: 0.02`"
            )

    def _refusal(self, amount: int) -> errors.BudgetSpent:
        if self._limit is not None and (self._periods is None or not has_room(self._left_of_run(), amount)):
            return errors.BudgetSpent(self._spent_text(self._limit, amount))
        assert self._periods is not None
        return self._periods.refusal(amount)

    def _spent_text(self, limit: int, amount: int) -> str:
        """Why there is no room, in figures that add up; the span is the run's, which resumes continue."""
        spent = self._ledger.money_of_run().spent
        unsure = self._committed() - spent
        perhaps = f" and {credits(unsure)} perhaps spent" if unsure else ""
        return (
            f"max_cost allows {credits(limit)} credits from the run's first start until nothing is left: "
            f"{credits(spent)} are spent{perhaps}, and {next_cost(amount)}"
        )

    def _estimate(self, images: int) -> int:
        return max(self._price or 0, self._ledger.money.dearest) * images

    @property
    def room(self) -> float:
        """So many requests of one image may be out at a time, those that are included; inf: no money bounds
        them."""
        amount, left = self._estimate(1), self._left()
        if math.isinf(left) or (amount <= 0 and left > 0):
            return math.inf
        return len(self._reserved) + self._ledger.money.open + (left // amount if left > 0 else 0)

    @property
    def reason(self) -> str:
        """What whoever waits for room waits for, as a sentence."""
        if self._periods is not None and self._periods.is_deaf:
            return "waiting for the account's file, so that max_cost_per is kept: other jobs run beside"
        return f"waiting for bills: the rest of {self._waits_for} is reserved"

    @property
    def _waits_for(self) -> str:
        """The key of `limits` whose rest is reserved."""
        run, periods = self._left_of_run(), self._periods
        if periods is None or periods.left() >= run:
            return "max_cost"
        return f"max_cost_per.{periods.narrowest}"

    @property
    def _is_bounded(self) -> bool:
        return self._limit is not None or (self._periods is not None and self._periods.is_bounded)

    @property
    def _outstanding(self) -> bool:
        own = bool(self._reserved) or self._ledger.money.open > 0
        return own or (self._periods is not None and self._periods.waits_for_others)

    def _left_of_run(self) -> float:
        return math.inf if self._limit is None else self._limit - self._committed()

    def _left(self) -> float:
        """Micro-credits that are neither spent nor reserved; inf: no money bounds the run."""
        run = self._left_of_run()
        return run if self._periods is None else min(run, self._periods.left())

    def _committed(self) -> int:
        money = self._ledger.money_of_run()
        dearest = max(self._price or 0, money.dearest)
        unsure = (money.unpriced_images + money.doubtful_images + money.lost_images) * dearest
        return (
            money.spent + money.reserved + unsure + sum(reserve.amount for reserve in self._reserved.values())
        )

    def _fits(self, amount: int) -> bool:
        left, others = self._left(), len(self._reserved) + self._ledger.money.open
        if math.isinf(left):
            return True
        if not has_room(left, amount):
            return False
        roomy = amount > 0 and PRICE_MARGIN * amount * (others + 1) <= left
        return others <= self._confirmed() or (roomy and self._confirmed() > 0)

    def _confirmed(self) -> int:
        """Images that were billed since a bill last was a surprise, that one included."""
        money = self._ledger.money
        if money.dearest > DEARER * self._known:
            self._unconfirmed = max(0, money.paid_images - 1)
        self._known = max(self._known, money.dearest)
        return money.paid_images - self._unconfirmed if money.dearest else 0
