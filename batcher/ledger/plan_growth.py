"""A plan grows by the tasks of new files: they join it, and what it has stays untouched.

Rule: afterwards the ledger is as a plan of everything would have left it, but for the number of the plan,
which stays; where that cannot be said nothing is changed, and everything is planned.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from itertools import islice

from batcher.ledger import composed_files, label_categories, relabelling
from batcher.ledger.database import meta, set_meta, transaction
from batcher.ledger.plan_writer import BATCH, UPSERT, PlanResult, row_of
from batcher.ledger.planned_files import NotGrown
from batcher.task import Task

SAME_NAME = """
SELECT count(*) FROM tasks t JOIN tasks other ON other.name_key = t.name_key WHERE t.key = ?
"""
RENAMED = """
SELECT 1 FROM tasks WHERE plan = ? AND (state = 'planned' OR state = 'failed')
AND substr(name, -9) = '-' || substr(key, 1, 8) LIMIT 1
"""
"""A task whose name another held: a plan of everything would look whether that is still so."""


def can_grow(connection: sqlite3.Connection) -> bool:
    """Whether the present plan is one that new files leave as it is: all it hangs on was settled, and it has
    neither files that parameters put together nor classes of objects, nor a task that was renamed."""
    if not meta(connection, "fingerprint") or meta(connection, composed_files.NOTE):
        return False
    number = int(meta(connection, "plan") or 0)
    renamed = connection.execute(RENAMED, (number,)).fetchone()
    return renamed is None and not label_categories.read(connection)


def grow(
    connection: sqlite3.Connection,
    tasks: Iterable[Task],
    fingerprint: str,
    *,
    progress: Callable[[int], None],
    settled: Callable[[], bool],
    check: Callable[[sqlite3.Connection, int], None],
) -> PlanResult:
    """Adds `tasks` to the present plan; `settled` and `check` are asked as in `plan_writer.plan`. Raises
    NotGrown where a plan of everything might give something else, and what these raise; nothing is changed
    then."""
    with transaction(connection):
        number = int(meta(connection, "plan") or 0)
        before, left_out = _count(connection, "tasks"), _left_out(connection)
        total = _in_plan(connection, number)
        every = iter(tasks)
        with relabelling.count_relabelled(connection) as relabelled:
            while batch := list(islice(every, BATCH)):
                connection.executemany(UPSERT, [row_of(None, task, number) for task in batch])
                for task in batch:
                    if connection.execute(SAME_NAME, (task.key,)).fetchone()[0] != 1:
                        raise NotGrown
                progress(total + len(batch))
                total += len(batch)
        # Rows that were left out stand in the order in which a plan comes upon them.
        left_out_anew = left_out > 0 and _left_out(connection) != left_out
        if left_out_anew or relabelled.number or _in_plan(connection, number) != total:
            raise NotGrown
        check(connection, number)
        total = _in_plan(connection, number)  # with the replacements of what is rejected in it
        new = _count(connection, "tasks") - before
        set_meta(connection, "fingerprint", fingerprint if settled() else "")
    return PlanResult(total, new)


def _in_plan(connection: sqlite3.Connection, number: int) -> int:
    return int(connection.execute("SELECT count(*) FROM tasks WHERE plan = ?", (number,)).fetchone()[0])


def _left_out(connection: sqlite3.Connection) -> int:
    return _count(connection, "left_out") + _count(connection, "passed_over")


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
