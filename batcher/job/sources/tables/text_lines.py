"""The format of a list of prompts: each line that is not blank is a row with the column `text`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from batcher.job.row import Row
from batcher.job.sources.streams import as_text
from batcher.job.sources.tables.table_context import TableContext

SUFFIXES: tuple[str, ...] = (".txt",)

COLUMN = "text"
MAX_LINE_CHARS = 16_000_000
"""Characters of one line."""


def rows(file: IO[bytes], table: TableContext) -> Iterator[Row]:
    """A row per line."""
    for number, (line_number, line) in enumerate(numbered_lines(file), 1):
        yield Row({COLUMN: line.strip()}, table.file, line_number, number, table.folder, frozenset({COLUMN}))


def numbered_lines(file: IO[bytes]) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1. Raises ValueError at one that is too long."""
    with as_text(file) as lines:
        number = 0
        while line := lines.readline(MAX_LINE_CHARS):
            number += 1
            if len(line) >= MAX_LINE_CHARS:
                raise ValueError(f"has a line of more than {MAX_LINE_CHARS} characters")
            if line.strip():
                yield number, line
