"""The format JSON: a list of objects. It has no lines of its own, so its rows go by number.

Rule: what calls itself .json and has an object a line, as `datasets` and pandas write it, is JSON Lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from batcher.job.row import Row
from batcher.job.sources.streams import as_text
from batcher.job.sources.tables import strict_json
from batcher.job.sources.tables.json_lines import rows_of_lines
from batcher.job.sources.tables.table_context import TableContext

SUFFIXES: tuple[str, ...] = (".json",)

LARGEST = 256_000_000
"""Characters: it has to be held whole; JSON Lines streams."""


def rows(file: IO[bytes], table: TableContext) -> Iterator[Row]:
    """A row per object."""
    with as_text(file) as characters:
        text = characters.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"is larger than {LARGEST // 1_000_000} MB; make it .jsonl, which streams")
    try:
        values = strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        if _is_json_lines(text, error):
            lines = enumerate(text.split("\n"), 1)
            yield from rows_of_lines(((number, line) for number, line in lines if line.strip()), table)
            return
        table.error(getattr(error, "lineno", 0), f"is not JSON: {strict_json.reason(error)}")
        return
    if not isinstance(values, list):
        table.error(1, "is not a list of objects")
        return
    for number, value in enumerate(values, 1):
        if isinstance(value, dict) and value:
            yield Row(value, table.file, 0, number, table.folder)
        else:
            table.row(0, f"row {number} {strict_json.NOT_AN_OBJECT}")


def _is_json_lines(text: str, error: Exception) -> bool:
    """Whether an object stands in the first line, and more behind it in others."""
    if not isinstance(error, json.JSONDecodeError) or error.msg != "Extra data":
        return False
    first, behind = text[: error.pos], text[error.pos :]
    return first.lstrip().startswith("{") and behind.startswith("{") and "\n" not in first.strip()
