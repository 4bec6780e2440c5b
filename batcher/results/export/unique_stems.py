"""One name for each picture of an export, whatever folder it comes from: by its stem readers find what else
there is of it.

Rule: none comes twice, upper and lower case counted as one. Kept in a temporary database, for memory does not
grow with the number of pictures.
"""

from __future__ import annotations

import sqlite3


class UniqueStems:
    """The stems that are taken."""

    def __init__(self) -> None:
        self._taken = sqlite3.connect("", isolation_level=None)
        self._taken.execute("PRAGMA synchronous=OFF")
        self._taken.execute("CREATE TABLE stems (stem TEXT PRIMARY KEY) WITHOUT ROWID")
        self._taken.execute("BEGIN")

    def take(self, wanted: str) -> str:
        """The stem; where it was taken before, with its number."""
        stem, number = wanted, 1
        while not self._taken.execute("INSERT OR IGNORE INTO stems VALUES (?)", (stem.lower(),)).rowcount:
            number += 1
            stem = f"{wanted}__{number}"
        return stem

    def close(self) -> None:
        """What was taken is forgotten."""
        self._taken.close()
