"""The format JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from batcher.job.row import Row
from batcher.job.sources.tables import strict_json
from batcher.job.sources.tables.table_context import TableContext
from batcher.job.sources.tables.text_lines import numbered_lines

SUFFIXES: tuple[str, ...] = (".jsonl", ".ndjson")


def rows(file: IO[bytes], table: TableContext) -> Iterator[Row]:
    """A row per line that is not blank."""
    for number, (line_number, line) in enumerate(numbered_lines(file), 1):
        columns = _object(line, number, line_number, table)
        if columns is not None:
            yield Row(columns, table.file, line_number, number, table.folder)


def _object(line: str, number: int, line_number: int, table: TableContext) -> dict[str, Any] | None:
    try:
        value = strict_json.loads(line)
    except (ValueError, RecursionError) as error:
        message = f"row {number} is not JSON: {strict_json.reason(error)}"
        table.row(line_number, message, getattr(error, "colno", 1))
        return None
    if isinstance(value, dict) and value:
        return value
    table.row(line_number, f"row {number} {strict_json.NOT_AN_OBJECT}")
    return None
