"""What one planning has seen: identities of tasks, and contents of local files.

Law: memory does not grow with the plan.
"""

from __future__ import annotations

import os
import sqlite3
from array import array
from collections.abc import Callable
from functools import lru_cache
from typing import IO

from batcher import pictures


class Occurrences:
    """How many times an identity was seen before in this plan; `table` is its own, in the temporary database.

    A filter in memory (8 MB) knows almost every new identity for what it is, up to some million; only where
    it is not sure all are written to disk and looked up. Memory does not grow beyond WAITING of them.
    """

    BITS = 26
    SHIFTS = (0, 9, 18, 27, 36)
    WAITING = 250_000

    def __init__(self, connection: sqlite3.Connection, table: str = "seen") -> None:
        self._connection = connection
        self._table = table
        self._filter = bytearray(1 << self.BITS - 3)
        self._waiting = array("q")
        connection.execute(f"DROP TABLE IF EXISTS temp.{table}")
        connection.execute(f"CREATE TEMP TABLE {table} (identity INTEGER PRIMARY KEY, n INTEGER NOT NULL)")

    def __call__(self, identity: bytes) -> int:
        number = int.from_bytes(identity[:8], "little", signed=True)
        if self._is_new(number):
            self._waiting.append(number)
            if len(self._waiting) >= self.WAITING:
                self._write()
            return 0
        self._write()
        row = self._connection.execute(
            f"INSERT INTO temp.{self._table} VALUES (?, 0) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n",
            (number,),
        ).fetchone()
        return int(row[0])

    def _is_new(self, number: int) -> bool:
        """Whether it was certainly not seen; from now on it was."""
        filter_, last, new = self._filter, len(self._filter) - 1, False
        for shift in self.SHIFTS:
            window = number >> shift
            place, bit = window >> 3 & last, 1 << (window & 7)
            if not filter_[place] & bit:
                filter_[place] |= bit
                new = True
        return new

    def _write(self) -> None:
        """In the order of the tree, so that a page is written once and not for each of its rows."""
        rows = ((number,) for number in sorted(self._waiting))
        self._connection.executemany(f"INSERT INTO temp.{self._table} VALUES (?, 0)", rows)
        self._waiting = array("q")


class Digests:
    """sha256 of local files, remembered by path, size and mtime.

    `examine` looks at a file that is read for the first time, and its size, and raises what is wrong with it:
    such a file is not remembered.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        examine: Callable[[IO[bytes], int], object] = lambda file, size: None,
    ) -> None:
        self._connection = connection
        self._examine = examine
        self.of = lru_cache(maxsize=4096)(self._of)

    def _of(self, path: str) -> str:
        """The digest (hex) of the file at `path`. Raises OSError, and what `examine` raises."""
        status = os.stat(path)
        known = self._connection.execute(
            "SELECT sha256 FROM digests WHERE path = ? AND size = ? AND mtime_ns = ?",
            (path, status.st_size, status.st_mtime_ns),
        ).fetchone()
        if known is not None:
            return str(known[0])
        with open(path, "rb") as file:
            self._examine(file, status.st_size)
            file.seek(0)
            digest = pictures.digest(file)
        self._connection.execute(
            "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)",
            (path, status.st_size, status.st_mtime_ns, digest),
        )
        return digest
