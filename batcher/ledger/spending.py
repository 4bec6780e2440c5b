"""What a job's requests cost by the UTC day on which they were submitted: the account's budgets of a day and
a month are counted by it.

Rule: a request belongs to the day of its POST for good, whenever its bill comes.
"""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from batcher.ledger import database, totals
from batcher.ledger.account_file import Amounts
from batcher.ledger.totals import PERHAPS_PAID, Money

Period = Literal["day", "month"]
DAY = 86_400
BUSY_SECONDS = 0.2

BY_DAY = """
SELECT CAST(submitted_at AS INTEGER) / 86400 AS day, outcome, count(*), total(images), total(cost),
       total(reserved), total(CASE WHEN cost IS NULL THEN images ELSE 0 END)
FROM submissions WHERE submitted_at >= ? GROUP BY day, outcome
"""


def day_of(at: float) -> int:
    """The UTC day of a moment (Unix s), as days since 1970-01-01."""
    return int(at // DAY)


def month_of(day: int) -> int:
    """The first day of the month of a day."""
    return day - datetime.fromtimestamp(day * DAY, UTC).day + 1


def next_month_of(day: int) -> int:
    """The first day of the month after that."""
    return month_of(month_of(day) + 31)


def goes_on(period: Period, now: float) -> str:
    """When the next day or month begins: `at 00:00 UTC, in 7 h`."""
    today = day_of(now)
    begins = (today + 1 if period == "day" else next_month_of(today)) * DAY
    form = "%H:%M UTC" if period == "day" else "%Y-%m-%d %H:%M UTC"
    minutes = math.ceil((begins - now) / 60)
    if minutes < 90:
        within = f"{minutes} min"
    elif minutes < 48 * 60:
        within = f"{round(minutes / 60)} h"
    else:
        within = f"{round(minutes / 60 / 24)} days"
    return f"at {datetime.fromtimestamp(begins, UTC).strftime(form)}, in {within}"


def by_day(connection: sqlite3.Connection, since: int) -> dict[int, Money]:
    """The money of each day from the day `since` on, of a ledger that is open."""
    days: dict[int, Money] = defaultdict(Money)
    for day, outcome, number, images, cost, reserved, unpriced in connection.execute(BY_DAY, (since * DAY,)):
        sums = {"spent": int(cost)}
        if outcome == "open":
            sums |= {"open": int(number), "reserved": int(reserved)}
        elif outcome in PERHAPS_PAID:
            sums["doubtful_images"] = int(images)
        elif outcome == "lost":
            sums["lost_images"] = int(images)
        elif outcome == "completed":
            sums["unpriced_images"] = int(unpriced)
        before = days[day]
        days[day] = Money(**{name: getattr(before, name) + sums.get(name, 0) for name in Money.__slots__})
    return dict(days)


def committed(money: Money, dearest: int) -> Amounts:
    """What a day's money is counted as, where an image costs up to `dearest` micro-credits."""
    unsure = (money.unpriced_images + money.doubtful_images + money.lost_images) * dearest
    return Amounts(money.spent, money.reserved, unsure)


def of_ledger(path: Path, since: int) -> Mapping[int, Amounts]:
    """The same of a ledger that no run holds, by its own dearest price. Raises LedgerError, DiskError."""
    with (
        database.disk_errors(path),
        closing(database.open_for_reading(path, busy_seconds=BUSY_SECONDS)) as connection,
    ):
        dearest = max(totals.price(connection) or 0, totals.money(connection).dearest)
        return {day: committed(money, dearest) for day, money in by_day(connection, since).items()}


class DailyMoney:
    """The money of each day of an open ledger, kept right as its submissions move."""

    def __init__(self, connection: sqlite3.Connection, since: int) -> None:
        self._connection = connection
        self.since = since
        self.days: dict[int, Money] = {}
        self.recount()

    def recount(self) -> None:
        """Counts it from the rows."""
        self.days = by_day(self._connection, self.since)

    def opened(self, submitted_at: float, reserved: int) -> None:
        """A POST leaves."""
        day = day_of(submitted_at)
        self.days[day] = self.days.get(day, Money()).with_opened(reserved)

    def moved(
        self, submitted_at: float, before: str, after: str, images: int, reserved: int, cost: int | None
    ) -> None:
        """A submission went from one outcome to another; those of before `since` are not looked at."""
        day = day_of(submitted_at)
        if day >= self.since:
            money = self.days.get(day, Money())
            self.days[day] = money.with_outcome(before, after, images, reserved, cost)
