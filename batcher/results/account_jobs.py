"""The jobs of an account that have run on this machine, as its file and their ledgers tell.

Rule: what a job's ledger says goes before what the file remembers of it. A job whose folder is gone, or holds
another ledger, is told from memory, and marked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.ledger import database, last_run, totals
from batcher.ledger.account_file import JOB_NOTE, AccountFile, JobRow
from batcher.ledger.spending import day_of, month_of
from batcher.ledger.totals import credits
from batcher.results import run_control
from batcher.results.period_left import PeriodLeft
from batcher.results.report.status import job_state, stamp
from batcher.storage import layout, lock
from batcher.task import State


@dataclass(frozen=True, slots=True)
class AccountJob:
    """One job. Credits; `account` is the name of its account; `state` is that of `status`, or `gone`;
    `running`: a run of it goes on, be it paused; `exit_code` and `causes` tell how its last run ended, at
    `ended_at` (Unix s); None: it did not say. `budgets`: what is left of its max_cost_per."""

    account: str
    id: str
    job: str
    output: Path
    manifest: str
    state: str
    running: bool
    total: int
    done: int
    exit_code: int | None
    causes: tuple[str, ...]
    ended_at: float | None
    seen_at: float
    spent: float
    today: float
    month: float
    budgets: tuple[PeriodLeft, ...] = ()

    @property
    def gone(self) -> bool:
        """Whether its output folder, or its ledger there, is no more."""
        return self.state == "gone"

    def as_json(self) -> dict[str, Any]:
        """Its object in `jobs --json`."""
        return {
            "account": self.account,
            "job": self.job,
            "output": str(self.output),
            "manifest": self.manifest,
            "state": self.state,
            "running": self.running,
            "gone": self.gone,
            "total": self.total,
            "done": self.done,
            "exit_code": self.exit_code,
            "causes": list(self.causes),
            "ended_at": None if self.ended_at is None else stamp(self.ended_at),
            "seen_at": stamp(self.seen_at),
            "cost": {"spent": self.spent, "today": self.today, "month": self.month},
        }


@dataclass(frozen=True, slots=True)
class AccountJobs:
    """The jobs of some accounts, the one that ran last at the head, and what all of them spent today and this
    month (UTC), in credits, those that were forgotten included."""

    jobs: tuple[AccountJob, ...]
    today: float
    month: float

    def as_json(self) -> dict[str, Any]:
        """The object of `jobs --json`."""
        return {
            "jobs": [job.as_json() for job in self.jobs],
            "cost": {"today": self.today, "month": self.month},
        }

    def named(self, text: str) -> Sequence[AccountJob]:
        """The jobs that a person may mean by `text`: an output folder, a manifest, or a name."""
        path = os.path.abspath(text)
        exact = [job for job in self.jobs if path in (str(job.output), job.manifest)]
        return exact or [job for job in self.jobs if job.job == text]


def of_accounts(paths: Iterable[Path], now: float) -> AccountJobs:
    """The jobs in these files of accounts, of which some may not be there, by the clock `now` (Unix s). A job
    that ran with several keys (one was wrong, or was replaced) has all that it spent in the file of each: it
    is told once, as that one has it which saw it last. Raises AccountFileError."""
    today = day_of(now)
    month = month_of(today)
    found: dict[tuple[str, Path], tuple[str, JobRow]] = {}
    spent = [0, 0]
    for path in paths:
        if not path.exists():
            continue
        with closing(AccountFile(path)) as file:
            rows = file.jobs(today=today, month=month)
            spent = [a + b for a, b in zip(spent, file.spent(today=today, month=month), strict=True)]
        for row in rows:
            _, other = found.get((row.id, row.folder), ("", None))
            if other is not None:
                spent[0] -= min(row.spent_today, other.spent_today)
                spent[1] -= min(row.spent_month, other.spent_month)
            if other is None or row.seen_at >= other.seen_at:
                # In the place of its own account, among that one's jobs.
                found.pop((row.id, row.folder), None)
                found[row.id, row.folder] = (path.stem, row)
    jobs = (_job(account, row, now) for account, row in found.values())
    return AccountJobs(tuple(jobs), *(credits(value) for value in spent))


def forget(path: Path, job: AccountJob) -> None:
    """Lists a job no more; what it spent counts all the same. Raises AccountFileError, and UsageError where
    it is running."""
    if not job.gone and lock.holder(layout.lock_path(job.output)) is not None:
        raise errors.UsageError(f"{job.job} in {job.output} is running; forget it once it has ended")
    with closing(AccountFile(path)) as file:
        file.forget(job.id)


def _job(account: str, row: JobRow, now: float) -> AccountJob:
    remembered = AccountJob(
        account=account,
        id=row.id,
        job=row.name,
        output=row.folder,
        manifest=row.manifest,
        state="gone",
        running=False,
        total=row.total,
        done=row.done,
        exit_code=row.exit_code,
        causes=(row.why,) if row.why else (),
        ended_at=row.ended_at,
        seen_at=row.seen_at,
        spent=credits(row.spent),
        today=credits(row.spent_today),
        month=credits(row.spent_month),
    )
    try:
        return _from_ledger(remembered, now)
    except (errors.LedgerError, errors.DiskError):
        return remembered


def _from_ledger(job: AccountJob, now: float) -> AccountJob:
    if not layout.has_ledger(job.output):
        return job
    path = layout.ledger_path(job.output)
    running = lock.holder(layout.lock_path(job.output)) is not None
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        if database.meta(connection, JOB_NOTE) != job.id:
            return job
        counts = totals.counts(connection)
        state = job_state(connection, counts, running=running)
        has_ended = last_run.has_ended(connection)
        last = last_run.last(connection)
        return replace(
            job,
            job=database.meta(connection, "job") or job.job,
            state=state,
            running=running,
            total=sum(counts.values()),
            done=counts[State.DONE],
            exit_code=last.exit_code if has_ended else None,
            causes=last.causes if has_ended else (),
            spent=credits(totals.money(connection).spent),
            budgets=run_control.budgets(job.output, now),
        )
