"""What came from outside, as a terminal, a log or a file that people look at may have it: names, texts and
messages of others can hold control codes, marks that turn a line round, and ends of lines.

Rule: for people it is cleaned, for programs it is escaped and nothing of it is lost.
"""

from __future__ import annotations

import json
from typing import Any, TextIO


def printable(text: str, encoding: str | None = "utf-8") -> str:
    """Foreign text on one line: no control codes, no direction marks, nothing that the encoding lacks."""
    flat = (
        text
        if text.isprintable()
        else "".join(
            char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
            for char in text
        )
    )
    return flat.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8", "replace")


def printable_lines(text: str, encoding: str | None = "utf-8") -> str:
    """Text whose line feeds are ours, each line of it printable."""
    return "\n".join(printable(line, encoding) for line in text.split("\n"))


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON that can be shown as well as read: what would steer a terminal or end a line is escaped."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    return text if text.isascii() and "\x7f" not in text else text.translate(_ESCAPES)


_STEERING = (
    *range(0x7F, 0xA0),  # delete, and the C1 controls, of which U+009B begins what ESC [ begins
    0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF,
)  # fmt: skip
_ESCAPES = {code: f"\\u{code:04x}" for code in _STEERING}
"""Marks of direction, ends of lines, and what is not seen; JSON itself escapes what is below U+0020."""


class PrintableStream:
    """A text stream through which no control code passes: standard error, on which libraries, warnings and
    tracebacks write too. Line feeds pass."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """As a stream does."""
        self.stream.write(printable_lines(text, self.stream.encoding))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """As a stream does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
