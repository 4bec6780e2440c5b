"""How old a submission is: by the loop's clock where this process sent it, which nobody sets.

Rule: the wall clock is believed only of what an earlier process left; of its own, a process knows better.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from batcher.ledger.entries import TaskEntry, current_submission

FILES_END = 7 * 86_400.0 + 3_600.0
"""Seconds after its submission from which nobody has the files of a result any more: hosts keep them for
seven days from the end of the job, which comes within its record's hour."""


class SubmissionAges:
    """When this process's own submissions left, as long as their tasks are on their way; `now` gives the wall
    clock (Unix s)."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sent: dict[int, tuple[int, float]] = {}

    def sent(self, entry: TaskEntry, at: float) -> None:
        """Its POST leaves, at `at` by the loop's clock."""
        self._sent[entry.id] = (current_submission(entry).id, at)

    def forget(self, task: int) -> None:
        """The task is not on its way any more."""
        self._sent.pop(task, None)

    def is_own(self, entry: TaskEntry) -> bool:
        """Whether this process sent it."""
        return self._sent.get(entry.id, (0, 0.0))[0] == current_submission(entry).id

    def of(self, entry: TaskEntry) -> float:
        """Seconds since the task's submission left."""
        if self.is_own(entry):
            return asyncio.get_running_loop().time() - self._sent[entry.id][1]
        return max(0.0, self._now() - current_submission(entry).submitted_at)
