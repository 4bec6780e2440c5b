"""Rows of a Parquet file, a batch of them at a time.

Rule: a cell becomes what JSON has for it. A column for which JSON has nothing, as the bytes of pictures, is
left out, and told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any

from batcher.plan import Row
from batcher.sources.tables.reading import Table
from batcher.stores import MissingExtra

BATCH = 1000
"""Rows that are held at a time."""


def parquet(file: IO[bytes], table: Table) -> Iterator[Row]:
    """The rows of an open Parquet file. Raises MissingExtra; ValueError when it is none."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(
            "reading Parquet needs the extra `parquet`: pip install 'batcher[parquet]'"
        ) from None
    try:
        found = pyarrow.parquet.ParquetFile(file)
        names = _columns(found.schema_arrow, table)
        number = 0
        for batch in found.iter_batches(batch_size=BATCH, columns=names):
            for values in batch.to_pylist():
                number += 1
                yield Row(
                    {name: plain(value) for name, value in values.items()},
                    table.file,
                    0,
                    number,
                    table.folder,
                )
    except pyarrow.ArrowException as error:
        raise ValueError(f"is not Parquet that can be read: {' '.join(str(error).split())[:300]}") from error


def _columns(schema: Any, table: Table) -> list[str]:
    """The columns that JSON can hold."""
    names: list[str] = []
    for field in schema:
        if _is_bytes(field.type):
            table.note(f"{table.file}: the column `{field.name}` holds bytes, not text; it is left out")
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
