"""What a command prints: lines for people, objects for programs.

Rule: nothing else writes to a terminal, but the listeners of a run in `progress`; what came from outside may
hold anything, so everything is cleaned here, and a stream gets what it can show.
"""

from __future__ import annotations

import io
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import click

from batcher.progress.printable import PrintableStream, json_text, printable

WIDEST = 120
"""Columns; longer lines are hard to read."""
USUAL = 80
"""Columns of a terminal that does not tell."""


class Styled(NamedTuple):
    """A part of a line, as it looks on a terminal."""

    text: str
    bold: bool = False
    dim: bool = False


def echo(*parts: str | Styled, err: bool = False) -> None:
    """Prints one line, without control codes and in what the stream can spell."""
    # Looked up each time: while a live block stands, what comes on standard error goes above it.
    stream = sys.stderr if err else sys.stdout
    styled = stream.isatty()
    line = ""
    for part in parts:
        text, bold, dim = part if isinstance(part, Styled) else Styled(part)
        shown = printable(text, stream.encoding)
        line += click.style(shown, bold=bold or None, dim=dim or None) if styled and (bold or dim) else shown
    stream.write(f"{line}\n")
    stream.flush()


def echo_lines(lines: Sequence[str], *, err: bool = False) -> None:
    """Prints each on a line of its own."""
    for line in lines:
        echo(line, err=err)


def echo_sentences(lines: Sequence[str], *, err: bool = False) -> None:
    """Prints each, folded to the width of a terminal. What begins with a blank is laid out already (a line of
    a file and the caret below it), and stays so."""
    stream = sys.stderr if err else sys.stdout
    columns = terminal_width(err=err) if stream.isatty() else None
    for line in lines:
        as_it_is = columns is None or line[:1] == " "
        echo_lines([line] if as_it_is else folded(line, columns or USUAL), err=err)


def folded(text: str, columns: int) -> list[str]:
    """The text, clean, in lines of at most so many columns; words are kept whole, and so are paths and URLs,
    which are there to be copied."""
    return textwrap.wrap(printable(text), columns, break_long_words=False, break_on_hyphens=False) or [""]


def terminal_width(*, err: bool = False) -> int:
    """Columns to fold to on the terminal that a stream is."""
    stream = sys.stderr if err else sys.stdout
    try:
        columns = int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(stream.fileno()).columns
    except (ValueError, OSError):
        columns = 0
    return min(columns or USUAL, WIDEST)


def echo_json(value: Any, *, indent: int | None = None) -> None:
    """Prints a value as JSON on stdout, escaped as far as a terminal or the stream's encoding needs it."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    sys.stdout.write(json_text(value, indent=indent, ascii_only=not is_utf8) + "\n")
    sys.stdout.flush()


def echo_usage(error: click.ClickException) -> None:
    """Prints what click has to say of the command line, on stderr."""
    context = getattr(error, "ctx", None)
    # Lines are those of a help; what was typed forges none.
    is_help = context is not None and error.message == context.get_help()
    lines = error.message.split("\n") if is_help else [error.message]
    vars(error)["message"] = "\n".join(map(printable, lines))
    with io.StringIO() as text:
        error.show(file=text)
        echo_sentences(text.getvalue().rstrip("\n").split("\n"), err=True)


def echo_traceback() -> None:
    """Prints the exception that is being handled, on stderr."""
    echo_lines(traceback.format_exc().rstrip("\n").split("\n"), err=True)


def ask(question: str) -> bool:
    """Asks on stderr. Raises click.Abort where nobody answers."""
    return click.confirm(printable(question, sys.stderr.encoding), err=True)


def prompt(question: str, convert: Callable[[str], Any]) -> Any:
    """Asks until `convert` takes the answer; what it raises, a click.UsageError, is told."""

    def converted(answer: str) -> Any:
        try:
            return convert(answer)
        except click.UsageError as error:
            raise click.UsageError(printable(error.message)) from None

    return click.prompt(printable(question, sys.stdout.encoding), value_proc=converted)


def guard_streams() -> None:
    """What a stream's encoding lacks (Latin-1 has no Japanese) is spelled as an escape from here on: the name
    of a picture must end no command. Nor does standard error let control codes pass, whoever writes there."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stderr = cast(Any, PrintableStream(sys.stderr))


def raw(stream: Any) -> Any:
    """The stream itself, for a listener that draws and cleans what it draws."""
    return stream.stream if isinstance(stream, PrintableStream) else stream
