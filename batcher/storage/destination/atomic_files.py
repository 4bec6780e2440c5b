"""Files of this disk: a file is written anew as a whole, or stays as it was."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from batcher import errors


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """The system's refusals (full, read-only, gone) become DiskError."""
    try:
        yield
    except OSError as error:
        raise errors.DiskError(f"{error.filename or path}: {error.strerror or error}") from error


def replace(path: Path, lines: Iterable[str]) -> None:
    """The file as a whole, or as it was."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    with open(unfinished, "w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def sync_folder(path: Path) -> None:
    """A rename is durable when its folder is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
