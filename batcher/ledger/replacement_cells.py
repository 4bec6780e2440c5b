"""Cells with a rejected picture, and which of them are due for a replacement, read from the ledger alone.

A cell is what one task of the manifest asks for: its first task, and those in place of rejected ones.

Rule: looking writes nothing, and loads nothing of what a plan is made of.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from batcher.ledger.check_verdicts import PERSON
from batcher.ledger.database import columns, meta

DRAWS = "draws"
"""The ledger's note whether the job draws anything anew for another try: 1 or 0."""

OF_PLAN = "SELECT DISTINCT coalesce(root, key) AS cell FROM tasks WHERE state = 'rejected' AND plan = ?1"
ASKED_FOR = f"{OF_PLAN} AND redo_wanted > 0"
CELLS = """
WITH cells AS ({which}),
members AS (
  SELECT c.cell, t.* FROM cells c JOIN tasks t ON t.key = c.cell
  UNION ALL SELECT c.cell, t.* FROM cells c JOIN tasks t ON t.root = c.cell
)
SELECT cell,
       max(CASE WHEN state = 'rejected' THEN redo END),
       (SELECT rejected_by FROM members l WHERE l.cell = m.cell AND l.state = 'rejected'
        ORDER BY redo DESC LIMIT 1),
       max(redo_wanted),
       total(state <> 'rejected' AND state <> 'planned'),
       max(CASE WHEN state = 'planned' AND redo > 0 AND plan = ?1 THEN redo END)
FROM members m GROUP BY cell
"""
"""Of the cells that are asked for; a waiting task that is in no plan any more is as good as not there."""

NOT_NEEDED = """
tasks.redo > 0 AND EXISTS (
  SELECT 1 FROM tasks other WHERE (other.key = tasks.root OR other.root = tasks.root)
  AND other.id <> tasks.id AND other.state NOT IN ('planned', 'failed', 'rejected'))
"""
"""Of `tasks`: a replacement whose cell has its picture meanwhile (`batcher keep`), or has one on its way."""
WITHDRAWN = f"""
UPDATE tasks SET plan = 0 WHERE id = ? AND state = 'planned' AND {NOT_NEEDED}
AND NOT EXISTS (SELECT 1 FROM files f WHERE f.task = tasks.id)
"""
"""One that is planned again, and is not to be bought again. One that had its files, which are lost, is
planned since a person asked for it by its name (`verify --repay`)."""


class Cell(NamedTuple):
    """A cell with a rejected task: its number and who rejected it, of several the last; the number that a
    person asked for (0: nobody); how many of its tasks are neither rejected nor waiting; the replacement
    that waits."""

    cell: str
    rejected: int
    rejected_by: str
    wanted: int
    others: int
    waiting: int | None


def due(cell: Cell, most: int) -> int | None:
    """The number of the replacement that is to be made for a cell; None: none is. `most`: so many by
    themselves, for what checks reject; what a person asks for is one more each time."""
    if cell.others:
        return None  # it has its picture, or one is on its way, or failed and may be retried
    if cell.wanted > cell.rejected or (cell.rejected_by != PERSON and cell.rejected < most):
        return cell.rejected + 1
    return None


def cells(connection: sqlite3.Connection, which: str, *values: int) -> list[Cell]:
    """The cells of which `which` selects the keys, with these values."""
    rows = connection.execute(CELLS.format(which=which), values).fetchall()
    return [Cell(*row) for row in rows if row[1] is not None]


def asked_for(connection: sqlite3.Connection) -> int:
    """How many replacements a person asked for that no run has planned yet: the next one does."""
    if meta(connection, DRAWS) == "0" or "redo_wanted" not in columns(connection, "tasks"):
        return 0  # it can draw none, or is a ledger of an older schema that is only read
    found = cells(connection, ASKED_FOR, int(meta(connection, "plan") or 0))
    return sum((number := due(cell, 0)) is not None and cell.waiting != number for cell in found)
