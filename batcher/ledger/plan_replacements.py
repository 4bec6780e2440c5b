"""The replacements of rejected pictures: planned where one is due, withdrawn where none is.

Rule: what is due follows from the rows, by one pure rule (`replacement_cells.py`). Whoever asks again, after
a crash or beside another process, finds the same, and what is there already is not made twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from batcher.ledger.database import meta
from batcher.ledger.entries import SELECT, entries
from batcher.ledger.plan_writer import UPSERT, row_of
from batcher.ledger.replacement_cells import OF_PLAN, Cell, cells, due
from batcher.task import Task

REJECTED = "WHERE (t.key = ?1 OR t.root = ?1) AND t.state = 'rejected' ORDER BY t.redo"
WITHDRAWN = "UPDATE tasks SET plan = 0 WHERE root = ? AND state = 'planned' AND redo > 0 AND redo <> ?"
FOLLOWING = """
UPDATE tasks SET plan = ?1 WHERE root IS NOT NULL AND state <> 'planned'
AND EXISTS (SELECT 1 FROM tasks first WHERE first.key = tasks.root AND first.plan = ?1)
"""
"""Asked of each replacement, which are few; a list of all keys would be made for each plan."""
Redraw = Callable[[Task, Sequence[Task], int], Task | None]
"""The replacement of this number: of the cell's first task and its rejected ones, in their order; None: there
can be none."""

Execute = Callable[[str, tuple[Any, ...]], object]


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
    for cell in cells(connection, OF_PLAN, plan):
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
    for cell in cells(connection, which, plan, rejected):
        number = due(cell, most)
        if number is not None and cell.waiting is None:
            return _plan(connection, plan, cell, number, redraw, execute)
    return []


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
