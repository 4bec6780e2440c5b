"""Rows of a Parquet file, a batch of them at a time.

Rule: a cell becomes what JSON has for it. A column for which JSON has nothing, as the bytes of pictures, is
left out, and told; pictures are what a `dataset:` is read for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any

from batcher.job.row import Row
from batcher.job.sources.tables.table_context import TableContext
from batcher.storage.stores import parquet_cells

SUFFIXES: tuple[str, ...] = (".parquet",)

BATCH = 1000
"""Rows that are held at a time."""


def rows(file: IO[bytes], table: TableContext) -> Iterator[Row]:
    """The rows of a Parquet file. Raises MissingExtra; ValueError when it is none."""
    opened = parquet_cells.open_parquet(file)
    names = readable(opened.schema_arrow, table.file, table.diagnostics.warn)
    for number, values in enumerate(values_of(opened, BATCH, names), 1):
        whole = {name: plain(value) for name, value in values.items()}
        yield Row(whole, table.file, 0, number, table.folder)


def values_of(file: Any, batch_size: int, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of an open Parquet file, `batch_size` of them held at a time. Raises ValueError when it breaks
    off."""
    with parquet_cells.parquet_errors():
        for batch in file.iter_batches(batch_size=batch_size, columns=names):
            yield from batch.to_pylist()


def readable(
    schema: Any, file: str, warn: Callable[[str], None], pictures: Collection[str] = ()
) -> list[str]:
    """The columns that JSON can hold, and those that are read as `pictures`; the others are told."""
    names: list[str] = []
    for field in schema:
        if field.name not in pictures and _is_bytes(field.type):
            hint = ""
            if parquet_cells.is_picture(field.type):
                hint = f"; `dataset: {file}` reads them as pictures"
            warn(f"{file}: the column `{field.name}` holds bytes, not text; it is left out{hint}")
        elif field.name in names:
            raise ValueError(f"has two columns `{field.name}`; rename one")
        else:
            names.append(field.name)
    if not names:
        raise ValueError("has no column of text or numbers")
    return names


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return any(_is_bytes(kind.field(at).type) for at in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_bytes(kind.value_type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def plain(value: Any) -> Any:
    """The cell as JSON has it: dates as ISO text, decimals as numbers, no NaN."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value)
