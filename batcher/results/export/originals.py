"""What delivered pictures were made from: which source, what it is called in an export, and which columns are
its own.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batcher import errors
from batcher.job.geometry import Geometry
from batcher.job.plan.names import safe_name
from batcher.ledger.records import DeliveredPicture
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_url
from batcher.storage.pictures import has_picture_suffix
from batcher.task import value_at

PICTURE_INPUTS = ("image", "input_image", "init_image")
"""What the source is called where no geometry says it."""


@dataclass(frozen=True, slots=True)
class OriginalPicture:
    """What a picture was made from: `group` is the same for all its variants; `path` where it is a file."""

    group: str
    path: str | None = None


def source_of(picture: DeliveredPicture, rule: Geometry | None) -> OriginalPicture:
    """The source of a delivered picture: the media input that the model's geometry names, or the likeliest;
    a picture made from nothing is its own source."""
    likely = (*((rule.input,) if rule else ()), *PICTURE_INPUTS)
    others = sorted(picture.media, key=lambda name: ("mask" in name, name))
    for name in (*likely, *others):
        value = value_at(picture.params, name)
        if name in picture.media:
            return OriginalPicture(picture.media[name], str(value))
        if isinstance(value, str) and is_url(value):
            return OriginalPicture(value)
    return OriginalPicture(str(picture.line["key"]))


def _original_name(source: OriginalPicture, picture: DeliveredPicture) -> str:
    """After the file, with a picture's suffix, for readers go by it; where it has none, the bytes tell."""
    path = source.path or ""
    name = os.path.basename(path)
    if stores.dataset_cells.is_cell(path):
        named = picture.columns.get("name") if picture.columns.get("image") == path else None
        name = str(named or stores.dataset_cells.name_of(path))
    stem, suffix = os.path.splitext(name)
    if not has_picture_suffix(name):
        stem, suffix = name, _suffix_of(path)
    return f"{safe_name(stem)}-{source.group[:8]}{suffix.lower()}"


def _suffix_of(path: str) -> str:
    """What the bytes are; nothing where they are no picture, which is told when its turn comes."""
    try:
        with stores.open_address(path) as file:
            return pictures.identify(file).suffix
    except (OSError, errors.BadDownload):
        return ""


class Originals:
    """Which columns speak of a source itself: those that are the same in all its variants, for every source.
    Kept in a temporary database, for memory does not grow with the number of pictures."""

    def __init__(self) -> None:
        self._kept = sqlite3.connect("", isolation_level=None)
        self._kept.execute("PRAGMA synchronous=OFF")
        self._kept.execute(
            "CREATE TABLE sources "
            "(name TEXT PRIMARY KEY, columns TEXT NOT NULL, taken INTEGER DEFAULT 0) WITHOUT ROWID"
        )
        self._kept.execute("CREATE TABLE files (name TEXT PRIMARY KEY, file TEXT NOT NULL) WITHOUT ROWID")
        self._kept.execute("BEGIN")
        self._varying: set[str] = set()

    def close(self) -> None:
        self._kept.close()

    def name(self, source: OriginalPicture, picture: DeliveredPicture) -> str:
        """What the source is called in the export: after the first of the files that have its content."""
        row = self._kept.execute("SELECT file FROM files WHERE name = ?", (source.group,)).fetchone()
        if row is not None:
            return str(row[0])
        name = _original_name(source, picture)
        self._kept.execute("INSERT INTO files VALUES (?, ?)", (source.group, name))
        return name

    def learn(self, group: str, picture: DeliveredPicture, values: Mapping[str, Any]) -> None:
        of_rows = {column for column in picture.columns if column in values}
        mine = {column: values[column] for column in of_rows}
        row = self._kept.execute("SELECT columns FROM sources WHERE name = ?", (group,)).fetchone()
        if row is None:
            self._kept.execute("INSERT INTO sources (name, columns) VALUES (?, ?)", (group, json.dumps(mine)))
            return
        first = json.loads(row[0])
        self._varying |= {
            column for column in first.keys() | mine.keys() if first.get(column) != mine.get(column)
        }

    def common(self, group: str) -> set[str]:
        """The columns of this source that are its own."""
        row = self._kept.execute("SELECT columns FROM sources WHERE name = ?", (group,)).fetchone()
        return set(json.loads(row[0])) - self._varying

    def first(self, group: str) -> bool:
        """Whether nobody has asked this of the source before."""
        cursor = self._kept.execute("UPDATE sources SET taken = 1 WHERE name = ? AND taken = 0", (group,))
        return cursor.rowcount == 1
