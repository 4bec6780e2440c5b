"""A process that dies at a chosen point of its ledger's story, as kill -9 would have it.

From the crash on nothing more reaches the disk: not from `finally`, not from cancelled neighbours.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from batcher.ledger import group_commit


class Crash(BaseException):
    """Not an Exception: nothing in the program may catch it."""


class Points:
    """Counts the points at which a process may die; `at` chooses one (None: it survives)."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.passed = 0
        self.dead = False

    def reach(self) -> None:
        """One more point; raises Crash here and for ever after when it is the chosen one."""
        if self.dead or self.passed == self.at:
            self.dead = True
            raise Crash
        self.passed += 1


def mortal(points: Points) -> type[group_commit.GroupCommit]:
    """A GroupCommit that dies before a write, before a commit, or right after one."""

    class Mortal(group_commit.GroupCommit):
        def write(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
            points.reach()
            return super().write(statement, values)

        async def committed(self) -> None:
            if points.dead:
                raise Crash
            await super().committed()

        def commit(self) -> None:
            try:
                if points.dead:
                    raise Crash
                if self._connection.in_transaction:
                    points.reach()
                    super().commit()
                    points.reach()
                else:
                    super().commit()
            except Crash:
                self._nobody_hears_of_it()
                raise

        def _commit_quietly(self) -> None:
            # A timer's exception would only be logged by the loop; whoever waits dies instead.
            with contextlib.suppress(Crash):
                super()._commit_quietly()

        def _nobody_hears_of_it(self) -> None:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(Crash())

    return Mortal


def dies(error: BaseException) -> bool:
    """Whether this is the crash, alone or in groups."""
    if isinstance(error, BaseExceptionGroup):
        return all(dies(inner) for inner in error.exceptions)
    return isinstance(error, Crash)


@contextlib.contextmanager
def dying(at: int | None) -> Iterator[Points]:
    """What runs within dies at point `at` of its ledger's story, if it gets that far; the crash ends here."""
    points = Points(at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_commit, "GroupCommit", mortal(points))
        try:
            yield points
        except BaseException as error:
            if not dies(error):
                raise
