"""Writes are committed in groups: many writers, one transaction, one sync of the disk.

Law: `await committed()` returns only when everything written before it is on disk (`synchronous=FULL`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.ledger.store import disk_errors

SHORTEST_GROUP = 0.002
LONGEST_GROUP = 0.020
"""Seconds for which writes gather before their one commit: a POST waits at most so long for its intent."""
GATHERING_PER_WRITE = 0.0004
"""A group gathers the longer, the more the last one held: a busy run makes few large commits, an idle one
answers at once."""


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
