"""Writes are committed in groups: many writers, one transaction, one sync of the disk.

Rule: `await committed()` returns only when everything written before it is on disk (`synchronous=FULL`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.ledger.answer_file import Answer, AnswerFile
from batcher.ledger.database import disk_errors

SHORTEST_GROUP = 0.002
LONGEST_GROUP = 0.020
"""Seconds for which writes gather before their one commit: a POST waits at most so long for its intent."""
GATHERING_PER_WRITE = 0.0004
"""A group gathers the longer, the more the last one held: a busy run makes few large commits, an idle one
answers at once."""


class GroupCommit:
    """Many writers, one transaction: each writes at once, and waits for the commit they share.

    `verify` is asked before each commit, and raises DiskError where there may be none. `answers` takes the
    answers that were to be recorded when a group cannot be committed.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        answers: AnswerFile,
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._path = path
        self._verify = verify
        self._answer_file = answers
        self._answers: list[Answer] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.failure: errors.BatcherError | None = None
        self.failed = asyncio.Event()
        self._writes = 0
        self._gathering = SHORTEST_GROUP

    def write(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Executes `statement` inside the open group. It reaches the disk with the group's commit,
        whatever becomes of the caller. Raises what `disk_errors` makes of a refusal."""
        if self.failure is not None:
            raise self.failure
        try:
            with disk_errors(self._path):
                if not self._connection.in_transaction:
                    self._connection.execute("BEGIN IMMEDIATE")
                cursor = self._connection.execute(statement, values)
        except errors.BatcherError as error:
            # A full disk may roll the whole group back: nobody in it may believe in a later commit.
            self._fail(error)
            raise
        finally:
            self._writes += 1
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._gathering, self._commit_quietly)
        return cursor

    def answer(self, answer: Answer) -> None:
        """An answer whose record is written next: if that comes to nothing, it is kept beside the ledger."""
        self._answers.append(answer)
        if self.failure is not None:
            self._keep_answers()

    def _keep_answers(self) -> None:
        answers, self._answers = self._answers, []
        if not answers:
            return
        try:
            self._answer_file.keep(answers)
        except OSError as error:
            ids = ", ".join(answer.request_id or "an answer without an id" for answer in answers)
            self.failure = errors.DiskError(
                f"{self.failure}; nor could the answers be kept in {self._answer_file.path} "
                f"({error.strerror or error}): {ids}"
            )

    async def committed(self) -> None:
        """Waits until all that was written is on disk. Raises DiskError or LedgerError if it cannot be."""
        if self.failure is not None:
            raise self.failure
        if self._timer is not None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def commit(self) -> None:
        """Ends the group now. After a failure nothing more is written: what is on disk is whole."""
        waiters, self._waiters = self._waiters, []
        self._gathering = min(LONGEST_GROUP, max(SHORTEST_GROUP, GATHERING_PER_WRITE * self._writes))
        self._writes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            if self.failure is not None:
                raise self.failure
            with disk_errors(self._path):
                if self._connection.in_transaction:
                    self._verify()
                    self._connection.execute("COMMIT")
            self._answers.clear()
        except errors.BatcherError as error:
            self._fail(error)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)
            raise
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _fail(self, error: errors.BatcherError) -> None:
        """Nothing more is written, and whoever else may write is not kept from it."""
        self.failure = error
        self._keep_answers()
        self.failed.set()
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _commit_quietly(self) -> None:
        try:
            self.commit()
        except errors.BatcherError:
            # Every later write or wait raises it to someone who can act on it.
            return
