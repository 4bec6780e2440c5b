"""One table while it is read: how it is called, where its paths start, where its problems go."""

from __future__ import annotations

from collections.abc import Callable

from batcher.errors import Problem
from batcher.sources.pointing import excerpt_of
from batcher.sources.problems import Problems


class Table:
    """A table that is open. `file` is its name in problems, `path` what it was opened by."""

    def __init__(
        self,
        file: str,
        path: str,
        folder: str,
        problems: Problems,
        refused: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self.file = file
        self.path = path
        self.folder = folder
        self.note = note
        self._problems = problems
        self._refused = refused

    def unreadable(self, message: str) -> None:
        """What is wrong with the table as such, told where the manifest names it."""
        self._refused(message)

    def refused(self, line: int, message: str) -> None:
        """A problem of the table as a whole, at a line of it."""
        self._problems.add(self._problem(line, message, 1))

    def wrong(self, line: int, message: str, column: int = 1) -> None:
        """A problem of one row, at a line (0: unknown), which is left out."""
        self._problems.row(self._problem(line, message, column))

    def _problem(self, line: int, message: str, column: int) -> Problem:
        if not line or not self._problems.points:
            return Problem(message, self.file, line)
        return Problem(message, self.file, line, column, "", excerpt_of(self.path, line))
