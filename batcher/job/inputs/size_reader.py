"""The size of a picture, upright, read from its header and remembered.

Rule: a picture whose size cannot be read is told by name; none is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from batcher import errors
from batcher.storage import pictures, stores

HELD = 10_000
"""Sizes kept in memory: a picture comes once for each row of the other sources."""

SizeReader = Callable[[str], tuple[int, int]]
"""Width and height of the picture at an absolute path or an address, upright. It raises OSError where the
file cannot be read, ValueError where it is no picture."""


def size_reader() -> SizeReader:
    """A SizeReader that remembers."""
    return lru_cache(maxsize=HELD)(_read_size)


def _read_size(path: str) -> tuple[int, int]:
    with stores.open_address(path) as file:
        try:
            return pictures.upright_size(file)
        except errors.BadDownload as error:
            raise ValueError(error.message) from None
