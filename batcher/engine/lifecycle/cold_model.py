"""The first call of a model that answers with the picture itself goes alone, until one was answered.

Rule: a cold model may take minutes, and a call that blocks runs into its time limit meanwhile, perhaps paid:
that may happen to one call at a time, never to all that are allowed at once.
"""

from __future__ import annotations

from batcher.api.signal import Signal


class ColdModel:
    """Which call may go; `cold` False: every one may."""

    def __init__(self, *, cold: bool) -> None:
        self._cold = cold
        self._alone: int | None = None
        self._changed = Signal()

    async def enter(self, task: int) -> None:
        """Waits until this task's call may go."""
        while self._cold and self._alone is not None:
            await self._changed.wait()
        if self._cold:
            self._alone = task

    def answered(self) -> None:
        """The model answered: it is warm."""
        if self._cold:
            self._cold = False
            self._changed.notify()

    def leave(self, task: int) -> None:
        """The call of this task is over, whatever came of it."""
        if self._alone == task:
            self._alone = None
            self._changed.notify()
