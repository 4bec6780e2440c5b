"""WebDataset: tar files of samples; a sample is the files that share a name up to its first dot.

    DIR/<split>/00000.tar with rome-0.jpg, rome-0.json, rome-0.mask.png, rome-0.txt

Rule: no key has a dot in it and none comes twice in an export; the same ledger gives the same bytes. Every
sample has the same files under the same suffixes, and the same types in its JSON: readers learn both from the
first.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from batcher.progress.summary import several
from batcher.results.export import batches
from batcher.results.export.columns import TEXT, Columns, ColumnType, cast
from batcher.results.export.items import ExportItem
from batcher.results.export.leading_rows import LeadingRows
from batcher.results.export.loading import LoadedItem
from batcher.results.export.metadata_files import AS_TEXT, MASK_ROLES, columns_named
from batcher.results.export.unique_stems import UniqueStems

VOID = 255
"""What stands in place of a mask that is not there: of no pixel is anything known."""


@dataclass(frozen=True, slots=True)
class SampleForm:
    """What every sample has: the columns' types, those of which nothing is empty text; the picture's suffix;
    which masks (`mask`, `instance_mask`)."""

    kinds: Mapping[str, ColumnType]
    as_text: frozenset[str]
    suffix: str
    masks: tuple[str, ...]


class WebDataset:
    """Writes one into `target`. `suffix` is what pictures are called: that of the first."""

    about = ""

    def __init__(self, target: Path, columns: Columns, leading: LeadingRows, suffix: str) -> None:
        known = columns.kinds()
        masks = tuple(role for role, column in MASK_ROLES.items() if column in known)
        plain = {name: kind for name, kind in known.items() if name not in AS_TEXT}
        self._as_text = frozenset(leading.as_text(plain))
        self.leads = leading.rows()
        kinds = {name: TEXT if name in self._as_text else kind for name, kind in plain.items()}
        self._suffix = suffix
        self._others = 0
        self.write = partial(_shard, target, SampleForm(kinds, self._as_text, suffix, masks))
        self.largest = batches.SHARD_SAMPLES, batches.SHARD_BYTES
        self.take = batches.Shards(target, ".tar").take
        self._keys = UniqueStems()

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        notes = []
        if text := sorted(self._as_text):
            are = "it is" if len(text) == 1 else "they are"
            notes.append(f"no row shows {columns_named(text)} beside all others, and {are} written as text")
        if self._others:
            are = several(self._others, "picture is", "pictures are")
            notes.append(
                f"{are} named {self._suffix} in the tar files, whatever their bytes are: every sample has "
                "the same files; file_name has the true name"
            )
        return notes

    def tops(self, splits: Collection[str]) -> list[str]:
        """One for each split."""
        return [*splits]

    def named(self, item: ExportItem) -> ExportItem:
        """With its key: the picture's name without dots; where that was there, its number is added."""
        self._others += Path(item.name).suffix.lower() != self._suffix
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


def _shard(target: Path, form: SampleForm, split: str, pictures: Iterator[LoadedItem]) -> Path | None:
    """One tar of samples, not yet named; None where there is no picture."""
    first = next(pictures, None)
    if first is None:
        return None
    path = batches.unfinished(target / split, ".tar")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, first, form)
        for picture in pictures:
            _add(tar, picture, form)
    return path


def _add(tar: tarfile.TarFile, picture: LoadedItem, form: SampleForm) -> None:
    item = picture.item
    values = {name: cast(item.values.get(name), kind) for name, kind in form.kinds.items()}
    values |= {name: "" for name in form.as_text if values[name] is None}
    masks = {"mask": picture.mask, "instance_mask": picture.instance_mask}
    has = {f"has_{role}": masks[role] is not None for role in form.masks}
    record = {"file_name": f"{item.folder}/{item.name}", **values, **has}
    files = {form.suffix: picture.data(), ".json": json.dumps(record, ensure_ascii=False).encode()}
    if item.caption is not None:
        files[".txt"] = item.caption.encode()  # also an empty one: samples of one kind have the same files
    for role in form.masks:
        mask = masks[role]
        files[f".{role}.png"] = _void(item) if mask is None else mask[1]
    for suffix, data in files.items():
        tar.addfile(_entry(item.key + suffix, len(data)), io.BytesIO(data))


def _void(item: ExportItem) -> bytes:
    """A mask in which no pixel says anything."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (int(item.values["width"]), int(item.values["height"])), VOID).save(buffer, "PNG")
    return buffer.getvalue()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    return entry
