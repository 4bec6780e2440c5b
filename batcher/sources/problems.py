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


class LeftOut:
    """Takes what is wrong with single rows, for whatever stage of a plan leaves them out, and tells it on.

    `first` keeps some of it: where no row is left in the end, they are why.
    """

    def __init__(self, tell: Skipped) -> None:
        self._tell = tell
        self._may_be_all = False
        self.number = 0
        self.first: list[Problem] = []

    @classmethod
    def of(cls, tell: Skipped) -> LeftOut:
        """What tells on to `tell`: itself, where it is one that stages share."""
        return tell if isinstance(tell, LeftOut) else cls(tell)

    def __call__(self, problem: Problem) -> None:
        if not problem.allowed:
            self.number += 1
            if len(self.first) < MAX_PROBLEMS and not self._may_be_all:
                self.first.append(problem)
        self._tell(problem)

    def may_be_all(self) -> None:
        """A source that may be empty is: that nothing is left has no reason that is to be told."""
        self._may_be_all = True
        self.first.clear()


class Problems:
    """The problems of one reading of the sources; at MAX_PROBLEMS it stops the reading.

    `skipped` takes what is wrong with single rows, which are left out then, and the rest goes on; without it
    they are problems as any other. Stages that share a LeftOut tell all of it where no row is left.
    """

    def __init__(self, manifest: Manifest, skipped: Skipped | None = None) -> None:
        self._manifest = manifest
        self._skipped = None if skipped is None else LeftOut.of(skipped)
        self.found: list[Problem] = []
        self.passed = 0

    @property
    def points(self) -> bool:
        """Whether so few will be told that each is worth its line and a caret."""
        return self._skipped is None

    @property
    def told(self) -> int:
        """How many there were, of either kind."""
        return len(self.found) + (self._skipped.number if self._skipped is not None else 0)

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
        else:
            self._skipped(problem)

    def passed_over(self, problem: Problem) -> None:
        """A row that lacks what the manifest allows it to lack: it is noted, and no problem; `passed` counts
        them."""
        self.passed += 1
        if self._skipped is not None:
            self._skipped(replace(problem, allowed=True))

    def nothing_left(self) -> None:
        """Where every row was left out, their problems are those of the job."""
        if self._skipped is not None:
            why = list(self._skipped.first)
            self._skipped.first.clear()
            for problem in why:
                self.add(problem)

    def may_be_empty(self) -> None:
        """A source that may be empty is."""
        if self._skipped is not None:
            self._skipped.may_be_all()
