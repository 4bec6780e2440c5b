"""`datasets.load_dataset("imagefolder", data_dir=...)`: folders of pictures beside a metadata.jsonl.

    DIR/<split>/images/..., originals/..., masks/..., metadata.jsonl

Law: metadata.jsonl comes last, whole. Its readers see a column's type in its first lines, split by split,
and want it the same in each: a line that shows one comes first, and a column of which some split has no value
is text.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

from batcher.export.columns import TEXT, Columns, cast
from batcher.export.leaving import Item

MASK = "mask_file_name"
MASK_AS_TEXT = "mask_file"


class ImageFolder:
    """Writes one into `target`."""

    def __init__(self, target: Path, columns: Columns) -> None:
        self._target = target
        self._kinds = columns.kinds()
        self._as_text = set(columns.untold())
        self._quoted = set(columns.dated())
        self._first: dict[str, list[str]] = {}
        self._rest: dict[str, IO[str]] = {}

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        return [
            *(
                f"the column {name} has no value in one of the splits, and is written as text"
                for name in sorted(self._as_text)
            ),
            *(
                f"the column {name} has only dates in one of the splits, and is written in quotes"
                for name in sorted(self._quoted)
            ),
        ]

    def add(self, item: Item, mask: tuple[str, bytes] | None, *, shows: bool) -> None:
        """One picture; `shows`: its line shows the type of some column."""
        split = self._target / item.split
        if item.split not in self._rest:
            split.mkdir(parents=True, exist_ok=True)
            self._first[item.split] = []
            self._rest[item.split] = open(split / ".metadata.rest", "w", encoding="utf-8")  # noqa: SIM115  # closed by finish()
        link(item.path, _folder(split, item.folder) / item.name)
        named = None
        if mask is not None:
            named = f"masks/{mask[0]}"
            write(_folder(split, "masks") / mask[0], mask[1])
        line = self._line(item, named)
        if shows:
            self._first[item.split].append(line)
        else:
            self._rest[item.split].write(line)

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

    def _line(self, item: Item, mask: str | None) -> str:
        record: dict[str, Any] = {"file_name": f"{item.folder}/{item.name}"}
        values = {**item.values, MASK: mask}
        for name, kind in self._kinds.items():
            if name not in self._as_text:
                known = cast(values.get(name), kind)
                record[name] = json.dumps(known) if name in self._quoted and known is not None else known
            else:
                known = cast(values.get(name), TEXT)
                record[MASK_AS_TEXT if name == MASK else name] = "" if known is None else known
        return json.dumps(record, ensure_ascii=False) + "\n"


def link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        unfinished = target.with_name(f".{target.name}.new")
        shutil.copyfile(source, unfinished)
        os.replace(unfinished, target)


def write(target: Path, data: bytes) -> None:
    """The file, whole or not at all."""
    unfinished = target.with_name(f".{target.name}.new")
    unfinished.write_bytes(data)
    os.replace(unfinished, target)


def _folder(split: Path, name: str) -> Path:
    folder = split / name
    folder.mkdir(exist_ok=True)
    return folder
