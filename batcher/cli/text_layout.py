"""Titles, labelled facts and columns as plain text.

Rule: on a terminal it is folded to its width, elsewhere a row is a line. What came from outside passes
`printable` before it is shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from batcher.cli.echo import Styled, echo, folded, terminal_width
from batcher.progress.printable import printable

NARROWEST = 20
GAP = 2


def echo_title(name: str, beside: str = "") -> None:
    """A heading, and what stands beside it."""
    echo(Styled(name, bold=True), *(("  ", Styled(beside, dim=True)) if beside else ()))


def echo_facts(facts: Mapping[str, str], *, indent: int = 0) -> None:
    """A label and its value a line; values are folded beside their labels."""
    labels = {name: printable(name) for name in facts}
    room = indent + max((len(label) for label in labels.values()), default=0) + GAP
    for name, value in facts.items():
        label = labels[name]
        first, *others = folded_beside(value, room)
        echo(" " * indent, Styled(label, dim=True), " " * (room - indent - len(label)), first)
        for line in others:
            echo(" " * room, line)


def echo_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one is folded."""
    shown = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(len(row[place]) for row in (header, *shown)) + GAP for place in range(len(header) - 1)]
    echo(Styled("".join(_padded(header, widths)), dim=True))
    for *cells, last in shown:
        beginning = "".join(_padded(cells, widths))
        for line in folded_beside(last, sum(widths)):
            echo(f"{beginning}{line}".rstrip())
            beginning = " " * sum(widths)


def _padded(cells: Iterable[str], widths: Sequence[int]) -> Iterator[str]:
    padding = (*widths, 0)
    return (cell.ljust(padding[place]) for place, cell in enumerate(cells))


def folded_beside(value: str, taken: int) -> list[str]:
    """The lines of a value that stands beside so many columns."""
    return folded(value, max(NARROWEST, _width() - taken))


def _width() -> int:
    """Columns to fold to: the terminal's; endless where a program reads."""
    if not (sys.stdout.isatty() or os.environ.get("COLUMNS")):
        return sys.maxsize
    return terminal_width()
