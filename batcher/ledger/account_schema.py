"""The file of an account itself: its schema, how it is made, and what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from batcher import errors

APPLICATION_ID = 0x62746361
VERSION = 3
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id        TEXT PRIMARY KEY,             -- noted in the job's ledger too
  folder    TEXT NOT NULL,                -- its output folder
  name      TEXT NOT NULL,
  manifest  TEXT NOT NULL,                -- the path of its file
  pid       INTEGER,                      -- the process that runs it; NULL: none does
  beat      REAL NOT NULL,                -- its last sign of life: seconds of the machine's steady clock
  seen_at   REAL NOT NULL,                -- the same in Unix seconds
  total     INTEGER NOT NULL,
  done      INTEGER NOT NULL,
  spent     INTEGER NOT NULL,             -- in all, micro-credits
  rpm       REAL,                         -- the calls per minute that it was told; NULL: none
  ended_at  REAL,                         -- how its last run ended; NULL: it did not say
  exit_code INTEGER,
  why       TEXT NOT NULL DEFAULT '',
  forgotten INTEGER NOT NULL DEFAULT 0,   -- not to be listed; what it spent counts all the same
  mount     TEXT NOT NULL DEFAULT ''      -- where the disk was mounted on which its folder lies
) STRICT;

-- By the UTC day on which a request was submitted, as days since 1970-01-01. Micro-credits.
CREATE TABLE IF NOT EXISTS spending (
  day      INTEGER NOT NULL,
  job      TEXT    NOT NULL REFERENCES jobs (id),
  spent    INTEGER NOT NULL,              -- as the provider billed it
  reserved INTEGER NOT NULL,              -- about to be submitted, or in flight
  unsure   INTEGER NOT NULL,              -- doubtful, lost, or paid without a bill; at the dearest price
  PRIMARY KEY (day, job)
) STRICT, WITHOUT ROWID;

-- The one row of the shared limit; times are seconds of the machine's steady clock.
CREATE TABLE IF NOT EXISTS shared_limit (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  free_at     REAL    NOT NULL DEFAULT -1e18,  -- the next slot
  blocked     REAL    NOT NULL DEFAULT -1e18,  -- nothing that counts leaves before
  reset       REAL    NOT NULL DEFAULT -1e18,  -- the reset that this waits for
  written_at  REAL    NOT NULL DEFAULT -1e18,
  calls       INTEGER NOT NULL DEFAULT 0,
  refused     INTEGER NOT NULL DEFAULT 0,
  all_metered INTEGER NOT NULL DEFAULT 0,
  learned     TEXT                             -- JSON: what 429s taught the run that learned last
) STRICT;
INSERT OR IGNORE INTO shared_limit (id) VALUES (1);
CREATE INDEX IF NOT EXISTS running ON jobs (beat) WHERE pid IS NOT NULL;
"""
MIGRATIONS = {
    1: "ALTER TABLE jobs ADD COLUMN rpm REAL;\n",
    2: "ALTER TABLE jobs ADD COLUMN mount TEXT NOT NULL DEFAULT '';\n",
}
"""What older files lack, by their version."""


class account_errors:  # noqa: N801  # used as a function, like contextlib.suppress
    """SQLite's and the system's errors become ours here."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in (
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
        ):
            raise errors.AccountFileBusy(f"{self._path}: {error}") from error
        if isinstance(error, sqlite3.Error):
            raise errors.AccountFileError(f"{self._path}: {error}") from error
        if isinstance(error, OSError):
            raise errors.AccountFileError(
                f"{error.filename or self._path}: {error.strerror or error}"
            ) from error


def update(connection: sqlite3.Connection) -> None:
    """Makes the schema, or brings an older one up to date, inside the transaction that is open."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version >= VERSION:
        return  # another process has done it meanwhile
    missing = "".join(MIGRATIONS[older] for older in range(version or VERSION, VERSION))
    for statement in _statements(missing + SCHEMA):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={VERSION}")


def _statements(script: str) -> Iterator[str]:
    """One by one, for a script that is run as a whole ends the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def make(path: Path) -> None:
    """An empty file that nobody else may read, where there is none."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def identity(path: Path) -> tuple[int, int] | None:
    """Which file lies there; None: none does."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
