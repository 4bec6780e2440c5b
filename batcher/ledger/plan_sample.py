"""Which tasks of a plan a sample is, and how much of it waits: `--sample N`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

from batcher.job.plan import sampling

# In the order of keys, which are hashes: it says nothing of the tasks, and hardly changes as a plan grows.
CANDIDATES = "SELECT id, columns FROM tasks WHERE plan = ? ORDER BY key LIMIT ?"


def drawn(connection: sqlite3.Connection, plan: int, most: int, axes: Sequence[str]) -> frozenset[int]:
    """The numbers of the tasks of this plan that a sample of so many is, whatever became of them."""
    rows = connection.execute(CANDIDATES, (plan, most + sampling.POOL)).fetchall()
    places = sampling.sample([json.loads(columns) for _, columns in rows], most, (*axes, "repeat"))
    return frozenset(int(rows[place][0]) for place in places)


def among(tasks: Collection[int] | None) -> str | None:
    """These tasks (None: all there are) as the value that `within` asks."""
    return None if tasks is None else json.dumps(sorted(tasks))


def within(value: str, column: str = "id") -> str:
    """SQL: whether a task is among those of the placeholder `value`."""
    return f"({value} IS NULL OR {column} IN (SELECT value FROM json_each({value})))"
