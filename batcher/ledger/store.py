"""The ledger's file: opened, checked, created whole or not at all; writes are committed in groups.

Law: `await committed()` returns only when everything written before it is on disk
(`synchronous=FULL`). A ledger that is corrupt, foreign or newer is never written to.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.task import TRANSITIONS

APPLICATION_ID = 0x62746368
"""Marks the file as ours, in SQLite's own header field."""

SHORTEST_GROUP = 0.002
LONGEST_GROUP = 0.020
"""Seconds for which writes gather before their one commit: a POST waits at most so long for its intent."""
GATHERING_PER_WRITE = 0.0001
"""A group gathers the longer, the more the last one held: a busy run makes few large commits, an idle one
answers at once."""

CHECKED_BYTES = 64 * 1024 * 1024
"""Larger ledgers are not read through at every start: a resume must not wait for it."""

Migration = Callable[[sqlite3.Connection], None]


def _source_pictures(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE source_pictures "
        "(task INTEGER PRIMARY KEY REFERENCES tasks (id), facts TEXT NOT NULL) STRICT"
    )


MIGRATIONS: tuple[Migration, ...] = (_source_pictures,)
"""MIGRATIONS[n] brings schema n+1 to n+2; `schema.sql` is always the newest."""


def schema_version() -> int:
    """The version of `schema.sql`."""
    return len(MIGRATIONS) + 1


def open_file(path: Path) -> sqlite3.Connection:
    """Opens the ledger at `path` for writing; creates it, whole or not at all, when it is missing.

    Raises LedgerError when the file is not ours, damaged or newer; DiskError when the disk refuses.
    """
    with disk_errors(path):
        if not path.exists():
            _create(path)
        # Looked at without the right to write: a file that is refused stays as it is, to the byte.
        _read_only(path, quick=True).close()
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA cache_size=-4096")
            connection.execute("PRAGMA busy_timeout=10000")
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Opens the ledger beside whoever writes it. Raises LedgerError, DiskError, as `open_file`."""
    with disk_errors(path):
        return _read_only(path, quick=False)


def _read_only(path: Path, *, quick: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA busy_timeout=10000")
        _check(connection, path, quick=quick)
    except BaseException:
        connection.close()
        raise
    return connection


def blank() -> sqlite3.Connection:
    """A ledger on a temporary file that vanishes with the connection, for plans that are only looked at."""
    connection = sqlite3.connect("", isolation_level=None)
    _install(connection)
    return connection


def _create(path: Path) -> None:
    """A killed creation leaves a temporary file, never half a ledger: the rename comes last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        _install(connection)
    with open(unfinished, "rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _install(connection: sqlite3.Connection) -> None:
    schema = files("batcher.ledger").joinpath("schema.sql").read_text("utf-8")
    connection.executescript(f"BEGIN; {schema}")
    connection.executemany("INSERT INTO transitions VALUES (?, ?)", _moves())
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={schema_version()}")
    connection.execute("COMMIT")


def _moves() -> Iterable[tuple[str, str]]:
    return ((origin.value, target.value) for origin, targets in TRANSITIONS.items() for target in targets)


def _check(connection: sqlite3.Connection, path: Path, *, quick: bool) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise errors.LedgerError(
            f"{path} is a database of something else; move it away or choose another output folder"
        )
    if version > schema_version():
        raise errors.LedgerError(
            f"{path} was written by a newer batcher (schema {version}, this one knows {schema_version()}); "
            "update batcher"
        )
    if version < 1:
        raise errors.LedgerError(
            f"{path} is damaged (no schema version); restore it from a copy, or move the output folder away"
        )
    if quick and path.stat().st_size < CHECKED_BYTES:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            what = " ".join(verdict.split())
            raise errors.LedgerError(
                f"{path} is damaged ({what}); restore it from a copy, or move the output folder away"
            )


def _migrate(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number in range(version, schema_version()):
        with transaction(connection):
            MIGRATIONS[number - 1](connection)
            connection.execute(f"PRAGMA user_version={number + 1}")


def meta(connection: sqlite3.Connection, key: str) -> str | None:
    """A note that the ledger keeps about itself."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Writes such a note, inside the transaction that is open."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors become ours here."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise errors.DiskError(f"the ledger {path} cannot be written or read: {error}") from error
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError):
        raise  # of ours, not of the file: a statement or a value that is wrong
    except sqlite3.DatabaseError as error:
        raise errors.LedgerError(
            f"{path} is damaged or not a ledger ({error}); restore it from a copy, or move it away"
        ) from error
    except OSError as error:
        raise errors.DiskError(f"{error.filename or path}: {error.strerror}") from error


class GroupCommit:
    """Many writers, one transaction: each writes at once, and waits for the commit they share."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failure: errors.BatcherError | None = None
        self._writes = 0
        self._gathering = SHORTEST_GROUP

    def write(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Executes `statement` inside the open group. It reaches the disk with the group's commit,
        whatever becomes of the caller. Raises what `disk_errors` makes of a refusal."""
        if self._failure is not None:
            raise self._failure
        try:
            with disk_errors(self._path):
                if not self._connection.in_transaction:
                    self._connection.execute("BEGIN IMMEDIATE")
                cursor = self._connection.execute(statement, values)
        except errors.BatcherError as error:
            # A full disk may roll the whole group back: nobody in it may believe in a later commit.
            self._failure = error
            raise
        finally:
            self._writes += 1
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._gathering, self._commit_quietly)
        return cursor

    async def committed(self) -> None:
        """Waits until all that was written is on disk. Raises DiskError or LedgerError if it cannot be."""
        if self._failure is not None:
            raise self._failure
        if self._timer is not None:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(told)
            await told

    def commit(self) -> None:
        """Ends the group now. After a failure nothing more is written: what is on disk is whole."""
        waiting, self._waiting = self._waiting, []
        self._gathering = min(LONGEST_GROUP, max(SHORTEST_GROUP, GATHERING_PER_WRITE * self._writes))
        self._writes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            if self._failure is not None:
                raise self._failure
            with disk_errors(self._path):
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
        except errors.BatcherError as error:
            self._failure = error
            for told in waiting:
                if not told.done():
                    told.set_exception(error)
            raise
        for told in waiting:
            if not told.done():
                told.set_result(None)

    def _commit_quietly(self) -> None:
        try:
            self.commit()
        except errors.BatcherError:
            # Every later write or wait raises it to someone who can act on it.
            return
