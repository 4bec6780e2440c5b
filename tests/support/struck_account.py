"""One of several runs of an account, which something befalls at a chosen point of its account file's story.

points = AccountPoints(at=7, befalls=points.die)
with monkeypatch.context() as patch:
    points.watch(patch)
    group.start_soon(points.victim, job.run, ...)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from batcher.engine import account_membership
from batcher.ledger import group_commit
from batcher.ledger.account_file import AccountFile
from batcher.ledger.account_schema import account_errors
from tests.support.crashing import Crash, mortal

VICTIM: ContextVar[bool] = ContextVar("VICTIM", default=False)
"""Whether this is the run that it befalls: tasks and timers that it starts inherit it."""


def refusal(code: int) -> sqlite3.OperationalError:
    """SQLite's error of this code."""
    error = sqlite3.OperationalError(f"refused with {code}")
    error.sqlite_errorcode = code
    return error


class AccountPoints:
    """Counts the points of the victim's story with its account's file: before and after it is opened, before
    each of its writes begins, before that is committed, and after. At the chosen one (None: at none)
    `befalls` is called, and at each one after it `goes_on`; what they raise, the file does."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.passed = 0
        self.befalls: Callable[[], None] = lambda: None
        self.goes_on: Callable[[], None] = lambda: None
        self._killed = False

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """From now on the points of whatever run is the victim are counted."""
        patch.setattr(account_membership, "AccountFile", _watched(self))
        patch.setattr(group_commit, "GroupCommit", mortal(_Ledger(self)))  # type: ignore[arg-type]

    async def victim(self, run: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Runs the victim."""
        VICTIM.set(True)
        return await run(*arguments)

    def die(self) -> None:
        """As by kill -9: from here on nothing of the victim reaches a disk."""
        self._killed = True
        raise Crash

    @property
    def is_dead(self) -> bool:
        return self._killed and VICTIM.get()

    @property
    def is_reached(self) -> bool:
        """Whether it has befallen."""
        return self.at is not None and self.passed > self.at

    def reach(self) -> None:
        if not VICTIM.get():
            return
        if self._killed:
            raise Crash
        self.passed += 1
        if self.passed - 1 == self.at:
            self.befalls()
        elif self.is_reached:
            self.goes_on()


class _Ledger:
    """The points of a ledger, of which none is chosen: it only dies with its process."""

    def __init__(self, points: AccountPoints) -> None:
        self._points = points

    @property
    def dead(self) -> bool:
        return self._points.is_dead

    def reach(self) -> None:
        if self.dead:
            raise Crash


def _watched(points: AccountPoints) -> type[AccountFile]:
    class Watched(AccountFile):
        def __init__(self, path: Path) -> None:
            with account_errors(path):
                points.reach()
            super().__init__(path)
            with account_errors(path):
                points.reach()

        @contextmanager
        def _transaction(self) -> Iterator[sqlite3.Connection]:
            with account_errors(self.path):
                points.reach()
                with super()._transaction() as connection:
                    yield connection
                    points.reach()
                points.reach()

    return Watched
