"""`datasets.load_dataset("imagefolder", data_dir=...)`: folders of pictures beside a metadata.jsonl; or,
where that could not say the types of its columns, a metadata.parquet.

    DIR/<split>/images/..., originals/..., masks/..., metadata.jsonl; captions as images/<name>.txt

Rule: a picture is the delivered file itself where it can be, else a copy; and has its name when it is whole.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from batcher.progress.summary import several
from batcher.results.export import batches
from batcher.results.export.columns import Columns
from batcher.results.export.items import ExportItem
from batcher.results.export.loading import LoadedItem, require_own
from batcher.results.export.metadata_files import AS_TEXT, METADATA, MetadataFiles, MetadataLines
from batcher.results.export.metadata_table import TABLE, MetadataTable, untyped_notes


class ImageFolder:
    """Writes one into `target`. `showing`: names of pictures whose line shows the type of some column."""

    leads: frozenset[str] = frozenset()
    about = ""
    largest = batches.HANDFUL_SAMPLES, batches.HANDFUL_BYTES

    def __init__(self, target: Path, columns: Columns, showing: Collection[str]) -> None:
        self._target = target
        table = MetadataTable.wanted(columns)
        lines = MetadataLines.of_columns(columns, typed=table is not None)
        self._notes = table.notes if table else untyped_notes(lines)
        self._maskless = 0
        self.write = partial(_files, target, lines)
        self._described = name = TABLE if table else METADATA
        place = table.place if table else os.replace
        self._metadata = MetadataFiles(lambda split: target / split / name, showing, place)
        self._patterns: dict[str, set[str]] = {}

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        notes = [*self._notes]
        if self._maskless:
            have = several(self._maskless, "picture has", "pictures have")
            notes.append(f"{have} no mask, and others have one: `datasets` loads that from version 5 on")
        return notes

    def tops(self, splits: Collection[str]) -> list[str]:
        """One for each split."""
        return [*splits]

    def named(self, item: ExportItem) -> ExportItem:
        """A picture keeps its name."""
        return item

    def take(self, split: str, written: list[tuple[str, str, bool]]) -> None:
        """Where each picture lies in its split, its line, and whether it lacks a mask that others have."""
        for place, line, maskless in written:
            self._maskless += maskless
            folder, _, name = place.partition("/")
            self._patterns.setdefault(split, set()).add(f"{folder}/*{Path(name).suffix}")
            self._metadata.add(split, name if folder == "images" else "", line)

    def files(self, split: str) -> list[str]:
        """By suffix: captions lie among the pictures, and are no rows."""
        masks = [
            f"{folder}/*"
            for folder in ("masks", "instance_masks")
            if (self._target / split / folder).exists()
        ]
        found = [self._described, *sorted(self._patterns.get(split, ())), *masks]
        return [f"{split}/{pattern}" for pattern in found]

    def finish(self) -> None:
        """The metadata of every split take their place."""
        self._metadata.finish()

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        self._metadata.close()


def _files(
    target: Path, lines: MetadataLines, split: str, pictures: Iterator[LoadedItem]
) -> list[tuple[str, str, bool]]:
    """A handful of pictures under their names; of each what `take` notes."""
    written = []
    for picture in pictures:
        item = picture.item
        place = f"{item.folder}/{item.name}"
        put(picture, target / split / place)
        if item.caption:
            write((target / split / place).with_suffix(".txt"), item.caption.encode())
        masks: list[str | None] = []
        for folder, mask in (("masks", picture.mask), ("instance_masks", picture.instance_mask)):
            masks.append(None if mask is None else f"{folder}/{mask[0]}")
            if mask is not None:
                write(target / split / folder / mask[0], mask[1])
        lacks = any(
            mask is None and name in lines.kinds and name not in lines.as_text
            for name, mask in zip(AS_TEXT, masks, strict=True)
        )
        written.append((place, lines.of(item, place, *masks), lacks))
    return written


def put(picture: LoadedItem, target: Path) -> None:
    """The picture under a name of the export: the same file, or a copy where that cannot be. Raises
    DiskError, too, where another took its place meanwhile."""
    if picture.content is not None:
        write(target, picture.content)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(picture.item.address, target)
    except FileExistsError:
        pass  # whoever was overtaken was there before
    except OSError:
        unfinished = batches.unfinished(target.parent, target.suffix)
        try:
            shutil.copyfile(picture.item.address, unfinished)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                error.filename = str(target)  # the system names the picture that was read
            raise
        os.replace(unfinished, target)
    require_own(picture.item)


def write(target: Path, data: bytes) -> None:
    """The file, whole or not at all."""
    unfinished = batches.unfinished(target.parent, target.suffix)
    unfinished.write_bytes(data)
    os.replace(unfinished, target)
