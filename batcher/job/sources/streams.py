"""The bytes of a file that a source reads: a local file, an object of a store, or standard input.

Rule: standard input can be read once and is needed more often (its hash, its rows, the rows again): it is
copied aside when it is first asked for.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tempfile
from functools import cache
from typing import IO, Any, cast

from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored

STDIN = "-"
PACKED = ".gz"
ABSENT = "\0-\n"
"""How the stamp of a path ends at which there is no file."""


class _Unpacked(gzip.GzipFile):
    """A file that is packed with gzip; it closes that too."""

    def __init__(self, packed: IO[bytes]) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


def open_stream(path: str) -> IO[bytes]:
    """The bytes, seekable, and unpacked where they are packed with gzip. Raises OSError, MissingExtra."""
    if path == STDIN:
        return open(_standard_input().name, "rb")
    file = stores.open_address(path)
    return cast(IO[bytes], _Unpacked(file)) if path.lower().endswith(PACKED) else file


def as_text(file: IO[bytes], *, newline: str | None = None) -> io.TextIOWrapper:
    """Its text, UTF-8 with or without a mark in front."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)


def stamp(path: str) -> str:
    """What changes when the file does. Raises OSError, MissingExtra."""
    if path == STDIN:
        with open_stream(path) as file:
            return pictures.digest(file)
    if is_stored(path):
        facts = stores.stat(path)
        # Where nothing tells a changed file of the same size from the old one, its content does.
        return facts.stamp if facts.tag or facts.changed else stores.digest(path, fresh=True)
    local = os.stat(path)
    return f"{local.st_size} {local.st_mtime_ns}"


def stamped(path: str) -> str:
    """The path with its stamp, or with the word that there is no such file. Raises MissingExtra."""
    try:
        return f"{path}\0{stamp(path)}\n"
    except (OSError, ValueError):
        return f"{path}{ABSENT}"


@cache
def _standard_input() -> Any:
    """The file into which standard input was copied; it goes with the process, as standard input does."""
    stream = sys.stdin
    if stream is None or stream.isatty():
        raise OSError(5, "is a terminal; pipe JSON Lines into it: make-rows | batcher run job.yaml")
    copy = tempfile.NamedTemporaryFile(prefix="batcher-stdin-")  # noqa: SIM115  # it lives as long as we do
    while chunk := stream.buffer.read(1 << 20):
        copy.write(chunk)
    copy.flush()
    return copy
