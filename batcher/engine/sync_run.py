"""run_sync(): a run for whoever does not await, in a script, at a prompt, or inside a loop that runs already.

Rule: whatever interrupts the caller cancels the run, which then ends in good order before the caller goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Unpack

from batcher.engine.runner import RunArguments, run
from batcher.job.manifest import Manifest
from batcher.results.report import Report


def run_sync(job: Manifest, **arguments: Unpack[RunArguments]) -> Report:
    """As `run`, for whoever does not await: in a script, at a prompt, and inside a loop that runs already,
    as a notebook's. There the run has a thread and a loop of its own.

    Ctrl-C, or the cell's stop button, cancels the run and raises KeyboardInterrupt, with a note that says
    what is in flight. Raises what `run` raises.
    """
    notes = list[str]()

    async def noted() -> Report:
        try:
            return await run(job, **arguments)
        except asyncio.CancelledError as error:
            notes.extend(getattr(error, "__notes__", ()))
            raise

    try:
        return _in_thread(noted) if _in_loop() else asyncio.run(noted())
    except KeyboardInterrupt as error:
        for note in notes:
            error.add_note(note)
        raise error from None


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(work: Callable[[], Coroutine[Any, Any, Report]]) -> Report:
    """The work in a thread and a loop of its own. Raises KeyboardInterrupt once it was cancelled by one."""
    began: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = queue.SimpleQueue()

    async def whole() -> Report:
        task = asyncio.current_task()
        assert task is not None
        began.put((asyncio.get_running_loop(), task))
        return await work()

    # What prints into a cell knows it by the context.
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="batcher") as thread:
        ending = thread.submit(context.run, asyncio.run, whole())
        try:
            return ending.result()
        except KeyboardInterrupt:
            loop, task = began.get()
            with suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(task.cancel)
            with suppress(asyncio.CancelledError):
                return ending.result()
            raise
