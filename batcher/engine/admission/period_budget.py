"""The budgets of a day and of a month, which all jobs of an account on this machine share.

Rule: what is spent, reserved, doubtful or lost of one UTC day never exceeds its budget, whatever runs beside:
each reservation is in the account's file before its POST leaves. A request belongs to the day of its POST.
Where the file cannot be had, this job keeps to the budget by itself, with what it last heard of the others;
but while others go on that it cannot hear, it sets nothing more aside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from batcher import errors
from batcher.ledger import spending
from batcher.ledger.account_file import Amounts
from batcher.ledger.account_view import OtherSpending
from batcher.ledger.ledger import Ledger
from batcher.ledger.spending import Period, day_of, goes_on, month_of, next_month_of
from batcher.ledger.totals import Money, credits, micro
from batcher.progress import summary

Own = Callable[[OtherSpending | None], Mapping[int, Amounts]]

OTHERS_SECONDS = 300.0
"""So long without any change, what other runs have reserved is not waited for any more, nor are those that
cannot be heard."""


class SharedSpending(Protocol):
    """The account's other jobs, as far as they can be heard of."""

    @property
    def is_shared(self) -> bool:
        """Whether they can."""

    @property
    def unheard(self) -> str:
        """Why some that go on, as far as is known, cannot be heard; empty: there are none."""

    async def exchange(self, today: int, month: int, own: Own, since: int | None = None) -> None:
        """`own` hears what they have committed (None: they cannot be heard) and says what this job has, by
        day (every day from `since` on, where that is given); both at one moment, which no other run can
        share."""


class PeriodLimits(NamedTuple):
    """Micro-credits of a day and of a month (UTC); None: no bound."""

    day: int | None = None
    month: int | None = None

    @classmethod
    def of_credits(cls, day: float | None, month: float | None) -> PeriodLimits:
        """From a manifest's numbers."""
        return cls(*(None if value is None else micro(value) for value in (day, month)))


