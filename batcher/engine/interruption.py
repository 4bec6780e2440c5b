"""A run that is cancelled, by a cell's stop button or Ctrl-C: it ends in good order, and whatever exception
comes out says what it leaves.

Rule: a cancellation passes unchanged. Ctrl-C is heeded here only where nobody else does: at a prompt whose
loop knows of none (IPython's on a terminal) it would stop the loop in mid-step and leave the run in it.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[list[str]]:
    """What is added to the list it gives stands as notes at the CancelledError that comes out; Ctrl-C becomes
    a KeyboardInterrupt once the block has ended. A second one leaves at once."""
    notes, interrupted = list[str](), False
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        loop.remove_signal_handler(signal.SIGINT)
        if task is not None:
            task.cancel()

    heeds = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if heeds:
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield notes
    except asyncio.CancelledError as error:
        # Whoever cleans up on the way out may raise another one than it was given.
        ended = KeyboardInterrupt() if interrupted else error
        for note in notes:
            if note not in getattr(ended, "__notes__", ()):
                ended.add_note(note)
        if ended is error:
            raise
        raise ended from None
    finally:
        if heeds and not interrupted:
            loop.remove_signal_handler(signal.SIGINT)
