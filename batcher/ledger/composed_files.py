"""The local files that parameters put together name (`"photos/{{ file }}"`), as the last plan found them: a
file beside the ledger, a line each, which the ledger knows by its hash.

Rule: a resume asks each for its size and its time, and plans nothing where all are as they were. When in
doubt something has changed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import IO, Self

from batcher.ledger.database import disk_errors, meta, set_meta
from batcher.storage.addresses import is_stored

NOTE = "composed_files"
"""The hash of the file, among the ledger's notes; empty: nothing is put together."""


class ComposedFiles:
    """Notes the files of one planning; a context manager. `path` is where the notes go (None: nowhere)."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self.any_noted = False
        """Whether parameters named any."""
        self._settled = True
        self._connection = connection
        self._path = path
        self._file: IO[bytes] | None = None
        self._hash = blake2b(digest_size=16)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def finish(self) -> bool:
        """Puts the notes in place, inside the plan's transaction; whether a look at them will do next time.

        A crash before the transaction's end leaves notes of another hash than the ledger knows.
        """
        if self._path is None:
            return True
        if self._file is not None:
            with disk_errors(self._path):
                self._file.close()
                os.replace(self._unfinished(self._path), self._path)
        set_meta(self._connection, NOTE, self._hash.hexdigest() if self._file else "")
        return self._settled

    def note(self, path: str, found: bool) -> None:
        """A file was looked for, and found, or cannot be used: it is not there, or no picture."""
        self.any_noted = True
        if self._path is None:
            return
        if is_stored(path):
            self._settled = False  # no stamp of this disk tells its changes
            return
        # What was read is known by what it was then; it may be another file by now.
        stamp = self._as_read(path) if found else _stamp(path)
        line = json.dumps([path, stamp]).encode() + b"\n"
        with disk_errors(self._path):
            if self._file is None:
                self._file = self._unfinished(self._path).open("wb")
            self._file.write(line)
        self._hash.update(line)

    def _as_read(self, path: str) -> str | None:
        query = "SELECT size, mtime_ns FROM digests WHERE path = ?"
        row = self._connection.execute(query, (path,)).fetchone()
        return None if row is None else f"{row[0]} {row[1]}"

    @staticmethod
    def _unfinished(path: Path) -> Path:
        return path.with_name(f"{path.name}.new")


def unchanged(connection: sqlite3.Connection, path: Path, near_file: Callable[[str], str | None]) -> bool:
    """Whether every file is as the last plan found it; `near_file` gives the one that a path means at which
    there is none."""
    noted = meta(connection, NOTE)
    if not noted:
        return True
    hashed, meant = blake2b(digest_size=16), set[str]()
    try:
        with path.open("rb") as lines:
            for line in lines:
                hashed.update(line)
                name, stamp = json.loads(line)
                if _stamp(name) != stamp:
                    return False
                if stamp is not None:
                    meant.discard(name)
                elif (near := near_file(name)) is not None:
                    meant.add(near)  # its own line follows where the plan took it
    except (OSError, ValueError):
        return False
    return not meant and hashed.hexdigest() == noted


def _stamp(path: str) -> str | None:
    """Size and time of change; None where there is nothing."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return f"{status.st_size} {status.st_mtime_ns}"
