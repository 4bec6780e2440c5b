"""Which tasks of a plan a sample is, and how much of it waits: `--sample N`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

from batcher.job.plan import sampling

# In the order of keys, which are hashes: it says nothing of the tasks, and hardly changes as a plan grows.
CANDIDATES = "SELECT id, columns FROM tasks WHERE plan = ? AND redo = 0 ORDER BY key LIMIT ?"
REPLACEMENTS = """
SELECT t.id FROM tasks t JOIN tasks first ON first.key = t.root
WHERE t.plan = ? AND first.id IN (SELECT value FROM json_each(?))
"""


def drawn(connection: sqlite3.Connection, plan: int, most: int, axes: Sequence[str]) -> frozenset[int]:
    """The numbers of the tasks of this plan that a sample of so many is, whatever became of them, and of
    their replacements: which are drawn does not hang on what was rejected."""
    rows = connection.execute(CANDIDATES, (plan, most + sampling.POOL)).fetchall()
    places = sampling.sample([json.loads(columns) for _, columns in rows], most, (*axes, "repeat"))
    first = frozenset(int(rows[place][0]) for place in places)
    return first | replacements_of(connection, plan, first)


def replacements_of(connection: sqlite3.Connection, plan: int, sample: Collection[int]) -> frozenset[int]:
    """The replacements that a sample's tasks have in the plan of this number."""
    return frozenset(int(task) for (task,) in connection.execute(REPLACEMENTS, (plan, among(sample))))


def among(tasks: Collection[int] | None) -> str | None:
    """These tasks (None: all there are) as the value that `within` asks."""
    return None if tasks is None else json.dumps(sorted(tasks))


def within(value: str, column: str = "id") -> str:
    """SQL: whether a task is among those of the placeholder `value`."""
    return f"({value} IS NULL OR {column} IN (SELECT value FROM json_each({value})))"
