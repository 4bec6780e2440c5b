"""WebDataset: tar files of samples; a sample is the files that share a name up to its first dot.

    DIR/<split>/00000.tar with rome-0.jpg, rome-0.json, rome-0.mask.png

Law: no key has a dot in it and none comes twice in a shard's split; the same ledger gives the same bytes.
"""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from pathlib import Path

from batcher.export.columns import Columns, cast
from batcher.export.imagefolder import MASK
from batcher.export.leaving import Item
from batcher.export.shards import Shards


class WebDataset:
    """Writes one into `target`."""

    notes: tuple[str, ...] = ()

    def __init__(self, target: Path, columns: Columns) -> None:
        self._target = target
        self._kinds = {name: kind for name, kind in columns.kinds().items() if name != MASK}
        self._open: dict[str, tuple[Shards, tarfile.TarFile]] = {}
        self._keys = sqlite3.connect("", isolation_level=None)
        self._keys.execute("PRAGMA synchronous=OFF")
        self._keys.execute("CREATE TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._keys.execute("BEGIN")

    def add(self, item: Item, mask: tuple[str, bytes] | None, *, shows: bool) -> None:
        """One sample."""
        values = {name: cast(item.values.get(name), kind) for name, kind in self._kinds.items()}
        record = {"file_name": f"{item.folder}/{item.name}", **values}
        files = {
            Path(item.name).suffix.lower(): item.path.read_bytes(),
            ".json": json.dumps(record, ensure_ascii=False).encode(),
        }
        if mask is not None:
            files[f".mask{Path(mask[0]).suffix.lower()}"] = mask[1]
        size = sum(map(len, files.values()))
        shards, tar = self._shard(item.split, size)
        key = self._key(item)
        for suffix, data in files.items():
            tar.addfile(_entry(key + suffix, len(data)), io.BytesIO(data))
        shards.took(size)

    def finish(self) -> None:
        """The last shards take their names."""
        for shards, tar in self._open.values():
            tar.close()
            shards.settle()
        self._open.clear()

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        self._keys.close()
        for _, tar in self._open.values():
            if tar.fileobj is not None:
                tar.fileobj.close()

    def _shard(self, split: str, size: int) -> tuple[Shards, tarfile.TarFile]:
        shards, tar = self._open.get(split, (None, None))
        if shards is None:
            shards = Shards(self._target / split, ".tar")
        elif tar is not None and shards.full(size):
            tar.close()
            shards.settle()
            tar = None
        if tar is None:
            tar = tarfile.open(shards.unfinished, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  # closed by finish()
            self._open[split] = (shards, tar)
        return shards, tar

    def _key(self, item: Item) -> str:
        """The picture's name without dots; where that was there, its number is added."""
        plain = Path(item.name).stem.replace(".", "_")
        if item.folder != "images":
            plain = f"{item.folder}-{plain}"
        key, number = plain, 1
        while not self._keys.execute("INSERT OR IGNORE INTO keys VALUES (?)", (key.lower(),)).rowcount:
            number += 1
            key = f"{plain}__{number}"
        return key


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    return entry
