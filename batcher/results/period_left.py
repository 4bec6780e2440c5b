"""What is left of the account's budgets of a day and a month, for a plan that is only looked at.

Rule: looking writes nothing. Without a key the account is not known: then this job alone is counted, and that
is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.api.account import Account
from batcher.engine.admission.period_budget import Period, goes_on
from batcher.job.manifest import Limits
from batcher.ledger import database, spending
from batcher.ledger.account_file import JOB_NOTE, AccountFile, Amounts, Others
from batcher.ledger.spending import day_of, month_of, next_month_of
from batcher.ledger.totals import credits
from batcher.storage.user_state import account_path


@dataclass(frozen=True, slots=True)
class PeriodLeft:
    """One budget, in credits: its `limit`, what is `committed` (spent, reserved or unsure), what is `left`.
    `shared`: of all jobs of the account; else the account is not known, and this job alone is counted."""

    period: Period
    limit: float
    committed: float
    shared: bool
    goes_on: str

    @property
    def left(self) -> float:
        """Credits, never below zero."""
        return round(max(0.0, self.limit - self.committed), 6)

    def as_json(self) -> Mapping[str, Any]:
        """Its part of `plan --json`."""
        return {"limit": self.limit, "committed": self.committed, "left": self.left, "shared": self.shared}

    @property
    def sentence(self) -> str:
        """For people."""
        when = "today" if self.period == "day" else "this month"
        whose = "all jobs of this account on this machine" if self.shared else "this job alone"
        text = f"{self.left:g} of {self.limit:g} credits are left {when} (UTC), for {whose}"
        return f"{text}; it goes on {self.goes_on}" if not self.left else text


def left_of(limits: Limits, ledger: Path, account: Account | None, now: float) -> tuple[PeriodLeft, ...]:
    """What is left of each budget that a job has whose ledger is at `ledger`, by the clock `now` (Unix s).
    Raises LedgerError, DiskError."""
    per = limits.max_cost_per
    if per.day is None and per.month is None:
        return ()
    today = day_of(now)
    month = month_of(today)
    own = spending.of_ledger(ledger, month) if ledger.exists() else {}
    others = None if account is None else _others(account, ledger, today, month)
    of_others = others or Others()

    def left(period: Period, limit: float, days: range, beside: int) -> PeriodLeft:
        committed = sum(sum(own.get(day, Amounts())) for day in days) + beside
        return PeriodLeft(period, limit, credits(committed), others is not None, goes_on(period, now))

    found = []
    if per.day is not None:
        found.append(left("day", per.day, range(today, today + 1), of_others.day))
    if per.month is not None:
        found.append(left("month", per.month, range(month, next_month_of(today)), of_others.month))
    return tuple(found)


def _others(account: Account, ledger: Path, today: int, month: int) -> Others | None:
    """What the account's other jobs have committed; None where their file cannot be read."""
    path = account_path(account.name)
    if not path.exists():
        return Others()
    job = database.read_meta(ledger, JOB_NOTE) or ""
    try:
        with closing(AccountFile(path)) as file:
            return file.others(job, today=today, month=month, at=0.0)
    except errors.AccountFileError:
        return None