class PeriodBudget:
    """What may still be spent today and this month. `price` (of an image) in micro-credits or None; `now`
    gives Unix seconds, `clock` seconds of a steady clock."""

    def __init__(
        self,
        ledger: Ledger,
        account: SharedSpending,
        *,
        limits: PeriodLimits,
        price: int | None,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._account = account
        self._limits = limits
        self._price = price
        self._now = now
        self._clock = clock
        self._taken: dict[int, tuple[int, int]] = {}
        self._others, self._heard_on, self._changed_at = OtherSpending(), 0, clock()
        self._heard_at = clock()

    def configure(self, period: Period, limit: int | None) -> None:
        """Another budget holds from now on, in micro-credits."""
        self._limits = self._limits._replace(**{period: limit})

    @property
    def is_bounded(self) -> bool:
        """Whether there is any such budget."""
        return self._limits != PeriodLimits()

    @property
    def waits_for_others(self) -> bool:
        """Whether runs beside have reserved some, which may come back, or cannot be heard for a while."""
        if self.is_deaf:
            return self._clock() - self._heard_at < OTHERS_SECONDS
        return self._others.open > 0 and self._clock() - self._changed_at < OTHERS_SECONDS

    @property
    def is_deaf(self) -> bool:
        """Whether others may take the same room unheard: nothing is set aside meanwhile."""
        return self.is_bounded and bool(self._account.unheard)

    def left(self) -> float:
        """Micro-credits that nobody has spent or reserved, as far as was heard; inf: no bound."""
        if not self.is_bounded:
            return math.inf
        if self.is_deaf:
            return 0.0
        return min(left for _, left in self._lefts(day_of(self._now())))

    async def reserve(self, task: int, amount: int) -> bool:
        """Sets so much aside for a task, where there is room. It must go into the ledger with `dropped`."""
        if not (self.is_bounded or self._account.is_shared):
            return True
        today = day_of(self._now())
        self._count()
        fits = False

        def own(others: OtherSpending | None) -> Mapping[int, Amounts]:
            nonlocal fits
            self._hear(others, today)
            self._taken.pop(task, None)
            fits = not self.is_deaf and all(has_room(left, amount) for _, left in self._lefts(today))
            if fits:
                self._taken[task] = (today, amount)
            return {today: self._own(today)}

        try:
            await self._account.exchange(today, month_of(today), own)
        except BaseException:
            self._taken.pop(task, None)
            raise
        return fits

    def is_current(self, task: int) -> bool:
        """Whether what is set aside for it is still of today, or there is no need."""
        taken = self._taken.get(task)
        return taken is None or not self.is_bounded or taken[0] == day_of(self._now())

    def kept(self, task: int, amount: int) -> None:
        """What was set aside under another budget is so under this one, from today's; the next exchange tells
        it."""
        self._taken[task] = (day_of(self._now()), amount)

    def dropped(self, task: int) -> None:
        """The ledger has it now, or it was not submitted after all."""
        self._taken.pop(task, None)

    async def refresh(self) -> None:
        """Tells the others what this job has, and hears what they have."""
        if not (self.is_bounded or self._account.is_shared):
            return
        today = day_of(self._now())
        self._count()

        def own(others: OtherSpending | None) -> Mapping[int, Amounts]:
            self._hear(others, today)
            days = {today, *self._days, *(day for day, _ in self._taken.values())}
            return {day: self._own(day) for day in sorted(days)}

        month = month_of(today)
        await self._account.exchange(today, month, own, month)

    def refusal(self, amount: int) -> errors.PeriodSpent:
        """Why there is no room for so much, and when there is again."""
        if why := self.is_deaf and self._account.unheard:
            return errors.PeriodSpent(
                "other jobs of this account run beside this one, and what they spend cannot be known here "
                f"({why}): max_cost_per could not be kept, so nothing more is submitted",
                remedy="see that this file can be written, or wait until the other jobs have ended",
            )
        now = self._now()
        today = day_of(now)
        short = [period for period, left in self._lefts(today) if not has_room(left, amount)]
        period: Period = short[0] if short else "day"
        limit = getattr(self._limits, period) or 0
        own = self._own_of(period, today)
        used = sum(own) + getattr(self._others, period)
        whose = "all jobs of this account on this machine" if self._account.is_shared else "this job"
        mine = f" ({summary.credits(credits(sum(own)))} by this one)" if self._account.is_shared else ""
        span = "today" if period == "day" else "this month"
        spent = f"{summary.credits(credits(used))} are spent or reserved {span}{mine}"
        when = goes_on(period, now)
        return errors.PeriodSpent(
            f"max_cost_per.{period} allows {credits(limit)} credits a {period} to {whose}: {spent}, and "
            f"{next_cost(amount)}; it goes on {when}",
            remedy=f"wait until {when.removeprefix('at ')}, or raise limits.max_cost_per.{period}",
        )

    @property
    def narrowest(self) -> Period:
        """Which of the two has less left."""
        lefts = dict(self._lefts(day_of(self._now())))
        return min(lefts, key=lambda period: lefts[period], default="day")

    def _lefts(self, today: int) -> list[tuple[Period, float]]:
        same_month = self._heard_on >= month_of(today)
        lefts: list[tuple[Period, float]] = []
        if self._limits.month is not None:
            others = self._others.month if same_month else 0
            lefts.append(("month", self._limits.month - sum(self._own_of("month", today)) - others))
        if self._limits.day is not None:
            others = self._others.day if self._heard_on == today else 0
            lefts.append(("day", self._limits.day - sum(self._own_of("day", today)) - others))
        return lefts

    def _hear(self, others: OtherSpending | None, today: int) -> None:
        if others is None:
            return
        self._heard_at = self._clock()
        if others != self._others or self._heard_on != today:
            self._changed_at = self._clock()
        self._others, self._heard_on = others, today

    def _count(self) -> None:
        """The money of this job by day is counted once, and not while others wait for the account's file."""
        self._ledger.count_days(month_of(day_of(self._now())))

    @property
    def _days(self) -> Mapping[int, Money]:
        return self._ledger.count_days(month_of(day_of(self._now()))).days

    def _own_of(self, period: Period, today: int) -> Amounts:
        if period == "day":
            return self._own(today)
        days = {today, *self._days, *(day for day, _ in self._taken.values())}
        amounts = [self._own(day) for day in days if month_of(today) <= day < next_month_of(today)]
        return Amounts(*(sum(values) for values in zip(*amounts, strict=True)))

    def _own(self, day: int) -> Amounts:
        """What this job has committed on a day, what is set aside and not in the ledger yet included."""
        dearest = max(self._price or 0, self._ledger.money.dearest)
        amounts = spending.committed(self._days.get(day, Money()), dearest)
        taken = sum(amount for at, amount in self._taken.values() if at == day)
        return amounts._replace(reserved=amounts.reserved + taken)


def has_room(left: float, amount: int) -> bool:
    """Whether so much fits. What has no known price (0) may cost anything: not where nothing is left."""
    return amount <= left and left > 0


def next_cost(amount: int) -> str:
    """What the next request may cost, as the end of a sentence."""
    return (
        f"the next request may cost {credits(amount)}"
        if amount
        else "what the next request costs is not known"
    )
