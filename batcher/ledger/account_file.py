"""The account's file: one small SQLite database for all runs of an account on this machine.

It knows the account's jobs, who of them is running, and what each spent by UTC day. What a job spent stands
in its ledger; here it is copied, so that the others see it. Whoever submits has its reservation here first.

Rule: the file is a convenience. Whatever is wrong with it is an AccountFileError, which costs a run the
sharing and nothing else. Each change is one short transaction, and what a job says of itself replaces what it
said before, so that a write which is done twice, or lost, does no harm.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from batcher import errors
from batcher.api.pacing.shared_slots import SharedState, Slot, next_slot
from batcher.ledger.account_schema import (
    APPLICATION_ID,
    VERSION,
    account_errors,
    identity,
    make,
    update,
)
from batcher.ledger.account_view import (
    ALIVE,
    ALIVE_SECONDS,
    NEVER,
    OtherSpending,
    other_spending,
    read_limit,
)
from batcher.storage import layout

JOB_NOTE = "account_job"
"""The job's id in the file, among its ledger's notes."""
OPENING_SECONDS = 2.0
BUSY_SECONDS = 0.02
"""A transaction waits so long for another one's end, and the run's loop with it; then it is busy."""
LARGEST_LOG = 16 << 20
"""Bytes of SQLite's log of writes, from which on it is copied into the file beside the loop: a take of a slot
never waits for the disk to sync that..."""
PAGES_UNCOPIED = 16_000
"""...unless nobody does it for so many pages."""


class Amounts(NamedTuple):
    """What a job spent on one day, in micro-credits."""

    spent: int = 0
    reserved: int = 0
    unsure: int = 0


class JobRow(NamedTuple):
    """A job as the file knows it; `spent_today` and `spent_month` are what was billed."""

    id: str
    folder: Path
    name: str
    manifest: str
    pid: int | None
    beat: float
    seen_at: float
    total: int
    done: int
    spent: int
    ended_at: float | None
    exit_code: int | None
    why: str
    spent_today: int
    spent_month: int


class AccountFile:
    """The open file of an account; made, for its user alone, where it is missing. Raises AccountFileError, as
    all that follows. Times called `at` are seconds of the machine's steady clock, which the loop's is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with account_errors(path):
            make(path)
            self._connection = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare()
                self._file = identity(path)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute(f"PRAGMA busy_timeout={round(OPENING_SECONDS * 1000)}")
        # The tables first: another process may make them with their mark right now.
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise errors.AccountFileError(f"{self.path} was written by a newer batcher")
        if (tables or application) and application != APPLICATION_ID:
            raise errors.AccountFileError(f"{self.path} is a database of something else")
        execute("PRAGMA journal_mode=WAL")
        # A commit that a power cut takes back is read again from the job's ledger, which syncs each.
        execute("PRAGMA synchronous=NORMAL")
        execute(f"PRAGMA wal_autocheckpoint={PAGES_UNCOPIED}")
        execute("PRAGMA journal_size_limit=0")  # a log that was copied begins anew, and is small again
        if version < VERSION:
            with self._transaction() as connection:
                update(connection)
        execute(f"PRAGMA busy_timeout={round(BUSY_SECONDS * 1000)}")

    @property
    def is_there(self) -> bool:
        """Whether it still lies at its place, where the others find it."""
        return identity(self.path) == self._file

    @property
    def has_large_log(self) -> bool:
        """Whether it is time for `copy_log`."""
        try:
            return os.stat(f"{self.path}-wal").st_size >= LARGEST_LOG
        except OSError:
            return False

    def close(self) -> None:
        """Lets go of it."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with account_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    # --- a run among the others

    def folder_of(self, job: str) -> Path | None:
        """Where the job of this id was last run; None: it is not known here."""
        with account_errors(self.path):
            row = self._connection.execute("SELECT folder FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else Path(row[0])

    def enter(self, job: str, *, folder: Path, name: str, manifest: str, at: float, now: float) -> None:
        """A run of this job begins, in this process."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO jobs "
                "(id, folder, mount, name, manifest, pid, beat, seen_at, total, done, spent) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0) ON CONFLICT DO UPDATE SET "
                "folder = excluded.folder, mount = excluded.mount, "
                "name = excluded.name, manifest = excluded.manifest, pid = excluded.pid, "
                "beat = excluded.beat, seen_at = excluded.seen_at, "
                "ended_at = NULL, exit_code = NULL, why = '', forgotten = 0",
                (job, str(folder), layout.mount_point(folder), name, manifest, os.getpid(), at, now),
            )

    def beat(
        self, job: str, *, total: int, done: int, spent: int, rpm: float | None, at: float, now: float
    ) -> None:
        """A sign of life, and how far the job is."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET total = ?, done = ?, spent = ?, rpm = ?, beat = ?, seen_at = ? WHERE id = ?",
                (total, done, spent, rpm, at, now, job),
            )

    def leave(
        self,
        job: str,
        *,
        ended_at: float,
        exit_code: int | None,
        why: str,
        days: Mapping[int, Amounts] | None = None,
        since: int = 0,
    ) -> None:
        """The run of this job is over; `exit_code` None: it did not say how. `days` are what its ledger has
        of every day from `since` on (None: it cannot be read, and what was said last stays counted)."""
        with self._transaction() as connection:
            if days is not None:
                _replace(connection, job, days, since)
            connection.execute(
                "UPDATE jobs SET pid = NULL, ended_at = ?, exit_code = ?, why = ?, seen_at = ? WHERE id = ?",
                (ended_at, exit_code, why, ended_at, job),
            )

    def exchange(
        self,
        job: str,
        *,
        today: int,
        month: int,
        at: float,
        own: Callable[[OtherSpending], Mapping[int, Amounts]],
        since: int | None = None,
    ) -> OtherSpending:
        """What the other jobs have committed on the day `today`, and since the day `month` began; `own` hears
        it and says, by day, what this job has (on every day from `since` on, where that is given): both in
        one transaction, so that no two runs take the same room."""
        with self._transaction() as connection:
            others = other_spending(connection, job, today, month, at)
            _replace(connection, job, own(others), since)
        return others

    def others(self, job: str, *, today: int, month: int, at: float) -> OtherSpending:
        """The same for whoever only looks."""
        with account_errors(self.path):
            return other_spending(self._connection, job, today, month, at)

    def by_job(self, job: str) -> dict[str, Amounts]:
        """What each other job than `job` has of all its days."""
        with account_errors(self.path):
            rows = self._connection.execute(BY_JOB, (job,)).fetchall()
        return {str(other): Amounts(*(int(value) for value in values)) for other, *values in rows}

    # --- the shared limit

    def state(self, job: str, at: float) -> SharedState:
        """What is known in common of the limit."""
        with account_errors(self.path):
            return read_limit(self._connection, job, at)[1]

    def take(self, job: str, *, at: float, pace: float, late: float, spaced: bool) -> Slot:
        """The next slot, as `SharedSlots.take`."""
        with self._transaction() as connection:
            free, state = read_limit(connection, job, at)
            if spaced and not state.other_runs:
                free, late = NEVER, 0.0
            slot, until = next_slot(free, at, pace=pace, late=late, blocked=state.blocked)
            connection.execute(
                "UPDATE shared_limit "
                "SET free_at = ?, calls = calls + 1, blocked = ?, reset = ?, written_at = ?",
                (until, state.blocked, state.reset, at),
            )
        return Slot(slot, until, state._replace(calls=state.calls + 1))

    def give_back(self, slot: Slot) -> None:
        """Nobody used it; the next one has it, where none was taken since."""
        with self._transaction() as connection:
            connection.execute("UPDATE shared_limit SET calls = calls - 1")
            connection.execute("UPDATE shared_limit SET free_at = ? WHERE free_at = ?", (slot.at, slot.until))

    def count_refused(self) -> None:
        """A call that counts got a 429."""
        with self._transaction() as connection:
            connection.execute("UPDATE shared_limit SET refused = refused + 1")

    def pause(self, job: str, *, until: float, reset: float | None, at: float) -> None:
        """Nothing that counts leaves before `until`, for this reset (None: it has no stamp)."""
        with self._transaction() as connection:
            state = read_limit(connection, job, at)[1]
            connection.execute(
                "UPDATE shared_limit SET blocked = ?, reset = ?, written_at = ?",
                (max(state.blocked, until), max(state.reset, NEVER if reset is None else reset), at),
            )

    def learn(self, learned: str, *, all_metered: bool) -> None:
        """What 429s taught, as JSON, for whoever begins next; `all_metered`: that every call counts."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE shared_limit SET learned = ?, all_metered = max(all_metered, ?)",
                (learned, all_metered),
            )

    def learned(self) -> str | None:
        """What `learn` kept last."""
        with account_errors(self.path):
            (text,) = self._connection.execute("SELECT learned FROM shared_limit").fetchone()
        return None if text is None else str(text)

    # --- runs that ended without a word

    def silent(self, at: float) -> list[tuple[str, Path, float]]:
        """Jobs whose run gave no sign of life for long: id, folder, and the last sign."""
        with account_errors(self.path):
            rows = self._connection.execute(
                f"SELECT id, folder, beat FROM jobs WHERE pid IS NOT NULL AND NOT ({ALIVE})",
                {"at": at, "alive": ALIVE_SECONDS},
            ).fetchall()
        return [(str(job), Path(folder), float(beat)) for job, folder, beat in rows]

    def settle(
        self, job: str, beat: float, days: Mapping[int, Amounts], *, since: int, over: bool = True
    ) -> None:
        """What such a run's ledger says of every day from `since` on holds, unless it was heard of meanwhile.
        `over`: it ended. Else it goes on unheard, and what it set aside before may still be sent: no day is
        counted as less than it said."""
        with self._transaction() as connection:
            updated = connection.execute(
                "UPDATE jobs SET pid = CASE WHEN ? THEN NULL ELSE pid END "
                "WHERE id = ? AND beat = ? AND pid IS NOT NULL",
                (over, job, beat),
            )
            if not updated.rowcount:
                return
            if over:
                _replace(connection, job, days, since)
            else:
                _replace(connection, job, _at_least(connection, job, days), None)

    # --- for people

    def jobs(self, *, today: int, month: int) -> list[JobRow]:
        """Every job that is not forgotten, the one that was seen last at the head."""
        with account_errors(self.path):
            rows: Sequence[tuple[object, ...]] = self._connection.execute(JOBS, (today, month)).fetchall()
        return [JobRow(str(row[0]), Path(str(row[1])), *row[2:]) for row in rows]  # type: ignore[arg-type]

    def spent(self, *, today: int, month: int) -> tuple[int, int]:
        """What all jobs were billed today and this month, forgotten ones included: micro-credits."""
        with account_errors(self.path):
            row = self._connection.execute(
                "SELECT total(CASE WHEN day = ?1 THEN spent END), total(spent) FROM spending WHERE day >= ?2",
                (today, month),
            ).fetchone()
        return int(row[0]), int(row[1])

    def folders(self) -> list[Path]:
        """The output folders of every job that ever ran, forgotten ones too, the latest at the head."""
        with account_errors(self.path):
            rows = self._connection.execute("SELECT folder FROM jobs ORDER BY seen_at DESC").fetchall()
        return list(dict.fromkeys(Path(folder) for (folder,) in rows))

    def forget(self, job: str) -> None:
        """The job is listed no more; what it spent today and this month counts all the same."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET forgotten = 1 WHERE id = ?", (job,))


PUT = """
INSERT INTO spending (day, job, spent, reserved, unsure) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET spent = excluded.spent, reserved = excluded.reserved, unsure = excluded.unsure
"""
BY_JOB = """
SELECT j.id, total(s.spent), total(s.reserved), total(s.unsure)
FROM jobs j LEFT JOIN spending s ON s.job = j.id WHERE j.id <> ? GROUP BY j.id
"""
JOBS = """
SELECT id, folder, name, manifest, pid, beat, seen_at, total, done, spent, ended_at, exit_code, why,
       (SELECT CAST(total(spent) AS INTEGER) FROM spending s WHERE s.job = jobs.id AND s.day = ?1),
       (SELECT CAST(total(spent) AS INTEGER) FROM spending s WHERE s.job = jobs.id AND s.day >= ?2)
