"""WebDataset: tar files of samples; a sample is the files that share a name up to its first dot.

    DIR/<split>/00000.tar with rome-0.jpg, rome-0.json, rome-0.mask.png, rome-0.txt

Rule: no key has a dot in it and none comes twice in an export; the same ledger gives the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from batcher.results.export import batches
from batcher.results.export.columns import Columns, ColumnType, cast
from batcher.results.export.items import ExportItem
from batcher.results.export.loading import LoadedItem
from batcher.results.export.metadata_files import AS_TEXT
from batcher.results.export.unique_stems import UniqueStems


class WebDataset:
    """Writes one into `target`."""

    about = ""
    notes: tuple[str, ...] = ()

    def __init__(self, target: Path, columns: Columns) -> None:
        kinds = {name: kind for name, kind in columns.kinds().items() if name not in AS_TEXT}
        self.write = partial(_shard, target, kinds)
        self.largest = batches.SHARD_SAMPLES, batches.SHARD_BYTES
        self.take = batches.Shards(target, ".tar").take
        self._keys = UniqueStems()

    def tops(self, splits: Collection[str]) -> list[str]:
        """One for each split."""
        return [*splits]

    def named(self, item: ExportItem) -> ExportItem:
        """With its key: the picture's name without dots; where that was there, its number is added."""
        plain = Path(item.name).stem.replace(".", "_")
        if item.folder != "images":
            plain = f"{item.folder}-{plain}"
        return replace(item, key=self._keys.take(plain))

    def files(self, split: str) -> list[str]:
        """Every shard."""
        return [f"{split}/*.tar"]

    def finish(self) -> None:
        """Every shard has its name."""

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        self._keys.close()


def _shard(
    target: Path, kinds: Mapping[str, ColumnType], split: str, pictures: Iterator[LoadedItem]
) -> Path | None:
    """One tar of samples, not yet named; None where there is no picture."""
    first = next(pictures, None)
    if first is None:
        return None
    path = batches.unfinished(target / split, ".tar")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, first, kinds)
        for picture in pictures:
            _add(tar, picture, kinds)
    return path


def _add(tar: tarfile.TarFile, picture: LoadedItem, kinds: Mapping[str, ColumnType]) -> None:
    item = picture.item
    values = {name: cast(item.values.get(name), kind) for name, kind in kinds.items()}
    record = {"file_name": f"{item.folder}/{item.name}", **values}
    files = {
        Path(item.name).suffix.lower(): picture.data(),
        ".json": json.dumps(record, ensure_ascii=False).encode(),
    }
    if item.caption is not None:
        files[".txt"] = item.caption.encode()  # also an empty one: samples of one kind have the same files
    for role, mask in ((".mask", picture.mask), (".instance_mask", picture.instance_mask)):
        if mask is not None:
            files[f"{role}{Path(mask[0]).suffix.lower()}"] = mask[1]
    for suffix, data in files.items():
        tar.addfile(_entry(item.key + suffix, len(data)), io.BytesIO(data))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    return entry
