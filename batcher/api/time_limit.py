"""Time limits of calls, which count the time in which this process ran.

Rule: what has arrived is read before a limit is believed. A process that was stopped, or a machine that
slept, finds its limits over and the answers in its sockets at one and the same moment: the limits wait then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

LOOK_SECONDS = 1.0
"""So often a limit looks at the clock: what passed beyond that between two looks, nobody here ran."""
LATE_SECONDS = 0.5
"""A look that comes so late says that nobody ran."""
FRESH_SECONDS = 1.0
"""So long a limit holds at least, once somebody runs again."""


@contextmanager
def time_limit(seconds: float) -> Iterator[TimeLimit]:
    """Raises TimeoutError once the block has run for so long."""
    with anyio.CancelScope() as scope:
        limit = TimeLimit(seconds, scope)
        try:
            yield limit
        finally:
            limit.end()
    if scope.cancelled_caught:
        raise TimeoutError


class TimeLimit:
    """Looks at the clock until the time is over, and cancels the scope then."""

    def __init__(self, seconds: float, scope: anyio.CancelScope) -> None:
        self._left = seconds
        self._waiting = False
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._look_later()

    def end(self) -> None:
        """It holds no more."""
        self._handle.cancel()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What passes in the block is not counted: there we are waited for."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def _look_later(self) -> None:
        self._step = min(LOOK_SECONDS, self._left)
        self._due = self._loop.time() + self._step
        self._handle = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if not self._waiting:
            self._left -= self._step
        if self._loop.time() > self._due + LATE_SECONDS:
            self._left = max(self._left, FRESH_SECONDS)
        if self._left > 0:
            self._look_later()
        else:
            self._scope.cancel()
