"""What a command prints: lines for people, objects for programs.

Rule: nothing else writes to a terminal, but the listeners of a run in `progress`; what came from outside may
hold anything, so everything is cleaned here, and a stream gets what it can show.
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import click

from batcher.progress.printable import PrintableStream, json_text, printable


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


def echo_json(value: Any, *, indent: int | None = None) -> None:
    """Prints a value as JSON on stdout, escaped as far as a terminal or the stream's encoding needs it."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    sys.stdout.write(json_text(value, indent=indent, ascii_only=not is_utf8) + "\n")
    sys.stdout.flush()


def echo_usage(error: click.ClickException) -> None:
    """Prints what click has to say of the command line, on stderr."""
    vars(error)["message"] = printable(error.message)
    with io.StringIO() as text:
        error.show(file=text)
        echo_lines(text.getvalue().rstrip("\n").split("\n"), err=True)


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
