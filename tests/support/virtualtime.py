"""An event loop whose clock jumps: an hour of waiting takes a millisecond, and means an hour.

Rule: the clock stands still while anything happens. It jumps to the next timer only when no thread job is
pending and a real select (of a millisecond, but for small jumps) finds nothing ready. Thread jobs are counted
where they start, in `run_in_executor` (`asyncio.to_thread`, aiofiles, name resolution); other threads are not
seen. A server that shall live in this time must live in this loop.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

GRACE = 0.001
"""Real seconds in which bytes on the loopback must have arrived before the clock may jump."""
SMALL_JUMP = 0.02
"""Seconds of virtual time that may pass on one look alone: bytes on their way arrive that much later at
worst, and most timers are this near."""
PATIENCE = 0.5
"""Real seconds for which a thread job stops the clock; from then on it runs as real time does, so that a
thread that itself waits for a timer of the loop cannot stop it for ever."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 1000 and is the same in every run."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._threads = 0
        self._standstill = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def stand_still(self, seconds: float) -> None:
        """The process is stopped for so long, as by SIGSTOP or a closed laptop: when it goes on, what has
        arrived at its sockets and the timers that are over come at one and the same moment."""
        self._standstill += seconds

    def run_in_executor(  # type: ignore[override]  # typeshed spells the arguments with a type variable tuple
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _future: asyncio.Future[Any]) -> None:
        self._threads -= 1


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]  # chosen by the platform
    """Turns waiting into a jump of the loop's clock where nothing real is to be waited for."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop
        self._waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._select(timeout)
        if ready and self._loop._standstill:
            self._loop._now += self._loop._standstill
            self._loop._standstill = 0.0
        return ready

    def _select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            if timeout is not None and not self._loop._ready:
                # A timer that is due now and arms itself again for now must not stop the clock.
                self._loop._now += self._loop._clock_resolution
            return super().select(timeout)
        if self._loop._threads:
            return self._wait_for_thread(timeout)
        ready = super().select(GRACE if timeout > SMALL_JUMP else 0)
        if not ready:
            # asyncio runs a timer up to its clock's resolution early: land behind it, or code that arms its
            # timer again until the time is really over would never see it over.
            self._loop._now += timeout + self._loop._clock_resolution
        self._waited = 0.0
        return ready

    def _wait_for_thread(self, timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        began = time.monotonic()
        ready = super().select(min(timeout, PATIENCE))
        waited = time.monotonic() - began
        self._waited = 0.0 if ready else self._waited + waited
        if self._waited >= PATIENCE:
            self._loop._now += min(waited, timeout)
        return ready
