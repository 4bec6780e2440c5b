"""What one planning has seen: identities of tasks, and contents of local files.

Rule: memory does not grow with the plan.
"""

from __future__ import annotations

import math
import os
import sqlite3
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, NamedTuple, TypeVar

from batcher.errors import BadDownload
from batcher.ledger.database import meta, set_meta
from batcher.storage import pictures
from batcher.storage.workers import Threads

Item = TypeVar("Item")

HELD = 4096
"""Digests kept in memory; the ledger keeps all."""
AHEAD = 32
"""Rows whose files are looked at before their turn."""
YOUNG = 3.0
"""Seconds since a file was written to in which it may still be on its way."""
DECODED = "digests"
"""The ledger's note that what stands in its table of digests was decoded whole."""


class DuplicateCounter:
    """How many times an identity was seen before in this plan; `table` is its own, in the temporary database.

    A Bloom filter in blocks (some 15 MB in the end) knows almost every new identity for what it is, up to
    some million. What it has let pass waits in memory, at most WAITING of them, and is looked through where
    it is not sure, at most LOOKS times; with the first that is there indeed, or when they are too many, all
    go to disk, and are looked up there.
    """

    BLOCKS = 1 << 17
    BITS = tuple(1 << bit for bit in range(512))
    """Of a block, each as a number."""
    WAITING = 1 << 20
    LOOKS = 100
    LOT = 60_000
    """So many are sorted at a time: as Python's numbers they are five times as large."""

    def __init__(self, connection: sqlite3.Connection, table: str = "seen") -> None:
        self._connection = connection
        self._table = table
        self._blocks = [0] * self.BLOCKS
        self._waiting = array("q")
        self._looks = self.LOOKS
        connection.execute(f"DROP TABLE IF EXISTS temp.{table}")
        connection.execute(f"CREATE TEMP TABLE {table} (identity INTEGER PRIMARY KEY, n INTEGER NOT NULL)")

    def __call__(self, identity: bytes) -> int:
        number = int.from_bytes(identity[:8], "little", signed=True)
        # 17 bits say which block, and five times 9 which bits of it: written out, for every task comes here.
        bit, place = self.BITS, number & 0x1FFFF
        block = self._blocks[place]
        bits = (
            bit[number >> 17 & 511]
            | bit[number >> 26 & 511]
            | bit[number >> 35 & 511]
            | bit[number >> 44 & 511]
            | bit[number >> 53 & 511]
        )
        if block & bits != bits:
            self._blocks[place] = block | bits
        elif seen := self._seen(number):
            return seen
        self._waiting.append(number)
        if len(self._waiting) >= self.WAITING:
            self._write()
        return 0

    def _seen(self, number: int) -> int:
        """How many times it was seen before, looked up; one more time from now on."""
        self._looks -= 1
        if self._looks < 0 or number in self._waiting:
            self._write()
        counted = f"UPDATE temp.{self._table} SET n = n + 1 WHERE identity = ? RETURNING n"
        row = self._connection.execute(counted, (number,)).fetchone()
        return 0 if row is None else int(row[0])

    def _write(self) -> None:
        """In the order of the tree, so that a page is written once and not for each of its rows."""
        for start in range(0, len(self._waiting), self.LOT):
            rows = ((number,) for number in sorted(self._waiting[start : start + self.LOT]))
            self._connection.executemany(f"INSERT INTO temp.{self._table} VALUES (?, 0)", rows)
        self._waiting = array("q")


class DigestCache:
    """sha256 of local files, remembered by path, size and mtime, of the present plan and of earlier ones.

    `examine` looks at a file that is read for the first time, and its size, and raises BadDownload with what
    is wrong with it: such a file is not remembered. `now` gives Unix seconds: what was written to a moment
    ago may still be on its way, and who is `patient` is told that in place of what is wrong. `settled` is
    false once a file may be another one tomorrow, though its size and mtime may stay as they are.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        examine: Callable[[IO[bytes], int], object] = lambda file, size: None,
        *,
        now: Callable[[], float] = lambda: math.inf,
        patient: bool = True,
    ) -> None:
        self.settled = True
        self._patient = patient
        self._connection = connection
        self._examine = examine
        self._now = now
        self._digests: dict[str, str] = {}
        self._under_way: dict[str, Future[_Content]] = {}
        if meta(connection, DECODED) is None:
            # Earlier versions looked at the header alone.
            connection.execute("DELETE FROM digests")
            set_meta(connection, DECODED, "whole")

    def read_ahead(self, items: Iterable[Item], paths_of: Callable[[Item], Iterable[str]]) -> Generator[Item]:
        """The items as they come, while threads look at the files of the next ones."""
        with ThreadPoolExecutor(Threads.size, "pictures") as pool:
            ahead = deque[Item]()
            try:
                for item in items:
                    for path in paths_of(item):
                        self._begin(path, pool)
                    ahead.append(item)
                    if len(ahead) > AHEAD:
                        yield ahead.popleft()
                yield from ahead
            finally:
                for future in self._under_way.values():
                    future.cancel()
                self._under_way.clear()

    def of(self, path: str) -> str:
        """The digest (hex) of the file at `path`. Raises OSError, BadDownload."""
        known = self._digests.get(path)
        if known is not None:
            return known
        try:
            future = self._under_way.pop(path, None)
            if future is None and (known := self._remembered(path)) is not None:
                return known
            content = self._read(path) if future is None else future.result()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise
        except OSError:
            self.settled = False
            raise
        if content.fault:
            is_young = abs(self._now() - content.mtime_ns / 1e9) < YOUNG
            if content.changing or is_young:
                self.settled = False
            if content.changing or (is_young and self._patient):
                raise BadDownload("is still being written; it waits for the next run")
            raise BadDownload(content.fault)
        self._connection.execute(
            "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)",
            (path, content.size, content.mtime_ns, content.digest),
        )
        return self._keep(path, content.digest)

    def _begin(self, path: str, pool: ThreadPoolExecutor) -> None:
        """Whatever is wrong with it is told when it is asked for."""
        if path in self._digests or path in self._under_way:
            return
        try:
            known = self._remembered(path)
        except (OSError, ValueError):
            return
        if known is None:
            if len(self._under_way) >= HELD:
                self._under_way.pop(next(iter(self._under_way))).cancel()
            self._under_way[path] = pool.submit(self._read, path)

    def _remembered(self, path: str) -> str | None:
        """Raises OSError."""
        status = os.stat(path)
        row = self._connection.execute(
            "SELECT sha256 FROM digests WHERE path = ? AND size = ? AND mtime_ns = ?",
            (path, status.st_size, status.st_mtime_ns),
        ).fetchone()
        return None if row is None else self._keep(path, str(row[0]))

    def _keep(self, path: str, digest: str) -> str:
        if len(self._digests) >= HELD:
            self._digests.pop(next(iter(self._digests)))
        self._digests[path] = digest
        return digest

    def _read(self, path: str) -> _Content:
        """In whatever thread. Raises OSError."""
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            digest, fault = "", ""
            try:
                self._examine(file, before.st_size)
                file.seek(0)
                digest = pictures.digest(file)
            except BadDownload as error:
                fault = error.message
            after = os.stat(path)
        changing = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
        return _Content(
            after.st_size, after.st_mtime_ns, digest, fault or ("changed" if changing else ""), changing
        )


class _Content(NamedTuple):
    """What a file was when it was read: its sha256, or what is wrong with it; `changing`: it was written to
    meanwhile."""

    size: int
    mtime_ns: int
    digest: str
    fault: str
    changing: bool
