"""The ledger's file: opened, checked, created whole or not at all.

Rule: a ledger that is corrupt, foreign or newer is never written to. Who only reads (`batcher status`) starts
at once: what is imported here is imported there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

from batcher import errors
from batcher.ledger.migrations import MIGRATIONS
from batcher.task import TRANSITIONS

APPLICATION_ID = 0x62746368
"""Marks the file as ours, in SQLite's own header field."""
SANDBOX_ORIGIN = "the sandbox"
"""What the ledger of a rehearsal notes as its API; that ends with the run."""

CHECKED_BYTES = 64 * 1024 * 1024
"""Larger ledgers are not read through at every start: a resume must not wait for it."""

BUSY_SECONDS = 25.0
"""A write waits so long for somebody else's to end (a backup, an open shell), and the run with it: below the
time for which an answer is awaited."""


def schema_version() -> int:
    """The version of `schema.sql`."""
    return len(MIGRATIONS) + 1


def open_file(path: Path, *, checked: bool = False) -> sqlite3.Connection:
    """Opens the ledger at `path` for writing; creates it, whole or not at all, when it is missing.
    `checked`: this process has read it through before, and need not again.

    Raises LedgerError when the file is not ours, damaged or newer; DiskError when the disk refuses.
    """
    with disk_errors(path):
        if not path.exists():
            _create(path)
        # Looked at without the right to write: a file that is refused stays as it is, to the byte.
        _read_only(path, quick=not checked).close()
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA cache_size=-3072")  # of a million rows the indices are sorted in it
            connection.execute(f"PRAGMA busy_timeout={round(BUSY_SECONDS * 1000)}")
            # A table that is built anew is dropped while others refer to it.
            connection.execute("PRAGMA foreign_keys=OFF")
            _migrate(connection)
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            connection.close()
            raise
        return connection


def open_for_reading(
    path: Path, *, busy_seconds: float = BUSY_SECONDS, checked: bool = True
) -> sqlite3.Connection:
    """Opens the ledger beside whoever writes it; not `checked`: it is read through, as before a run. Raises
    LedgerError, DiskError, as `open_file`."""
    with disk_errors(path):
        return _read_only(path, quick=not checked, busy_seconds=busy_seconds)


def _read_only(path: Path, *, quick: bool, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout={round(busy_seconds * 1000)}")
        _check(connection, path, quick=quick)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    with creating(path):
        pass


@contextmanager
def creating(path: Path) -> Iterator[sqlite3.Connection]:
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
    def version() -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    while version() < schema_version():
        with transaction(connection):
            # Read again, now that nobody else writes: another process may have done it meanwhile.
            if (number := version()) >= schema_version():
                return
            MIGRATIONS[number - 1](connection)
            connection.execute("DELETE FROM transitions")
            connection.executemany("INSERT INTO transitions VALUES (?, ?)", _moves())
            connection.execute(f"PRAGMA user_version={number + 1}")


def meta(connection: sqlite3.Connection, key: str) -> str | None:
    """A note that the ledger keeps about itself."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def read_meta(path: Path, key: str) -> str | None:
    """A note of the ledger at `path`; None where there is no such note, or no ledger. Raises LedgerError,
    DiskError."""
    with disk_errors(path):
        if not path.exists():
            return None
        with closing(open_for_reading(path)) as connection:
            return meta(connection, key)


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Writes such a note, inside the transaction that is open."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
    )


def folder_of_files(connection: sqlite3.Connection) -> tuple[str, str]:
    """What says in which folder a file lies, and where it lay before a move that may not have happened yet:
    as SQL, for a ledger of an older schema that is only read has no such columns."""
    known = "folder" in columns(connection, "files")
    return ("folder", "moved_from") if known else ("'images'", "NULL")


def columns(connection: sqlite3.Connection, table: str, schema: str = "main") -> list[str]:
    """The columns of a table, in order; none where there is no such table."""
    rows = connection.execute("SELECT name FROM pragma_table_info(?, ?)", (table, schema))
    return [str(name) for (name,) in rows]


def copy_statement(
    connection: sqlite3.Connection,
    table: str,
    source: str,
    expressions: Mapping[str, str],
    where: str = "true",
    conflict: str = "",
) -> str:
    """The statement that copies a table's rows from the attached ledger `source`, which may be of an older
    schema: every column that both have, those of `expressions` as these say. So what a newer schema adds is
    copied too. `where` may end in an ORDER BY; `conflict` is an upsert clause, or empty."""
    theirs = columns(connection, table, source)
    chosen = {
        name: expressions.get(name, name) for name in columns(connection, table, "main") if name in theirs
    }
    return (
        f"INSERT INTO main.{table} ({', '.join(chosen)}) "
        f"SELECT {', '.join(chosen.values())} FROM {source}.{table} WHERE {where} {conflict}"
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


class disk_errors:  # noqa: N801  # used as a function, like contextlib.suppress
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
