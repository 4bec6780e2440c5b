"""The question before a run that costs more than a little.

Rule: a cost that nobody knows is not a small one, and only what this run would submit counts. The question
stands in the event loop's own thread, so it heeds Ctrl-C itself: whoever will not answer leaves at once, and
nothing was submitted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import ask, echo

if TYPE_CHECKING:
    from batcher.engine.options import Confirm, ConfirmEdit
    from batcher.progress import Listener

ASKED_OVER = 1.0
"""Credits; at a terminal, a run that costs no more is begun without asking."""

NO_PRICE = (
    "--confirm-over {over:g} cannot be kept: what {tasks} would cost is not known. Add a line to the "
    "manifest, as `price: 0.02` (credits per image), or say -y; nothing was submitted"
)


def confirmation(job: str, listening: AbstractContextManager[Listener], over: float | None) -> Confirm | None:
    """Somebody at a terminal is asked before more than `over` credits are spent, or nobody knows how many; a
    program is never asked, and runs only where no limit was set or the cost keeps below it.

    What it gives raises UsageError where a limit was set and the cost is not known.
    """
    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if over is None and not terminal:
        return None
    from batcher import errors
    from batcher.progress.summary import credits, several

    limit = ASKED_OVER if over is None else over

    def confirm(cost: float | None, tasks: int) -> bool:
        if cost is None:
            if over is not None:
                raise errors.UsageError(NO_PRICE.format(over=over, tasks=several(tasks, "task", "tasks")))
            about = f"cost not known, {several(tasks, 'task', 'tasks')}"
        elif cost <= limit or not terminal:
            return cost <= limit
        else:
            about = f"{several(tasks, 'task', 'tasks')}, about {credits(cost)} credits"
        return _asked(job, listening, about)

    return confirm


def edit_confirmation(job: str, listening: AbstractContextManager[Listener]) -> ConfirmEdit | None:
    """Somebody at a terminal is asked before an edited value makes delivered pictures anew, whatever that
    costs; a program is asked nothing more than `confirmation` asks."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from batcher.progress.summary import credits, several

    def confirm(anew: int, cost: float | None, tasks: int) -> bool:
        pictures = several(anew, "delivered picture", "delivered pictures")
        spent = "cost not known" if cost is None else f"about {credits(cost)} credits"
        return _asked(job, listening, f"{several(tasks, 'task', 'tasks')}, {spent}, {pictures} made anew")

    return confirm


def _asked(job: str, listening: AbstractContextManager[Listener], about: str) -> bool:
    listening.__exit__(None, None, None)  # a live block would draw over the question
    try:
        with _interruptible():
            answer = ask(f"{job}: {about}; go on?")
    except click.Abort:
        echo(err=True)
        echo("batcher: interrupted at the question; nothing was submitted", err=True)
        raise
    listening.__enter__()
    return answer


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt. The event loop's handler only cancels a task, which cannot notice
    while the question stands in the loop's thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
