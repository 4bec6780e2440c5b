"""The replacements of rejected pictures: which cells are due for one, read from the ledger alone.

A cell is what one task of the manifest asks for: its first task, and those in place of rejected ones.

Rule: what is due follows from the rows, by one pure rule. Whoever asks again, after a crash or beside another
process, finds the same, and what is there already is not made twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from batcher.ledger.database import meta
from batcher.ledger.entries import SELECT, entries
from batcher.ledger.plan_writer import UPSERT, row_of
from batcher.ledger.rejections import PERSON
from batcher.task import Task

DRAWS = "draws"
"""The ledger's note whether the job draws anything anew for another try: 1 or 0."""

OF_PLAN = "SELECT DISTINCT coalesce(root, key) AS cell FROM tasks WHERE state = 'rejected' AND plan = ?1"
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

REJECTED = "WHERE (t.key = ?1 OR t.root = ?1) AND t.state = 'rejected' ORDER BY t.redo"
WITHDRAWN = "UPDATE tasks SET plan = 0 WHERE root = ? AND state = 'planned' AND redo > 0 AND redo <> ?"
FOLLOWING = """
UPDATE tasks SET plan = ?1 WHERE root IS NOT NULL AND state <> 'planned'
AND root IN (SELECT key FROM tasks WHERE plan = ?1)
"""
Redraw = Callable[[Task, Sequence[Task], int], Task | None]
"""The replacement of this number: of the cell's first task and its rejected ones, in their order; None: there
can be none."""

Execute = Callable[[str, tuple[Any, ...]], object]


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


def follow_plan(connection: sqlite3.Connection, plan: int) -> None:
    """Replacements that something was sent for are in the plan of this number as their cells are."""
    connection.execute(FOLLOWING, (plan,))


def replace(
    connection: sqlite3.Connection, plan: int, most: int, redraw: Redraw, *, anew: bool = False
) -> list[int]:
    """What is due for the rejected tasks of the plan of this number is planned, what is due no more is
    withdrawn; the tasks that are planned now, by id. `anew`: bodies of those that wait are drawn again, for
    the plan has changed. Inside the transaction that is open."""
    changed: list[int] = []
    for cell in _cells(connection, OF_PLAN, plan):
        number = due(cell, most)
        if number is None or (cell.waiting is not None and cell.waiting != number):
            connection.execute(WITHDRAWN, (cell.cell, number or 0))
        if number is not None and (anew or cell.waiting != number):
            changed += _plan(connection, plan, cell, number, redraw, connection.execute)
    return changed


def replace_one(
    connection: sqlite3.Connection, plan: int, rejected: int, most: int, redraw: Redraw, execute: Execute
) -> list[int]:
    """The same of the cell of a task that a check has just rejected, by statements that `execute` writes."""
    which = "SELECT coalesce(root, key) AS cell FROM tasks WHERE id = ?2 AND plan = ?1"
    for cell in _cells(connection, which, plan, rejected):
        number = due(cell, most)
        if number is not None and cell.waiting is None:
            return _plan(connection, plan, cell, number, redraw, execute)
    return []


def _cells(connection: sqlite3.Connection, which: str, *values: int) -> list[Cell]:
    rows = connection.execute(CELLS.format(which=which), values).fetchall()
    return [Cell(*row) for row in rows if row[1] is not None]


def _plan(
    connection: sqlite3.Connection, plan: int, cell: Cell, number: int, redraw: Redraw, execute: Execute
) -> list[int]:
    first = next(entries(connection.execute(f"{SELECT} WHERE t.key = ?", (cell.cell,))))
    rejected = [entry.task for entry in entries(connection.execute(SELECT + REJECTED, (cell.cell,)))]
    task = redraw(first.task, rejected, number)
    if task is None:
        return []
    place = _place(connection)
    execute(UPSERT, row_of(place, task, plan))
    if place is not None:
        execute("UPDATE meta SET value = ? WHERE key = 'numbered'", (str(place),))
    row = connection.execute("SELECT id FROM tasks WHERE key = ?", (task.key,)).fetchone()
    return [int(row[0])]


def _place(connection: sqlite3.Connection) -> int | None:
    """In a share, tasks have the whole plan's numbers: a replacement has one that no later task will have."""
    numbered = meta(connection, "numbered")
    if numbered is None:
        return None
    (last,) = connection.execute("SELECT max(id) FROM tasks").fetchone()
    return max(int(numbered), int(last)) + 1
