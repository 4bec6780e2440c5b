"""What the account's file says, for whoever may only read it: the account's other runs, and what they spent.

Rule: looking writes nothing, and makes no file. What is wrong with it is an AccountFileError.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from batcher import errors
from batcher.api.pacing.shared_slots import SharedState
from batcher.ledger.account_schema import account_errors

ALIVE_SECONDS = 5.0
"""A run that gave no sign of life for so long is counted as running no more."""
UNSETTLED_SECONDS = 10.0
"""So long after its last sign of life, what a run has reserved may come back: somebody reads its ledger."""


class OtherSpending(NamedTuple):
    """What the account's other jobs have committed (spent, reserved or unsure) today and this month, in
    micro-credits, and how much of that runs have `open` which go on, or did a moment ago: some of it may come
    back."""

    day: int = 0
    month: int = 0
    open: int = 0


class RememberedJob(NamedTuple):
    """A job of which the file remembers that it had so many tasks `done` in some folder, on the disk that was
    mounted at `mount` ('': not noted), and when it was seen there last (Unix s)."""

    name: str
    done: int
    seen_at: float
    mount: str


class AccountView:
    """The file, open for reading; `job` is whose others are meant. Raises AccountFileError, as all that
    follows. Times called `at` are seconds of the machine's steady clock."""

    def __init__(self, path: Path, job: str) -> None:
        self._path = path
        self._job = job
        with account_errors(path):
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

    def close(self) -> None:
        """Lets go of it."""
        self._connection.close()

    def running(self, at: float) -> int:
        """How many other runs go on."""
        with account_errors(self._path):
            return read_limit(self._connection, self._job, at)[1].other_runs

    def last_job_in(self, folder: Path) -> RememberedJob | None:
        """The job that was run last in this output folder, and is not forgotten."""
        with account_errors(self._path):
            row = self._connection.execute(REMEMBERED, (str(folder),)).fetchone()
        return None if row is None else RememberedJob(*row)

    def others(self, *, today: int, month: int, at: float) -> OtherSpending:
        """What the other jobs have committed on the day `today`, and since the day `month` began."""
        with account_errors(self._path):
            return other_spending(self._connection, self._job, today, month, at)

    def silent(self, *, today: int, month: int, at: float) -> list[tuple[str, Path, int, int]]:
        """Other jobs whose run gave no sign of life for long: id, folder, and what each has committed today
        and this month by what it said last."""
        values = {
            "at": at,
            "alive": ALIVE_SECONDS,
            "job": self._job,
            "today": today,
            "month": month,
        }
        with account_errors(self._path):
            rows = self._connection.execute(SILENT, values).fetchall()
        return [(str(job), Path(folder), int(day), int(whole)) for job, folder, day, whole in rows]

    def seen_at(self) -> float | None:
        """When a run of the job was heard of last (Unix s); None: it is not known here."""
        with account_errors(self._path):
            row = self._connection.execute("SELECT seen_at FROM jobs WHERE id = ?", (self._job,)).fetchone()
        return None if row is None else float(row[0])


ALIVE = "beat <= :at + 1 AND beat > :at - :alive"
"""Of a job's row: a run of it goes on. A sign of life from ahead is one from before the last boot."""
OTHERS = """
SELECT total(CASE WHEN s.day = ?1 THEN s.spent + s.reserved + s.unsure END),
       total(s.spent + s.reserved + s.unsure),
       total(CASE WHEN j.pid IS NOT NULL AND j.beat <= ?4 + 1 AND j.beat > ?4 - ?5 THEN s.reserved END)
FROM spending s LEFT JOIN jobs j ON j.id = s.job WHERE s.day >= ?2 AND s.job <> ?3
"""
SILENT = f"""
SELECT j.id, j.folder, total(CASE WHEN s.day = :today THEN s.spent + s.reserved + s.unsure END),
       total(s.spent + s.reserved + s.unsure)
FROM jobs j JOIN spending s ON s.job = j.id
WHERE j.pid IS NOT NULL AND NOT ({ALIVE}) AND j.id <> :job AND s.day >= :month GROUP BY j.id
"""
NEVER = -1e18
LIMIT = "SELECT free_at, blocked, reset, written_at, calls, refused, all_metered FROM shared_limit"
# SQLite takes the other columns of a row from where the minimum is.
BESIDE = """
SELECT count(*), min(rpm), name FROM jobs
WHERE pid IS NOT NULL AND beat <= ?1 + 1 AND beat > ?1 - ?2 AND id <> ?3
"""


def read_limit(connection: sqlite3.Connection, job: str, at: float) -> tuple[float, SharedState]:
    """When the next slot is free, and the rest. Times from ahead are of before the machine was booted."""
    free, blocked, reset, written, calls, refused, all_metered = connection.execute(LIMIT).fetchone()
    if written > at + 1:
        free = blocked = reset = NEVER
    other_runs, rpm, slowest = connection.execute(BESIDE, (at, ALIVE_SECONDS, job)).fetchone()
    return free, SharedState(
        other_runs, rpm, slowest or "", calls, refused, blocked, reset, bool(all_metered)
    )


def other_spending(
    connection: sqlite3.Connection, job: str, today: int, month: int, at: float
) -> OtherSpending:
    """What the other jobs than `job` have committed."""
    row = connection.execute(OTHERS, (today, month, job, at, UNSETTLED_SECONDS)).fetchone()
    return OtherSpending(*(int(value) for value in row))


REMEMBERED = """
SELECT name, done, seen_at, mount FROM jobs WHERE folder = ? AND NOT forgotten ORDER BY seen_at DESC
"""


def remembered_in(path: Path, folder: Path) -> RememberedJob | None:
    """As `AccountView.last_job_in`; None, too, where the account's file at `path` is missing or cannot be
    used."""
    if not path.exists():
        return None
    try:
        with closing(AccountView(path, "")) as view:
            return view.last_job_in(folder)
    except errors.AccountFileError:
        return None
