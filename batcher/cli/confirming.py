"""The question before a run that costs more than a little.

Law: it stands in the event loop's own thread, so it heeds Ctrl-C itself: whoever will not answer leaves at
once, and nothing was submitted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from batcher.progress import Listener

ASKED_OVER = 1.0
"""Credits; at a terminal, a run that costs no more is begun without asking."""


def confirmation(
    job: str, listening: AbstractContextManager[Listener], over: float | None
) -> Callable[[float, int], bool] | None:
    """Somebody at a terminal is asked before more than `over` credits are spent; a program is never asked,
    and runs only where no limit was set or the cost keeps below it."""
    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if over is None and not terminal:
        return None
    from batcher.progress.summary import credits, printable

    limit = ASKED_OVER if over is None else over

    def confirm(cost: float, tasks: int) -> bool:
        if cost <= limit or not terminal:
            return cost <= limit
        new = "1 new task" if tasks == 1 else f"{tasks:,} new tasks"
        question = f"{printable(job, sys.stderr.encoding)}: {new}, about {credits(cost)} credits; go on?"
        listening.__exit__(None, None, None)  # a live block would draw over the question
        try:
            with _interruptible():
                answer = click.confirm(question, err=True)
        except click.Abort:
            click.echo("\nbatcher: interrupted at the question; nothing was submitted", err=True)
            raise
        listening.__enter__()
        return answer

    return confirm


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt. The event loop's handler only cancels a task, which cannot notice
    while the question stands in the loop's thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
