"""What is left of the account's budgets of a day and a month, for whoever only looks: a plan, `status`,
`jobs`, the live page.

Rule: looking writes nothing. Where the account is not known, this job alone is counted, and that is said.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcher import errors
from batcher.ledger import controls, database, spending
from batcher.ledger.account_file import JOB_NOTE, Amounts
from batcher.ledger.account_settlement import job_spending
from batcher.ledger.account_view import AccountView, OtherSpending
from batcher.ledger.spending import Period, day_of, goes_on, month_of, next_month_of
from batcher.ledger.totals import credits
from batcher.storage.user_state import account_paths

if TYPE_CHECKING:
    from batcher.job.manifest import Limits


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


def left_of(
    limits: Mapping[Period, float | None], ledger: Path, account: Path | None, now: float
) -> tuple[PeriodLeft, ...]:
    """What is left of each budget (credits; None: none) that a job has whose ledger is at `ledger`, by the
    clock `now` (Unix s); `account`: the file of its account, which may not be there yet.
    Raises LedgerError, DiskError."""
    if not any(limit is not None for limit in limits.values()):
        return ()
    today = day_of(now)
    month = month_of(today)
    own = spending.of_ledger(ledger, month) if ledger.exists() else {}
    others = None if account is None else _others(account, ledger, today, month)
    of_others = others or OtherSpending()
    found = []
    spans: Mapping[Period, tuple[range, int]] = {
        "day": (range(today, today + 1), of_others.day),
        "month": (range(month, next_month_of(today)), of_others.month),
    }
    for period, (days, beside) in spans.items():
        if (limit := limits.get(period)) is not None:
            committed = credits(sum(sum(own.get(day, Amounts())) for day in days) + beside)
            found.append(PeriodLeft(period, limit, committed, others is not None, goes_on(period, now)))
    return tuple(found)


def of_job(
    connection: sqlite3.Connection, ledger: Path, limits: Limits | None, now: float
) -> tuple[PeriodLeft, ...]:
    """The same of a job by its ledger, which is open, and what its manifest says (None: it cannot be read);
    whatever account it ran for last is the one that is meant."""
    if limits is None:
        return ()
    held = controls.still_held(limits, controls.limits(connection))

    def limit(period: Period) -> float | None:
        key = f"max_cost_per.{period}"
        value = held[key].value if key in held else controls.limit_value(limits, key)
        return None if value is None else float(value)

    bounds: dict[Period, float | None] = {"day": limit("day"), "month": limit("month")}
    return left_of(bounds, ledger, _account_of(database.meta(connection, JOB_NOTE)), now)


def _account_of(job: str | None) -> Path | None:
    """The file of the account that a job was last run for; None: there is none, or none can be read."""
    if job is None:
        return None
    seen: list[tuple[float, Path]] = []
    for path in account_paths():
        try:
            with closing(AccountView(path, job)) as look:
                if (at := look.seen_at()) is not None:
                    seen.append((at, path))
        except errors.AccountFileError:
            continue
    return max(seen)[1] if seen else None


def _others(path: Path, ledger: Path, today: int, month: int) -> OtherSpending | None:
    """What the account's other jobs have committed; None where their file cannot be read."""
    if not path.exists():
        return OtherSpending()
    job = database.read_meta(ledger, JOB_NOTE) or ""
    try:
        with closing(AccountView(path, job)) as look:
            others = look.others(today=today, month=month, at=0.0)
            silent = look.silent(today=today, month=month, at=time.monotonic())
    except errors.AccountFileError:
        return None
    for one, folder, day, whole in silent:
        # What a killed run had set aside and never sent is as free as the next run will find it.
        spent = job_spending(one, folder, month)
        if spent is not None and spent.is_over:
            mine = sum(spent.days.get(today, Amounts()))
            all_of_it = sum(map(sum, spent.days.values()))
            others = others._replace(day=others.day - day + mine, month=others.month - whole + all_of_it)
    return others
