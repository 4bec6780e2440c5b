"""One table while it is read: how it is called, where its paths start, where its problems go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batcher.errors import Problem
from batcher.job.diagnostics import Diagnostics
from batcher.job.sources.cell_locator import line_of


@dataclass(frozen=True, slots=True)
class TableContext:
    """A table that is open. `file` is its name in problems, `path` what it was opened by, `folder` what paths
    in its cells start from; `unreadable` takes what is wrong with the table as such, told where the manifest
    names it."""

    file: str
    path: str
    folder: str
    diagnostics: Diagnostics
    unreadable: Callable[[str], None]

    def error(self, line: int, message: str) -> None:
        """A problem of the table as a whole, at a line of it (0: unknown)."""
        self.diagnostics.error(self._problem(line, message, 1))

    def row(self, line: int, message: str, column: int = 1) -> None:
        """A problem of one row, at a line (0: unknown), which is left out."""
        self.diagnostics.row(self._problem(line, message, column))

    def _problem(self, line: int, message: str, column: int) -> Problem:
        if not line or not self.diagnostics.strict:
            return Problem(message, self.file, line)
        return Problem(message, self.file, line, column, "", line_of(self.path, line))
