"""metadata.parquet: the metadata of a split with the types of its columns, for splits that do not show them.

Rule: boxes stay numbers where one split has none. A reader of JSON learns a column's type from its values,
split by split, and refuses a dataset whose splits differ; a table says it. Only then is there one: lines are
read by more than `datasets`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any

from batcher.results.export.columns import TEXT, Columns, ColumnType
from batcher.results.export.metadata_files import MetadataLines, columns_named
from batcher.results.export.parquet import arrow_modules, arrow_type

TABLE = "metadata.parquet"
GROUP_ROWS = 1_000
"""Rows that are held at once, here and by whoever reads it."""


@dataclass(frozen=True, slots=True)
class MetadataTable:
    """The columns' types, and those columns for the sake of which there is a table."""

    kinds: Mapping[str, ColumnType]
    unsaid: Sequence[str]

    @classmethod
    def wanted(cls, columns: Columns) -> MetadataTable | None:
        """None: lines of JSON say every type, or pyarrow, an extra, is not installed."""
        unsaid = sorted({*columns.untyped(), *columns.dated()})
        if not unsaid or find_spec("pyarrow") is None:
            return None
        return cls(columns.kinds(), unsaid)

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        return [
            f"the metadata are in {TABLE}, which says the types of columns: not every split has values that "
            f"show {'that' if len(self.unsaid) == 1 else 'those'} of {columns_named(self.unsaid)}"
        ]

    def place(self, lines: Path, target: Path) -> None:
        """The table of these lines at `target`, whole or not at all; the lines go."""
        arrow, parquet = arrow_modules()
        columns = {"file_name": TEXT, **self.kinds}
        schema = arrow.schema([(name, arrow_type(arrow, kind)) for name, kind in columns.items()])
        unfinished = target.with_name(f".{target.name}.new")
        with open(lines, encoding="utf-8") as file, parquet.ParquetWriter(unfinished, schema) as writer:
            for rows in _groups(file):
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
        os.replace(unfinished, target)
        lines.unlink()


def untyped_notes(lines: MetadataLines) -> list[str]:
    """What a reader should know of columns whose types only a table could say."""
    notes = lines.notes
    if notes:
        notes.append("with pyarrow installed (pip install 'batcher[parquet]') these columns keep their types")
    return notes


def _groups(lines: IO[str]) -> Iterator[list[Any]]:
    while rows := [json.loads(line) for line in islice(lines, GROUP_ROWS)]:
        yield rows
