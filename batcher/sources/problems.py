"""What is wrong with the rows, collected up to what a person reads."""

from __future__ import annotations

from collections.abc import Sequence

from batcher.errors import ManifestError, Problem
from batcher.manifest import Manifest

MAX_PROBLEMS = 20


class Problems:
    """The problems of one reading of the sources; at MAX_PROBLEMS it stops the reading."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.found: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """Raises ManifestError when there are enough."""
        self.found.append(problem)
        if len(self.found) >= MAX_PROBLEMS:
            raise ManifestError([Problem(f"the first {MAX_PROBLEMS} problems are told; there may be more")])

    def at(self, key: Sequence[str | int], message: str) -> None:
        """A problem at a key of the manifest."""
        self.add(self._manifest.problem(key, message))
