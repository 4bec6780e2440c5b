"""Ending in good order: why a run stops, and which waits end for it.

Rule: a stop lets no new submit leave; what is in flight is paid for and goes on. The exit code is that of
the gravest cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import anyio

from batcher import errors

GRAVITY = (1, 5, 4, 143, 130, 10, 3)
"""Exit codes, gravest first; where several hold, the run ends with the first."""


class StopCause(NamedTuple):
    """Why a run stops: a sentence, and what to do about it, empty where nothing is known."""

    text: str
    remedy: str = ""


class Stopping:
    """Why this run stops, as far as it does: the first cause of each exit code."""

    def __init__(self) -> None:
        self.causes: dict[int, StopCause] = {}
        self._waits: set[anyio.CancelScope] = set()

    @property
    def requested(self) -> bool:
        """Whether submits are over."""
        return bool(self.causes)

    def stop(self, code: int, reason: str, *, remedy: str = "") -> None:
        """No submit leaves from now on; tasks that wait for their turn stay planned."""
        self.causes.setdefault(code, StopCause(reason, remedy))
        for scope in self._waits:
            scope.cancel()

    def for_error(self, error: errors.BatcherError) -> None:
        """Stops because of `error`, with its exit code and its remedy."""
        text = error.reason if isinstance(error, errors.TaskError) else str(error)
        self.stop(error.exit_code, text, remedy=error.remedy)

    @contextmanager
    def cancelled_by_stop(self) -> Iterator[anyio.CancelScope]:
        """What is awaited in the block is cancelled by a stop; `cancelled_caught` says that it was."""
        with anyio.CancelScope() as scope:
            self._waits.add(scope)
            if self.requested:
                scope.cancel()
            try:
                yield scope
            finally:
                self._waits.discard(scope)


_OWN = re.compile(
    r"\b[a-z][a-z0-9+.-]+://\S+|(?<![\w/.])~?/(?:[^:]*(?=: )|\S+)|\b(?=[a-f-]*[0-9])[0-9a-f-]{8,}\b",
    re.IGNORECASE,
)
"""What a text has of one task alone: URLs, addresses of stores, absolute paths (which may have spaces, up to
a colon) and ids."""


def cause_of(reason: str) -> str:
    """A reason without what it has of one task alone: equal causes count as one."""
    return _OWN.sub("", reason)


class FirstFailures:
    """Notices that the first tasks all fail alike: better stop than burn through a thousand."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kind = ""
        self._in_a_row = 0
        self._succeeded = False

    def succeeded(self) -> None:
        """Something works: from now on failures are the tasks' own."""
        self._succeeded = True

    def failed(self, reason: str) -> bool:
        """Whether this failure is the `most`-th of its kind in a row, with no success before."""
        kind = cause_of(reason)
        self._in_a_row = self._in_a_row + 1 if kind == self._kind else 1
        self._kind = kind
        return not self._succeeded and self._in_a_row == self._most


def gravest(codes: set[int]) -> int:
    """The exit code of a run for which these hold; 0 where none does."""
    return next((code for code in GRAVITY if code in codes), 0)
