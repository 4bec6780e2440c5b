"""The members of a JSON object in a file, one by one, however large it is: `{"images": [...], ...}`.

Rule: of a list one item is held at a time, and where it stands in the file; whoever wants it again reads it
there. Bytes beyond ASCII stand in strings alone, so that the structure is found without decoding them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

CHUNK = 1 << 20
LARGEST = 64 << 20
"""Bytes of one item."""
_DECODE = json.JSONDecoder().raw_decode
_BLANKS = " \t\r\n"


class Member(NamedTuple):
    """An item of a list at the top, or another value there; and its bytes in the file. `value` is only for a
    look: its texts are not decoded. Without `size`: the list of this key begins."""

    key: str
    value: Any
    offset: int = 0
    size: int = 0


class NoJson(ValueError):
    """The file is none; with the place (bytes from its start) and what is wrong there, in words."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def members(file: IO[bytes]) -> Iterator[Member]:
    """The members of the object that the file holds, in its order. Raises NoJson, OSError."""
    window = _Window(file)
    window.expect("{", "is no JSON object")
    if window.peek() != "}":
        while True:
            key, _, _ = window.value()
            if not isinstance(key, str):
                raise NoJson("a key of it is no text", window.offset)
            window.expect(":", "a `:` is missing")
            if window.peek() == "[":
                yield Member(key, None)
                yield from _items(window, key)
            else:
                yield Member(key, *window.value())
            if window.peek() != ",":
                break
            window.expect(",", "")
    window.expect("}", "a `,` or the end of the object is missing")
    if window.peek():
        raise NoJson("something stands behind the object", window.offset)


def read(file: IO[bytes], offset: int, size: int) -> Any:
    """The value that stands there. Raises ValueError, OSError."""
    file.seek(offset)
    return json.loads(file.read(size))


def line_at(file: IO[bytes], offset: int) -> int:
    """The line (from 1) of this place. Raises OSError."""
    file.seek(0)
    lines = 1
    while offset > 0 and (chunk := file.read(min(CHUNK, offset))):
        lines += chunk.count(b"\n")
        offset -= len(chunk)
    return lines


def _items(window: _Window, key: str) -> Iterator[Member]:
    window.expect("[", "")
    if window.peek() != "]":
        while True:
            yield Member(key, *window.value())
            if window.peek() != ",":
                break
            window.expect(",", "")
    window.expect("]", "a `,` or the end of the list is missing")


class _Window:
    """What is at hand of the file's text, from a place on."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._base = 0
        self._ended = False
        self._more()
        if self._text.startswith("\xef\xbb\xbf"):
            self._at = 3

    @property
    def offset(self) -> int:
        return self._base + self._at

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._text):
                if (character := self._text[self._at]) not in _BLANKS:
                    return character
                self._at += 1
            if self._ended:
                return ""
            self._more()

    def expect(self, character: str, otherwise: str) -> None:
        if self.peek() != character:
            raise NoJson(otherwise, self.offset)
        self._at += 1

    def value(self) -> tuple[Any, int, int]:
        """The next value, where it stands and how many bytes it has."""
        self.peek()
        while True:
            try:
                value, end = _DECODE(self._text, self._at)
                if end < len(self._text) or self._ended:
                    break
            except RecursionError:
                raise NoJson("is nested too deeply", self.offset) from None
            except ValueError as error:
                if self._ended:
                    at = getattr(error, "pos", self._at)
                    raise NoJson(f"is not JSON: {getattr(error, 'msg', error)}", self._base + at) from None
            if len(self._text) - self._at > LARGEST:
                raise NoJson(f"an entry is larger than {LARGEST >> 20} MB, or not JSON", self.offset)
            self._more()
        start, size = self.offset, end - self._at
        self._at = end
        return value, start, size

    def _more(self) -> None:
        """As much again as is at hand: an item that is cut is not looked at more than a few times."""
        rest = self._text[self._at :]
        self._base += self._at
        self._at = 0
        read = self._file.read(max(CHUNK, len(rest)))
        self._ended = not read
        self._text = rest + read.decode("latin-1")
