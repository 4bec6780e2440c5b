"""Ending in good order: why a run stops, and which waiting is given up for it.

Law: a stop lets no new submit leave; what is in flight is paid for and goes on. The exit code is that of
the gravest cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from batcher import errors

GRAVITY = (1, 5, 4, 143, 130, 10, 3)
"""Exit codes, gravest first; where several hold, the first one is told."""


class Stopping:
    """Why this run stops, as far as it does: exit codes and their sentences."""

    def __init__(self) -> None:
        self.causes: dict[int, str] = {}
        self._waits: set[anyio.CancelScope] = set()

    @property
    def requested(self) -> bool:
        """Whether submits are over."""
        return bool(self.causes)

    def stop(self, code: int, reason: str) -> None:
        """No submit leaves from now on; tasks that wait for their turn stay planned."""
        self.causes.setdefault(code, reason)
        for scope in self._waits:
            scope.cancel()

    def for_error(self, error: errors.BatcherError) -> None:
        """Stops because of `error`, with its exit code."""
        text = error.reason if isinstance(error, errors.TaskError) else str(error)
        self.stop(error.exit_code, text)

    @contextmanager
    def given_up(self) -> Iterator[anyio.CancelScope]:
        """A wait that a stop ends; `cancelled_caught` tells that it did."""
        with anyio.CancelScope() as scope:
            self._waits.add(scope)
            if self.requested:
                scope.cancel()
            try:
                yield scope
            finally:
                self._waits.discard(scope)


_OWN = re.compile(r"\bhttps?://\S+|\b(?=[a-f-]*[0-9])[0-9a-f-]{8,}\b", re.IGNORECASE)
"""What a provider's text has of one task alone: its URLs and ids."""


def cause_of(reason: str) -> str:
    """A reason without what it has of one task alone: equal causes count as one."""
    return _OWN.sub("", reason)


class FirstFailures:
    """Tells when the first tasks all fail alike: better stop than burn through a thousand."""

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
    """The exit code that is told where several hold; 0 where none does."""
    return next((code for code in GRAVITY if code in codes), 0)
