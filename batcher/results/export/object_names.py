"""What a picture is called in the forms of detectors, where variants and originals lie in one folder and a
label file is found by its stem.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path

from batcher.results.export.items import ORIGINALS, ExportItem
from batcher.results.export.unique_stems import UniqueStems

NUMBER_BITS = 36
"""Of a picture's number: with those of an object within it, 52 bits, which a double holds."""


class ObjectNames:
    """Gives every picture a stem of its own and a number that is the same in every export."""

    def __init__(self, *, spaces: bool = True) -> None:
        self._stems = UniqueStems()
        self._spaces = spaces
        self._numbers = sqlite3.connect("", isolation_level=None)
        self._numbers.execute("PRAGMA synchronous=OFF")
        self._numbers.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
        self._numbers.execute("BEGIN")

    def named(self, item: ExportItem) -> ExportItem:
        """The item with `key`, its stem, and `number`. Its column `source_image` names a file of the same
        folder."""
        stem = Path(item.name).stem
        if not self._spaces:
            stem = "_".join(stem.split())
        values = dict(item.values)
        source = values.get("source_image")
        if isinstance(source, str) and source.startswith(f"{ORIGINALS}/"):
            values["source_image"] = source.removeprefix(f"{ORIGINALS}/")
        return replace(item, key=self._stems.take(stem), number=self._number(item), values=values)

    def close(self) -> None:
        """What was given is forgotten."""
        self._stems.close()
        self._numbers.close()

    def _number(self, item: ExportItem) -> int:
        known = f"{item.values.get('key', '')}\n{item.digest or item.values.get('sha256', '')}"
        attempt = 0
        while True:
            digest = hashlib.sha256(f"batcher picture {attempt}\n{known}".encode()).digest()
            number = int.from_bytes(digest[:8]) >> (64 - NUMBER_BITS)
            taken = "INSERT OR IGNORE INTO numbers VALUES (?)"
            if number and self._numbers.execute(taken, (number,)).rowcount:
                return number
            attempt += 1
