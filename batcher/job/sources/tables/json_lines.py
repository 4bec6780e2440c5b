"""The format JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any

from batcher.job.row import Row
from batcher.job.sources.tables import strict_json
from batcher.job.sources.tables.table_context import TableContext
from batcher.job.sources.tables.text_lines import numbered_lines

SUFFIXES: tuple[str, ...] = (".jsonl", ".ndjson")


def rows(file: IO[bytes], table: TableContext) -> Iterator[Row]:
    """A row per line that is not blank."""
    return rows_of_lines(numbered_lines(file), table)


def rows_of_lines(lines: Iterable[tuple[int, str]], table: TableContext) -> Iterator[Row]:
    """A row for each of these lines, which come with their numbers."""
    for number, (line_number, line) in enumerate(lines, 1):
        try:
            value = strict_json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == 1 and line.lstrip().startswith("["):
                table.error(line_number, "is one list of rows, as .json has them, and not a row a line")
                return
            reason = f"row {number} is not JSON: {strict_json.reason(error)}"
            table.row(line_number, reason, getattr(error, "colno", 1))
            continue
        columns = _object(value, number, line_number, table)
        if columns is not None:
            yield Row(columns, table.file, line_number, number, table.folder)


def _object(value: Any, number: int, line_number: int, table: TableContext) -> dict[str, Any] | None:
    if isinstance(value, dict) and value:
        return value
    table.row(line_number, f"row {number} {strict_json.NOT_AN_OBJECT}")
    return None
