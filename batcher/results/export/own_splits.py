"""The splits that a data set has of its own: what its rows say in the column `split`.

Rule: a row keeps its split. It is drawn anew only where the user says so. Kept in a temporary database, for
memory does not grow with the number of pictures.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import Any

from batcher import errors
from batcher.progress.summary import several
from batcher.results.export.splits import SPLIT_NAME

COLUMN = "split"
IN_ORDER = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
"""Those that people know, in the order in which they stand; others follow as they came."""
WITHOUT = "train"
"""Where a row goes that names no split, beside others that do."""


class OwnSplits:
    """The splits that rows name, each by what it was called first, whatever its letters' case."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._without = 0
        self._straddling = 0
        self._sources = sqlite3.connect("", isolation_level=None)
        self._sources.execute("PRAGMA synchronous=OFF")
        self._sources.execute(
            "CREATE TABLE sources (source TEXT PRIMARY KEY, split TEXT NOT NULL, told INTEGER DEFAULT 0) "
            "WITHOUT ROWID"
        )
        self._sources.execute("BEGIN")

    def close(self) -> None:
        """What was learned of sources is forgotten."""
        self._sources.close()

    def of(self, columns: Mapping[str, Any]) -> str | None:
        """The split that a row names, as a folder can be called; None: none. Raises UsageError."""
        value = columns.get(COLUMN)
        if type(value) is int:
            value = str(value)  # of a fold: never taken for none
        if not isinstance(value, str) or not value.strip():
            return None
        # Readers of data sets know no other signs in the name of a split.
        name = re.sub(r"[^A-Za-z0-9_]", "_", value.strip())
        if not SPLIT_NAME.fullmatch(name):
            raise errors.UsageError(
                f"the column {COLUMN} names a split {value[:60]!r}, which no folder can be called; "
                "name others with --split train=0.8,test=0.2 --resplit"
            )
        return self._names.setdefault(name.casefold(), name)

    def learn(self, source: str, split: str | None) -> None:
        """One more picture, and what it was made from."""
        if split is None:
            self._without += 1
            return
        taken = self._sources.execute(
            "SELECT split, told FROM sources WHERE source = ?", (source,)
        ).fetchone()
        if taken is None:
            self._sources.execute("INSERT INTO sources (source, split) VALUES (?, ?)", (source, split))
        elif taken[0] != split and not taken[1]:
            self._sources.execute("UPDATE sources SET told = 1 WHERE source = ?", (source,))
            self._straddling += 1

    @property
    def without(self) -> str:
        """Where a row goes that names no split: WITHOUT, as the rows that name it write it."""
        return self._names.get(WITHOUT, WITHOUT)

    @property
    def names(self) -> tuple[str, ...]:
        """All that rows name, and where the others go."""
        found = [*self._names.values()]
        if found and self._without and self.without not in found:
            found.append(self.without)
        known = [name for word in IN_ORDER for name in found if name.casefold() == word]
        return (*known, *(name for name in found if name not in known))

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        notes = []
        if self._names and self._without:
            pictures = several(self._without, "picture", "pictures")
            notes.append(f"{pictures} without a split of its own in {self.without}")
        if self._straddling:
            are = (
                "1 source picture is"
                if self._straddling == 1
                else f"{self._straddling:,} source pictures are"
            )
            notes.append(f"{are} in more than one split, as the rows say it")
        return notes
