"""Masks that a request had and that are no labels: one for many pictures, as `batcher init` draws it.

Rule: a mask says what is where in one picture. One that several different pictures share says where a model
was to paint, and no more; only a column `mask` makes a label of it.
"""

from __future__ import annotations

import sqlite3

SHARED = """
SELECT json_extract(params, '$.mask') AS mask FROM tasks
WHERE json_valid(params) AND json_extract(media, '$.mask') IS NOT NULL
GROUP BY mask HAVING count(DISTINCT json_remove(media, '$.mask')) > 1
"""


class SharedMasks:
    """Those of one ledger, looked up where a request has a mask."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._paths: frozenset[str] | None = None

    def has(self, path: str) -> bool:
        """Whether the mask at this path serves several pictures."""
        if self._paths is None:
            self._paths = frozenset(str(mask) for (mask,) in self._connection.execute(SHARED))
        return path in self._paths
