"""Opens what a table is read from: a local file, an object of a store, or standard input.

Law: standard input can be read once and is needed more often (its hash, its rows, the rows again): it is
copied aside when it is first asked for.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from functools import cache
from typing import IO

from batcher import pictures, stores
from batcher.plan import is_stored

STDIN = "-"


def opened(path: str) -> IO[bytes]:
    """The bytes of a table, seekable. Raises OSError, MissingExtra."""
    if path == STDIN:
        return open(_standard_input(), "rb")
    return stores.opened(path) if is_stored(path) else open(path, "rb")


def as_text(file: IO[bytes], *, newline: str | None = None) -> io.TextIOWrapper:
    """Its text, UTF-8 with or without a mark in front."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)


def stamp(path: str) -> str:
    """What changes when the file does. Raises OSError, MissingExtra."""
    if path == STDIN:
        with opened(path) as file:
            return pictures.digest(file)
    if is_stored(path):
        found = stores.stat(path)
        # Where nothing tells a changed file of the same size from the old one, its content does.
        return found.stamp if found.tag or found.changed else stores.digest(path, fresh=True)
    local = os.stat(path)
    return f"{local.st_size} {local.st_mtime_ns}"


@cache
def _standard_input() -> str:
    """The file into which standard input was copied; it goes with the process."""
    stream = sys.stdin
    if stream is None or stream.isatty():
        raise OSError(5, "is a terminal; pipe JSON Lines into it: make-rows | batcher run job.yaml")
    copy = tempfile.NamedTemporaryFile(prefix="batcher-stdin-")  # noqa: SIM115  # it lives as long as we do
    while chunk := stream.buffer.read(1 << 20):
        copy.write(chunk)
    copy.flush()
    _kept.append(copy)
    return copy.name


_kept: list[object] = []
