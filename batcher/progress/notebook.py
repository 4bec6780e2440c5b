"""A run in a notebook's cell: the terminal's block, drawn anew in its place, then the closing summary.

Rule: IPython is used where it is running already, and imported by nobody here; a front end that is gone takes
no run with it.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.jupyter import JupyterMixin
from rich.text import Text

from batcher.progress import Event, Finished, Listener, Message, Planning, Snapshot, Started, closing_text
from batcher.progress.printable import printable
from batcher.progress.terminal import TONES, Block, row

REDRAW_SECONDS = 0.5
MOST_NOTES = 20
"""Messages that stay above the block; log.jsonl has them all."""
GO_ON = "await run(job)"


def listener() -> Listener | None:
    """What shows a run in the cell that is being executed; None: this is no notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    return NotebookBlock(display)


class Drawing(JupyterMixin):
    """What the cell shows at one moment: messages, and the block or the summary."""

    def __init__(self, notes: list[Text], body: Any, output: str = "") -> None:
        self._notes, self._body, self._output = notes, body, output

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._notes
        if isinstance(self._body, Finished):
            yield from _closing(console, options.max_width, self._body, self._output)
        elif self._body is not None:
            yield self._body


class NotebookBlock:
    """A listener that keeps one output of a cell. `display` is IPython's; `clock` gives monotonic seconds, to
    draw at most twice a second."""

    def __init__(self, display: Callable[..., Any], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._display, self._clock = display, clock
        self._handle: Any = None
        self._output = ""
        self._notes: list[Text] = []
        self._body: Block | Finished | None = None
        self._drawn = -REDRAW_SECONDS

    def __call__(self, event: Event) -> None:
        match event:
            case Planning(tasks):
                self._show(Block(planning=tasks))
            case Snapshot():
                self._show(Block(event))
            case Message(text, level):
                note = Text("" if level == "info" else f"{level}: ", style="bold")
                self._notes = [*self._notes, note.append(printable(text), style="default")]
                self._notes = self._notes[-MOST_NOTES:]
                self._show(self._body, at_once=True)
            case Finished():
                self._show(event, at_once=True)
            case Started():
                self._output = event.output

    def _show(self, body: Block | Finished | None, *, at_once: bool = False) -> None:
        self._body = body
        now = self._clock()
        if not at_once and now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        drawing = Drawing(self._notes, body, self._output)
        try:
            if self._handle is None:
                self._handle = self._display(drawing, display_id=True)
            else:
                self._handle.update(drawing)
        except OSError:
            pass


def _closing(console: Console, width: int, finished: Finished, output: str) -> Iterator[Text]:
    """The summary; what a cell cannot do is said for the command line."""
    repair = shlex.join(["batcher", "verify", output, "--repair", "--repay"])
    headline, *rest = closing_text.closing(
        finished, command=GO_ON, repair=repair, job=shlex.quote(output), output=output
    )
    yield Text(printable(headline.text), style=f"bold {TONES[headline.tone]}")
    for line in rest:
        retried = line.text == f"{GO_ON} {closing_text.RETRY_FLAG}"
        text = f"{shlex.join(['batcher', 'retry', output])}, then {GO_ON}" if retried else line.text
        yield from row(console, line.label, [Text(printable(text), style=TONES[line.tone])], width)
