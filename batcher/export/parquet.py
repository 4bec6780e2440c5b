"""Parquet with the pictures' bytes in it, as Hugging Face's readers decode them: `{bytes, path}`.

    DIR/<split>/00000.parquet

Law: every shard of every split has one schema. pyarrow is an extra, and imported when it is asked for.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.export.columns import Columns, Kind, cast
from batcher.export.imagefolder import MASK
from batcher.export.leaving import Item
from batcher.export.shards import Shards

GROUP_ROWS = 256
GROUP_BYTES = 64 << 20
"""A row group is what a reader holds at once."""


class Parquet:
    """Writes one into `target`. Raises UsageError when pyarrow is not installed."""

    notes: tuple[str, ...] = ()

    def __init__(self, target: Path, columns: Columns) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
            self._parquet: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise errors.UsageError(
                "Parquet needs pyarrow, which is not installed: pip install 'batcher[parquet]'"
            ) from error
        self._target = target
        self._kinds = columns.kinds()
        self._masks = self._kinds.pop(MASK, None) is not None
        self._schema = self._schema_of()
        self._open: dict[str, _Open] = {}

    def add(self, item: Item, mask: tuple[str, bytes] | None, *, shows: bool) -> None:
        """One row."""
        name = f"{item.folder}/{item.name}"
        row: dict[str, Any] = {"image": {"bytes": item.path.read_bytes(), "path": name}}
        if self._masks:
            row["mask"] = None if mask is None else {"bytes": mask[1], "path": f"masks/{mask[0]}"}
        row["file_name"] = name
        row |= {column: cast(item.values.get(column), kind) for column, kind in self._kinds.items()}
        size = len(row["image"]["bytes"]) + (len(mask[1]) if mask else 0)
        split = self._open.get(item.split)
        if split is None:
            split = self._open[item.split] = _Open(Shards(self._target / item.split, ".parquet"))
        elif split.shards.full(size):
            self._settle(split)
        split.rows.append(row)
        split.size += size
        split.shards.took(size)
        if len(split.rows) >= GROUP_ROWS or split.size >= GROUP_BYTES:
            self._flush(split)

    def finish(self) -> None:
        """The last shards take their names."""
        for split in self._open.values():
            self._settle(split)

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        for split in self._open.values():
            if split.writer is not None:
                split.writer.close()

    def _flush(self, split: _Open) -> None:
        if split.writer is None:
            # Pictures are compressed already.
            split.writer = self._parquet.ParquetWriter(
                split.shards.unfinished, self._schema, compression="none"
            )
        table = self._arrow.Table.from_pylist(split.rows, schema=self._schema)
        split.writer.write_table(table)
        split.rows.clear()
        split.size = 0

    def _settle(self, split: _Open) -> None:
        self._flush(split)
        split.writer.close()
        split.writer = None
        split.shards.settle()

    def _schema_of(self) -> Any:
        arrow = self._arrow
        picture = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        pictures = ["image", "mask"] if self._masks else ["image"]
        fields = [(name, picture) for name in pictures]
        fields.append(("file_name", arrow.string()))
        fields += [(name, self._type_of(kind)) for name, kind in self._kinds.items()]
        # By this note `datasets` knows that the structs are pictures.
        features = {name: {"_type": "Image"} for name in pictures}
        note = json.dumps({"info": {"features": features}})
        return arrow.schema(fields, metadata={"huggingface": note})

    def _type_of(self, kind: Kind) -> Any:
        arrow = self._arrow
        if kind.inner is not None:
            return arrow.list_(self._type_of(kind.inner))
        if kind.fields:
            return arrow.struct([(name, self._type_of(inner)) for name, inner in kind.fields])
        plain = {"bool": arrow.bool_, "int": arrow.int64, "float": arrow.float64}
        return plain.get(kind.word, arrow.string)()


class _Open:
    """A split while it is written."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.writer: Any = None
        self.rows: list[dict[str, Any]] = []
        self.size = 0
