"""A run on a terminal: one live block that says how it goes and what it costs, then the closing summary.

Rule: drawn on events only, a few times a second, by no thread of its own; nothing that came from outside is
read as markup or reaches the terminal as control codes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.segment import ControlType, Segment
from rich.text import Text

from batcher.progress import (
    Event,
    Finished,
    Message,
    Planning,
    Snapshot,
    Started,
    StateChanged,
    closing_text,
    summary,
)
from batcher.progress.closing_text import Tone
from batcher.progress.printable import PrintableStream, printable

REDRAW_SECONDS = 0.2
WIDEST = 100
"""Columns; longer lines are hard to read, and would fold when a wide terminal is narrowed."""
INDENT = closing_text.LABEL + 1
"""Columns of a row's label, and what stands between it and its row."""
GAP = "  "
TOP_REASONS = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """How a stage shows in the bar and its legend: told apart without colour, and without Unicode."""

    glyph: str
    ascii: str
    style: str


LOOKS: Mapping[str, Layout] = {
    "done": Layout("█", "#", "green"),
    "rejected": Layout("▚", "-", "magenta"),
    "failed": Layout("×", "x", "bold red"),
    "doubtful": Layout("?", "?", "bold yellow"),
    "fetching": Layout("▓", "+", "cyan"),
    "in flight": Layout("▒", "=", "blue"),
    "planned": Layout("░", ".", "dim"),
}
"""In the bar's order, from the left."""

TONES: Mapping[Tone, str] = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.CAUTION: "yellow",
    Tone.BAD: "red",
    Tone.VERBATIM: "bold",
}


def plain_console(stream: TextIO | None = None, **settings: Any) -> Console:
    """A console on `stream` (standard output) to which brackets in a text are just that. What others
    write to standard error passes through it while the block stands."""
    return Console(file=stream, markup=False, emoji=False, highlight=False, **settings)


