"""The kind `rows:` of a source: rows that stand in the manifest itself."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

from pydantic import StrictStr

from batcher.job.row import Row
from batcher.job.sources import source_kind
from batcher.job.sources.source_kind import SourceContext

KEY = "rows"
TYPE = tuple[dict[StrictStr, Any], ...]
DESCRIPTION = "Rows written down here."
HAS_PICTURES = False
IF_EMPTY = source_kind.HAS_NO_ROWS

# Relative paths in cells stay as they are: they start from the manifest's folder, wherever its copy lies.
resolved = source_kind.no_paths
files = source_kind.no_files
rows_of = source_kind.rows_of_no_files
stamps = source_kind.no_stamps
names_files = source_kind.names_files


def columns(value: Any) -> Set[str] | None:
    """Every column that some row has."""
    if not isinstance(value, list | tuple) or not all(isinstance(row, dict) for row in value):
        return None
    return set[str]().union(*value)


def rows(source: SourceContext) -> Iterator[Row]:
    """The rows as they stand there."""
    for number, cells in enumerate(source.value, 1):
        if not cells:
            source.error("is empty; a row needs at least one column", number - 1)
            continue
        line = source.place((*source.key, number - 1), "").line
        yield Row(cells, source.file, line, number, source.folder)
