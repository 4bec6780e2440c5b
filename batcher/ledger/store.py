"""The ledger's file: opened, checked, created whole or not at all.

Law: a ledger that is corrupt, foreign or newer is never written to. Who only reads (`batcher status`) starts
at once: what is imported here is imported there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

from batcher import errors
from batcher.task import TRANSITIONS

APPLICATION_ID = 0x62746368
"""Marks the file as ours, in SQLite's own header field."""

CHECKED_BYTES = 64 * 1024 * 1024
"""Larger ledgers are not read through at every start: a resume must not wait for it."""

Migration = Callable[[sqlite3.Connection], None]


def _source_pictures(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE source_pictures "
        "(task INTEGER PRIMARY KEY REFERENCES tasks (id), facts TEXT NOT NULL) STRICT"
    )


def _left_out(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE left_out (id INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER NOT NULL, "
        "reason TEXT NOT NULL, UNIQUE (file, line, reason)) STRICT"
    )


def _passed_over(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE passed_over (id INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER NOT NULL, "
        "reason TEXT NOT NULL, UNIQUE (file, line, reason)) STRICT"
    )


MIGRATIONS: tuple[Migration, ...] = (_source_pictures, _left_out, _passed_over)
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
    with created(path):
        pass


@contextmanager
def created(path: Path) -> Iterator[sqlite3.Connection]:
    """A new ledger, which is at `path` when the block ends, on disk and as it was left then.

    A killed creation leaves a temporary file, never half a ledger: the rename comes last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    unfinished.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            _install(connection)
            yield connection
        with open(unfinished, "rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _install(connection: sqlite3.Connection) -> None:
    from importlib.resources import files

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


class disk_errors:
    """SQLite's and the system's errors become ours here. A class, for every write passes it."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, sqlite3.OperationalError):
            raise errors.DiskError(f"the ledger {self._path} cannot be written or read: {error}") from error
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError):
            return  # of ours, not of the file: a statement or a value that is wrong
        if isinstance(error, sqlite3.DatabaseError):
            raise errors.LedgerError(
                f"{self._path} is damaged or not a ledger ({error}); restore it from a copy, or move it away"
            ) from error
        if isinstance(error, OSError):
            raise errors.DiskError(f"{error.filename or self._path}: {error.strerror}") from error
