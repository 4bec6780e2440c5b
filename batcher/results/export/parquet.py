"""Parquet with the pictures' bytes in it, as Hugging Face's readers decode them: `{bytes, path}`.

    DIR/<split>/00000.parquet

Rule: every shard of every split has one schema. pyarrow is an extra, and imported when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.results.export import batches
from batcher.results.export.columns import Columns, ColumnType, cast
from batcher.results.export.items import ExportItem
from batcher.results.export.loading import LoadedItem
from batcher.results.export.metadata_files import MASK_ROLES

GROUP_ROWS = 256
GROUP_BYTES = 64 << 20
"""A row group is what a reader holds at once."""


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """What every shard has: the columns' types, and the masks that there are (`mask`, `instance_mask`)."""

    kinds: Mapping[str, ColumnType]
    masks: tuple[str, ...]


class Parquet:
    """Writes one into `target`. Raises UsageError when pyarrow is not installed."""

    leads: frozenset[str] = frozenset()
    about = ""
    notes: tuple[str, ...] = ()

    def __init__(self, target: Path, columns: Columns) -> None:
        arrow_modules()
        kinds = columns.kinds()
        masks = tuple(role for role, column in MASK_ROLES.items() if kinds.pop(column, None) is not None)
        self.write = partial(_shard, target, ParquetFile(kinds, masks))
        self.largest = batches.SHARD_SAMPLES, batches.SHARD_BYTES
        self.take = batches.Shards(target, ".parquet").take

    def tops(self, splits: Collection[str]) -> list[str]:
        """One for each split."""
        return [*splits]

    def named(self, item: ExportItem) -> ExportItem:
        """A row is known by its file name."""
        return item

    def files(self, split: str) -> list[str]:
        """Every shard."""
        return [f"{split}/*.parquet"]

    def finish(self) -> None:
        """Every shard has its name."""

    def close(self) -> None:
        """Nothing is open."""


def arrow_modules() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet. Raises UsageError."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise errors.UsageError(
            "Parquet needs pyarrow, which is not installed: pip install 'batcher[parquet]'"
        ) from error


def _shard(target: Path, table: ParquetFile, split: str, pictures: Iterator[LoadedItem]) -> Path | None:
    """One file of rows, not yet named; None where there is no picture."""
    first = next(pictures, None)
    if first is None:
        return None
    arrow, parquet = arrow_modules()
    schema = _schema(arrow, table)
    path = batches.unfinished(target / split, ".parquet")
    rows = [_row(first, table)]
    size = len(rows[0]["image"]["bytes"])
    # Pictures are compressed already.
    with parquet.ParquetWriter(path, schema, compression="none") as writer:
        for picture in pictures:
            if len(rows) >= GROUP_ROWS or size >= GROUP_BYTES:
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
                rows, size = [], 0
            rows.append(_row(picture, table))
            size += len(rows[-1]["image"]["bytes"])
        writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
    return path


def _row(picture: LoadedItem, table: ParquetFile) -> dict[str, Any]:
    item = picture.item
    name = f"{item.folder}/{item.name}"
    row: dict[str, Any] = {"image": {"bytes": picture.data(), "path": name}}
    for role, mask in (("mask", picture.mask), ("instance_mask", picture.instance_mask)):
        if role in table.masks:
            row[role] = None if mask is None else {"bytes": mask[1], "path": f"{role}s/{mask[0]}"}
    row["file_name"] = name
    return row | {column: cast(item.values.get(column), kind) for column, kind in table.kinds.items()}


def _schema(arrow: Any, table: ParquetFile) -> Any:
    picture = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    pictures = ["image", *table.masks]
    fields = [(name, picture) for name in pictures]
    fields.append(("file_name", arrow.string()))
    fields += [(name, arrow_type(arrow, kind)) for name, kind in table.kinds.items()]
    # By this note `datasets` knows that the structs are pictures.
    features = {name: {"_type": "Image"} for name in pictures}
    note = json.dumps({"info": {"features": features}})
    return arrow.schema(fields, metadata={"huggingface": note})


def arrow_type(arrow: Any, kind: ColumnType) -> Any:
    """A column's type as pyarrow has it."""
    if kind.inner is not None:
        return arrow.list_(arrow_type(arrow, kind.inner))
    if kind.fields:
        return arrow.struct([(name, arrow_type(arrow, inner)) for name, inner in kind.fields])
    plain = {"bool": arrow.bool_, "int": arrow.int64, "float": arrow.float64}
    return plain.get(kind.word, arrow.string)()