FROM jobs WHERE NOT forgotten ORDER BY seen_at DESC, folder
"""


def _replace(
    connection: sqlite3.Connection, job: str, days: Mapping[int, Amounts], since: int | None
) -> None:
    """What a job says of its days. From `since` on it has nothing reserved on the days that it does not
    name: what was set aside there was never sent."""
    if since is not None:
        connection.execute("UPDATE spending SET reserved = 0 WHERE job = ? AND day >= ?", (job, since))
    connection.executemany(PUT, ((day, job, *amounts) for day, amounts in days.items()))


def _at_least(connection: sqlite3.Connection, job: str, days: Mapping[int, Amounts]) -> dict[int, Amounts]:
    """The same days, with as much reserved as makes none of them less than it was."""
    query = "SELECT spent + reserved + unsure FROM spending WHERE job = ? AND day = ?"
    found = {}
    for day, amounts in days.items():
        (before,) = connection.execute(query, (job, day)).fetchone() or (0,)
        found[day] = amounts._replace(reserved=amounts.reserved + max(0, before - sum(amounts)))
    return found


def copy_log(path: Path) -> None:
    """Copies SQLite's log of writes into the file, and keeps nobody from writing meanwhile; for a thread."""
    with account_errors(path), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def folders_of(path: Path) -> list[Path]:
    """The output folders that the file of an account knows; none where it is missing or cannot be used."""
    if not path.exists():
        return []
    try:
        with closing(AccountFile(path)) as file:
            return file.folders()
    except errors.AccountFileError:
        return []
