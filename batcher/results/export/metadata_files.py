"""metadata.jsonl: what is known of each picture of a split, in lines that `datasets` reads beside them.

Rule: it comes last, whole. Its readers see a column's type in its first lines, split by split, and want it
the same in each: a line that shows one comes first. Where some split shows none, the lines become a table
that says it (metadata_table.py), or, for whoever cannot write one, the column is text.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from batcher.results.export.columns import TEXT, Columns, ColumnType, cast
from batcher.results.export.items import ExportItem
from batcher.results.report import record_files

METADATA = "metadata.jsonl"
MASK = "mask_file_name"
INSTANCE_MASK = "instance_mask_file_name"
MASK_ROLES = {"mask": MASK, "instance_mask": INSTANCE_MASK}
"""What forms without folders call them."""
NAMED = 5
"""Columns that a note names."""
AS_TEXT = {MASK: "mask_file", INSTANCE_MASK: "instance_mask_file"}
"""What these columns are called where they are no pictures to their reader."""


@dataclass(frozen=True, slots=True)
class MetadataLines:
    """How a line of metadata.jsonl is written: the columns' types; those that are text for their readers'
    sake, and those of which dates are quoted."""

    kinds: Mapping[str, ColumnType]
    as_text: frozenset[str]
    quoted: frozenset[str]

    @classmethod
    def of_columns(
        cls, columns: Columns, *, also_text: Collection[str] = (), typed: bool = False
    ) -> MetadataLines:
        """For these columns. `typed`: their types are told beside them."""
        kinds = columns.kinds()
        if typed:
            return cls(kinds, frozenset(), frozenset())
        as_text = frozenset({*columns.untyped(), *(name for name in also_text if name in kinds)})
        return cls(kinds, as_text, frozenset(columns.dated()))

    def of(self, item: ExportItem, place: str, mask: str | None, instance_mask: str | None) -> str:
        """The line of one picture, which lies at `place`, and its masks likewise."""
        record: dict[str, Any] = {"file_name": place}
        values = {**item.values, MASK: mask, INSTANCE_MASK: instance_mask}
        for name, kind in self.kinds.items():
            if name not in self.as_text:
                known = cast(values.get(name), kind)
                record[name] = json.dumps(known) if name in self.quoted and known is not None else known
            else:
                known = cast(values.get(name), TEXT)
                record[AS_TEXT.get(name, name)] = "" if known is None else known
        return record_files.line(record)

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        text, quoted = sorted(self.as_text - AS_TEXT.keys()), sorted(self.quoted)
        notes = []
        if text:
            have, are = ("has", "is") if len(text) == 1 else ("have", "are")
            notes.append(
                f"{columns_named(text)} {have} no value in one of the splits, and {are} written as text"
            )
        if quoted:
            have, are = ("has", "is") if len(quoted) == 1 else ("have", "are")
            notes.append(
                f"{columns_named(quoted)} {have} only dates in one of the splits, and {are} written in quotes"
            )
        return notes


def columns_named(names: Sequence[str]) -> str:
    """Columns in a sentence, the first few by their names."""
    if len(names) == 1:
        return f"the column {names[0]}"
    shown, more = ", ".join(names[:NAMED]), len(names) - NAMED
    return f"the columns {shown}{f' and {more} more' if more > 0 else ''}"


class MetadataFiles:
    """The metadata of each split, in the file that `path` gives it. `showing`: names of pictures whose line
    shows the type of some column. `place` makes the file of its lines."""

    def __init__(
        self,
        path: Callable[[str], Path],
        showing: Collection[str],
        place: Callable[[Path, Path], None] = os.replace,
    ) -> None:
        self._path = path
        self._place = place
        self._showing = showing
        self._first: dict[str, list[str]] = {}
        self._rest: dict[str, IO[str]] = {}

    def add(self, split: str, name: str, line: str) -> None:
        """One more line. `name` is the picture's where it is a delivered one, else empty."""
        if split not in self._rest:
            self._first[split] = []
            self._rest[split] = open(  # noqa: SIM115  # closed by finish()
                self._unfinished(split, "rest"), "w", encoding="utf-8"
            )
        if name in self._showing:
            self._first[split].append(line)
        else:
            self._rest[split].write(line)

    def finish(self) -> None:
        """Every metadata.jsonl takes its place."""
        for split, rest in self._rest.items():
            rest.close()
            gathered, unfinished = self._unfinished(split, "rest"), self._unfinished(split, "new")
            with open(gathered, encoding="utf-8") as others, open(unfinished, "w", encoding="utf-8") as file:
                file.writelines(self._first[split])
                shutil.copyfileobj(others, file)
                file.flush()
                os.fsync(file.fileno())
            self._place(unfinished, self._path(split))
            gathered.unlink()

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        for rest in self._rest.values():
            rest.close()

    def _unfinished(self, split: str, part: str) -> Path:
        path = self._path(split)
        return path.with_name(f".{path.stem}.{part}")