class Terminal:
    """A listener that keeps one block at the foot of the terminal; a context manager, entered before the run.

    `command` is what the user typed, `repair` what pays again for files that are gone, `job` the job as other
    commands take it, quoted. `console` (a `plain_console`) must be a terminal that is not dumb (elsewhere:
    lines.Lines); it defaults to standard output. `clock` gives monotonic seconds, to draw at most five times
    a second.
    """

    def __init__(
        self,
        command: str,
        *,
        repair: str = closing_text.REPAIR,
        job: str = closing_text.JOB,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or plain_console()
        self._closing = partial(closing_text.closing, command=command, repair=repair, job=job)
        self._clock = clock
        self._output = ""
        self._block: Block | None = None
        self._drawn = -REDRAW_SECONDS
        self._drawn_width = self._console.width
        self._gone = False
        # stdout stays untouched: it may carry the JSON while the block is on stderr.
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            get_renderable=lambda: self._block or "",
        )

    def __enter__(self) -> Self:
        self._attempt(self._live.start)
        # What others write to standard error goes above the block by way of rich, and is cleaned before it.
        if isinstance(sys.stderr, FileProxy):
            sys.stderr = cast(Any, PrintableStream(cast(Any, sys.stderr)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """A run that ended without its summary leaves the last block standing."""
        self._attempt(self._live.stop)

    def __call__(self, event: Event) -> None:
        match event:
            case Planning(tasks):
                self._show(Block(planning=tasks))
            case Started():
                self._output = event.output
            case Message(text, level):
                self._attempt(lambda: self._note(text, level))
            case Snapshot():
                before = self._block.snapshot if self._block else None
                self._show(Block(event), at_once=before is None or before.stopping != event.stopping)
            case Finished():
                self._attempt(lambda: self._close(event))
            case StateChanged():
                pass

    def _show(self, block: Block, *, at_once: bool = False) -> None:
        now = self._clock()
        if at_once or now - self._drawn >= REDRAW_SECONDS:
            self._drawn = now
            self._attempt(lambda: self._draw(block))

    def _draw(self, block: Block) -> None:
        self._unfold()
        self._block = block
        self._live.refresh()

    def _note(self, text: str, level: str) -> None:
        self._unfold()
        note = Text(f"{level}: ", style="bold yellow" if level == "warning" else "bold red")
        self._console.print(
            (Text() if level == "info" else note).append(self._printable(text), style="default")
        )

    def _close(self, finished: Finished) -> None:
        self._unfold()
        self._block = None
        self._live.transient = True
        self._live.stop()
        headline, *rest = self._closing(finished, output=self._output)
        self._console.print(Text(self._printable(headline.text), style=f"bold {TONES[headline.tone]}"))
        for line in rest:
            facts = line.facts or (line.text,)
            texts = [Text(self._printable(fact), style=TONES[line.tone]) for fact in facts]
            # What is to be copied stays on one line; the terminal itself may fold it.
            room = 10**6 if line.tone is Tone.VERBATIM else min(self._console.width, WIDEST)
            for part in row(self._console, line.label, texts, room):
                self._console.print(part, soft_wrap=line.tone is Tone.VERBATIM)

    def _unfold(self) -> None:
        """A terminal that was made narrower has folded the lines it shows, and rich goes up by unfolded ones:
        erases the rows that came of it."""
        width = self._console.width
        if self._block and self._live.is_started and width < self._drawn_width:
            before = self._console.options.update_width(self._drawn_width)
            lines = self._console.render_lines(self._block, before, pad=False)[: self._console.height]
            folds = sum(max(0, Segment.get_line_length(line) - 1) // width for line in lines)
            up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._console.control(Control(*up * folds))
        self._drawn_width = width

    def _attempt(self, write: Callable[[], None]) -> None:
        """A terminal that is gone must not take the run with it; rich turns a broken pipe into SystemExit."""
        if self._gone:
            return
        try:
            write()
        except (OSError, SystemExit):
            self._gone = True

    def _printable(self, text: str) -> str:
        return printable(text, self._console.encoding)


@dataclass(frozen=True, slots=True)
class Block:
    """What the terminal shows at one moment: a snapshot, or how far planning is."""

    snapshot: Snapshot | None = None
    planning: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, WIDEST)
        if self.snapshot is None:
            yield Text(f"planning: {summary.several(self.planning, 'task', 'tasks')} so far")
            return
        yield _head(self.snapshot, width, console.encoding)
        shown = summary.this_time(self.snapshot)
        yield bar(shown, width, ascii_only=options.ascii_only)
        yield from _stages(console, shown, width, ascii_only=options.ascii_only)
        yield Text()
        yield from _rows(console, shown, width, ascii_only=options.ascii_only)


def bar(snapshot: Snapshot, width: int, *, ascii_only: bool) -> Text:
    """All tasks as one bar; every stage that holds a task shows, so that one failure in a million is seen."""
    at = summary.stages(snapshot)
    cells = apportion([at.get(stage, 0) for stage in LOOKS], width)
    text = Text(no_wrap=True)
    for look, length in zip(LOOKS.values(), cells, strict=True):
        text.append((look.ascii if ascii_only else look.glyph) * length, style=look.style)
    return text


def apportion(amounts: Sequence[int], cells: int) -> list[int]:
    """So many of `cells` for each amount: one for whatever is not zero, the others in proportion."""
    total = sum(amounts)
    spare = max(0, cells - sum(amount > 0 for amount in amounts))
    shares = [amount * spare / total if total else 0.0 for amount in amounts]
    given = [int(share) + (amount > 0) for share, amount in zip(shares, amounts, strict=True)]
    by_remainder = sorted(range(len(amounts)), key=lambda place: int(shares[place]) - shares[place])
    for place in by_remainder[: max(0, cells - sum(given)) if total else 0]:
        given[place] += 1
    return given


def row(console: Console, label: str, parts: Sequence[Text], width: int) -> Iterator[Text]:
    """Parts beside a label, as many on a line as there is room for, the others below; long ones fold."""
    room = max(width - INDENT, 1)
    pieces = [piece for part in parts for piece in part.wrap(console, room)]
    line, empty = Text().append(label.ljust(INDENT), style="dim"), True
    for piece in pieces:
        piece.rstrip()
        if not empty and line.cell_len + len(GAP) + piece.cell_len > width:
            yield line
            line, empty = Text(" " * INDENT), True
        line.append("" if empty else GAP).append_text(piece)
        empty = False
    yield line


def _head(snapshot: Snapshot, width: int, encoding: str) -> Text:
    """The job and its model on the left, how far and how long on the right."""
    right = f"{summary.of_all(snapshot)}   {summary.clock(snapshot.elapsed)}"
    title = Text(no_wrap=True).append(printable(snapshot.job, encoding), style="bold")
    title.append(f"{GAP}{printable(snapshot.model, encoding)}", style="dim")
    title.truncate(max(width - len(right) - len(GAP), 1), overflow="crop", pad=True)
    return title.append(f"{GAP}{right}", style="bold")


def _stages(console: Console, snapshot: Snapshot, width: int, *, ascii_only: bool) -> Iterator[Text]:
    """The stages in the order a task passes them, as columns that stay where they are; in a narrow terminal
    in a row. Each with the sign that stands for it in the bar."""
    at = summary.stages(snapshot)
    glyphs = {stage: LOOKS[stage].ascii if ascii_only else LOOKS[stage].glyph for stage in at}
    column = min(width // len(at), 16)
    if column < max(len(f"{number:,}") for number in at.values()) + 2 or column < 12:
        parts = [
            Text(f"{glyphs[stage]} {stage} {number:,}", style=LOOKS[stage].style)
            for stage, number in at.items()
        ]
        yield from row(console, "tasks", parts, width)
        return
    names, numbers = Text(no_wrap=True), Text(no_wrap=True)
    for stage, number in at.items():
        style = LOOKS[stage].style if number else "dim"
        names.append(f"{glyphs[stage]} {stage}".ljust(column), style=style)
        numbers.append(f"  {number:,}".ljust(column), style=f"bold {style}" if number else "dim")
    names.rstrip()
    numbers.rstrip()
    yield names
    yield numbers


def _rows(console: Console, snapshot: Snapshot, width: int, *, ascii_only: bool) -> Iterator[Text]:
    """What it is at, how fast, what it costs, how long still, and why tasks failed."""
    encoding = console.encoding
    doing = Text(printable(summary.activity(snapshot), encoding), style="yellow" if snapshot.stopping else "")
    yield from row(console, "now", [doing], width)
    yield from row(console, "pace", [Text(part) for part in summary.pace(snapshot)], width)
    yield from row(console, "money", [Text(part) for part in summary.money(snapshot)], width)
    yield from row(console, "left", [Text(summary.left(snapshot))], width)
    counted = list(summary.reasons(snapshot.failures, TOP_REASONS))
    digits = max((len(f"{number:,}") for number, _ in counted), default=0)
    for place, (number, reason) in enumerate(counted):
        line = Text(no_wrap=True).append(("" if place else "failed").ljust(INDENT), style="dim")
        line.append(f"{number:>{digits},} x {printable(reason, encoding)}", style="red")
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
        yield line
