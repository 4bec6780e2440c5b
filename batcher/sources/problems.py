"""What is wrong with the rows: told to whoever keeps a list of what is left out, or collected as problems.

Law: nothing that is wrong with a row is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from batcher.errors import ManifestError, Problem
from batcher.manifest import Manifest

MAX_PROBLEMS = 20

Skipped = Callable[[Problem], None]


class Problems:
    """The problems of one reading of the sources; at MAX_PROBLEMS it stops the reading.

    `skipped` takes what is wrong with single rows, which are left out then, and the rest goes on; without it
    they are problems as any other. `rows` keeps the first of them all the same: where no row is left they are
    why.
    """

    def __init__(self, manifest: Manifest, skipped: Skipped | None = None) -> None:
        self._manifest = manifest
        self._skipped = skipped
        self.found: list[Problem] = []
        self.rows: list[Problem] = []

    @property
    def points(self) -> bool:
        """Whether so few will be told that each is worth its line and a caret."""
        return self._skipped is None

    @property
    def told(self) -> int:
        """How many there were, of either kind."""
        return len(self.found) + len(self.rows)

    def add(self, problem: Problem) -> None:
        """A problem of a source as a whole. Raises ManifestError when there are enough."""
        self.found.append(problem)
        if len(self.found) >= MAX_PROBLEMS:
            raise ManifestError([Problem(f"the first {MAX_PROBLEMS} problems are told; there may be more")])

    def at(self, key: Sequence[str | int], message: str) -> None:
        """A problem at a key of the manifest."""
        self.add(self._manifest.problem(key, message))

    def row(self, problem: Problem) -> None:
        """A problem of one row, which is left out. Raises ManifestError when there are enough."""
        if self._skipped is None:
            self.add(problem)
            return
        if len(self.rows) < MAX_PROBLEMS:
            self.rows.append(problem)
        self._skipped(problem)

    def passed_over(self, problem: Problem) -> None:
        """A row that lacks what the manifest allows it to lack: it is noted, and no problem."""
        if self._skipped is not None:
            self._skipped(replace(problem, allowed=True))

    def nothing_left(self) -> None:
        """Where every row was left out, their problems are those of the job."""
        for problem in self.rows:
            self.add(problem)
        self.rows = []
