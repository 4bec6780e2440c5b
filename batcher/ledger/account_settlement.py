"""What a run has left that is not heard of any more: its output folder knows what it spent.

Rule: a ledger is read, and nothing is asked of its run. Where it cannot be read, nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from batcher import errors
from batcher.ledger import database, spending
from batcher.ledger.account_file import JOB_NOTE, Amounts
from batcher.storage import layout, lock


class JobSpending(NamedTuple):
    """What a job has spent and reserved by day; `is_over`: no run of it goes on."""

    days: Mapping[int, Amounts]
    is_over: bool


def job_spending(job: str, folder: Path, since: int) -> JobSpending | None:
    """What the job of this id, which was last run in `folder`, has of each day from `since` on; None: nobody
    knows, as where another job's ledger lies there now. A run that goes on may be one that cannot use the
    account's file: what it spends counts all the same."""
    path = layout.ledger_path(folder)
    if not layout.has_ledger(folder) or job_in(folder) != job:
        return None
    try:
        over = lock.holder(layout.lock_path(folder)) is None
        return JobSpending(spending.of_ledger(path, since), over)
    except errors.BatcherError:
        return None


def job_in(folder: Path | None) -> str | None:
    """The id that the ledger of an output folder notes; None where there is none, or it cannot be read."""
    if folder is None:
        return None
    try:
        return database.read_meta(layout.ledger_path(folder), JOB_NOTE)
    except errors.BatcherError:
        return None
