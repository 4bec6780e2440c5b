"""`datasets.load_dataset("imagefolder", data_dir=...)`: folders of pictures beside a metadata.jsonl.

    DIR/<split>/images/..., originals/..., masks/..., metadata.jsonl; captions as images/<name>.txt

Rule: metadata.jsonl comes last, whole. Its readers see a column's type in its first lines, split by split,
and want it the same in each: a line that shows one comes first, and a column of which some split has no value
is text.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from batcher.results.export import batches
from batcher.results.export.columns import TEXT, Columns, ColumnType, cast
from batcher.results.export.items import ExportItem
from batcher.results.export.loading import LoadedItem
from batcher.results.report import record_files

MASK = "mask_file_name"
MASK_AS_TEXT = "mask_file"


@dataclass(frozen=True, slots=True)
class MetadataLines:
    """How a line of metadata.jsonl is written: the columns' types; those that are text for their readers'
    sake, and those of which dates are quoted."""

    kinds: Mapping[str, ColumnType]
    as_text: frozenset[str]
    quoted: frozenset[str]

    def of(self, item: ExportItem, mask: str | None) -> str:
        """The line of one picture."""
        record: dict[str, Any] = {"file_name": f"{item.folder}/{item.name}"}
        values = {**item.values, MASK: mask}
        for name, kind in self.kinds.items():
            if name not in self.as_text:
                known = cast(values.get(name), kind)
                record[name] = json.dumps(known) if name in self.quoted and known is not None else known
            else:
                known = cast(values.get(name), TEXT)
                record[MASK_AS_TEXT if name == MASK else name] = "" if known is None else known
        return record_files.line(record)


class ImageFolder:
    """Writes one into `target`. `showing`: names of pictures whose line shows the type of some column."""

    largest = batches.HANDFUL_SAMPLES, batches.HANDFUL_BYTES

    def __init__(self, target: Path, columns: Columns, showing: Collection[str]) -> None:
        self._target = target
        self._showing = showing
        self._lines = MetadataLines(columns.kinds(), frozenset(columns.untold()), frozenset(columns.dated()))
        self.write = partial(_files, target, self._lines)
        self._first: dict[str, list[str]] = {}
        self._rest: dict[str, IO[str]] = {}
        self._patterns: dict[str, set[str]] = {}

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        return [
            *(
                f"the column {name} has no value in one of the splits, and is written as text"
                for name in sorted(self._lines.as_text)
            ),
            *(
                f"the column {name} has only dates in one of the splits, and is written in quotes"
                for name in sorted(self._lines.quoted)
            ),
        ]

    def named(self, item: ExportItem) -> ExportItem:
        """A picture keeps its name."""
        return item

    def take(self, split: str, written: list[tuple[str, str]]) -> None:
        """Where each picture lies in its split, and its line."""
        if written and split not in self._rest:
            self._first[split] = []
            self._rest[split] = open(  # noqa: SIM115  # closed by finish()
                self._target / split / ".metadata.rest", "w", encoding="utf-8"
            )
        for place, line in written:
            folder, _, name = place.partition("/")
            self._patterns.setdefault(split, set()).add(f"{folder}/*{Path(name).suffix}")
            if folder == "images" and name in self._showing:
                self._first[split].append(line)
            else:
                self._rest[split].write(line)

    def files(self, split: str) -> list[str]:
        """By suffix: captions lie among the pictures, and are no rows."""
        masks = ["masks/*"] if (self._target / split / "masks").exists() else []
        return ["metadata.jsonl", *sorted(self._patterns.get(split, ())), *masks]

    def finish(self) -> None:
        """Every metadata.jsonl takes its place."""
        for split, rest in self._rest.items():
            rest.close()
            gathered = self._target / split / ".metadata.rest"
            unfinished = self._target / split / ".metadata.new"
            with open(gathered, encoding="utf-8") as others, open(unfinished, "w", encoding="utf-8") as file:
                file.writelines(self._first[split])
                shutil.copyfileobj(others, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self._target / split / "metadata.jsonl")
            gathered.unlink()

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        for rest in self._rest.values():
            rest.close()


def _files(
    target: Path, lines: MetadataLines, split: str, pictures: Iterator[LoadedItem]
) -> list[tuple[str, str]]:
    """A handful of pictures under their names; their places and lines."""
    written = []
    for picture in pictures:
        item, named = picture.item, None
        place = f"{item.folder}/{item.name}"
        put(picture, target / split / place)
        if item.caption:
            write((target / split / place).with_suffix(".txt"), item.caption.encode())
        if picture.mask is not None:
            named = f"masks/{picture.mask[0]}"
            write(target / split / named, picture.mask[1])
        written.append((place, lines.of(item, named)))
    return written


def put(picture: LoadedItem, target: Path) -> None:
    """The picture under a name of the export: the same file, or a copy where that cannot be."""
    if picture.content is not None:
        write(target, picture.content)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(picture.item.address, target)
    except FileExistsError:
        return  # whoever was overtaken was there before
    except OSError:
        unfinished = batches.unfinished(target.parent, target.suffix)
        try:
            shutil.copyfile(picture.item.address, unfinished)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                error.filename = str(target)  # the system names the picture that was read
            raise
        os.replace(unfinished, target)


def write(target: Path, data: bytes) -> None:
    """The file, whole or not at all."""
    unfinished = batches.unfinished(target.parent, target.suffix)
    unfinished.write_bytes(data)
    os.replace(unfinished, target)
