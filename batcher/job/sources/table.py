"""The kind `table:` of a source: a file of rows, by its suffix one of `tables.FORMATS`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic import StrictStr

from batcher.job.row import Row
from batcher.job.sources import source_kind
from batcher.job.sources.source_kind import Resolve, SourceContext, is_local_picture
from batcher.job.sources.streams import STDIN, stamped
from batcher.job.sources.tables import FORMATS, TableContext, table_rows
from batcher.storage.addresses import is_stored

KEY = "table"
TYPE = StrictStr
DESCRIPTION = (
    f"A table: {', '.join(FORMATS)} (.txt: a row per line, column text); s3://...; - reads JSON Lines from "
    "standard input."
)
HAS_PICTURES = False
IF_EMPTY = source_kind.HAS_NO_ROWS

columns = source_kind.unknown_columns
files = source_kind.no_files
rows_of = source_kind.rows_of_no_files


def resolved(value: Any, resolve: Resolve) -> Any:
    """The table's absolute path."""
    return resolve(value)


def rows(source: SourceContext) -> Iterator[Row]:
    """The rows, read as they are asked for."""
    path = source.resolve(source.value)
    if path == STDIN:
        shown, folder = "standard input", source.folder
    else:
        whole = os.path.isabs(os.path.expanduser(source.value)) or is_stored(source.value)
        shown = path if whole else os.path.relpath(path, source.folder)
        folder = os.path.dirname(path)
    return table_rows(TableContext(shown, path, folder, source.diagnostics, source.error))


def stamps(source: SourceContext) -> Iterator[str]:
    """The file's size and time, or its content's digest where there is no time."""
    yield stamped(source.resolve(source.value))


def names_files(source: SourceContext) -> bool:
    """Whether one of the first rows names a local picture."""
    first = islice(rows(source), source_kind.PROBED)
    return any(is_local_picture(cell) for row in first for cell in row.columns.values())
