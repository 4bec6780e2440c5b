"""What a person has looked at, so that a review goes on tomorrow where it ended today.

Rule: whoever decides has looked. A task that is made anew is looked at anew: its row goes with its picture.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from batcher.ledger.database import meta, transaction

LOOKED = """
INSERT INTO reviews (task, looked_at, by)
SELECT id, ?2, ?3 FROM tasks WHERE id = ?1 AND (state = 'done' OR state = 'rejected')
ON CONFLICT DO UPDATE SET looked_at = excluded.looked_at, by = excluded.by
"""
TASKS = """
SELECT t.id, t.state = 'rejected', r.task IS NOT NULL,
       EXISTS (SELECT 1 FROM picture_checks c WHERE c.task = t.id AND c.warnings IS NOT NULL)
FROM tasks t LEFT JOIN reviews r ON r.task = t.id
WHERE t.plan = ? AND (t.state = 'done' OR t.state = 'rejected') ORDER BY t.id
"""
REASONS = """
SELECT reason FROM tasks WHERE state = 'rejected' AND rejected_by = ? AND plan = ?
GROUP BY reason ORDER BY count(*) DESC, min(id) LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Look:
    """That somebody looked: when (Unix s), and who (the name of an account of this machine)."""

    at: float
    by: str


@dataclass(frozen=True, slots=True)
class TaskToReview:
    """A task with pictures, as far as a review asks."""

    id: int
    rejected: bool
    looked_at: bool
    warned: bool

    @property
    def flags(self) -> int:
        """The three as a number, for those who are told of many: 1, 2 and 4."""
        return self.rejected + 2 * self.looked_at + 4 * self.warned


def look_at(connection: sqlite3.Connection, task: int, look: Look) -> bool:
    """Somebody looked at this task, and left it as it is; whether it has pictures to be looked at."""
    with transaction(connection):
        return note(connection, task, look)


def note(connection: sqlite3.Connection, task: int, look: Look) -> bool:
    """The same, inside the transaction that is open."""
    return bool(connection.execute(LOOKED, (task, look.at, look.by)).rowcount)


def forget(connection: sqlite3.Connection, task: int) -> None:
    """Nobody looked at it; inside the transaction that is open."""
    connection.execute("DELETE FROM reviews WHERE task = ?", (task,))


def look_of(connection: sqlite3.Connection, task: int) -> Look | None:
    """Who looked at a task last; None: nobody did."""
    row = connection.execute("SELECT looked_at, by FROM reviews WHERE task = ?", (task,)).fetchone()
    return None if row is None else Look(*row)


def to_review(connection: sqlite3.Connection) -> Iterable[TaskToReview]:
    """Every task of the present plan that has pictures, in the plan's order."""
    number = int(meta(connection, "plan") or 0)
    return (TaskToReview(task, *map(bool, facts)) for task, *facts in connection.execute(TASKS, (number,)))


def reasons(connection: sqlite3.Connection, by: str, most: int) -> list[str]:
    """For what pictures of the present plan were rejected, by whom `by` says, the most frequent first."""
    number = int(meta(connection, "plan") or 0)
    return [str(reason) for (reason,) in connection.execute(REASONS, (by, number, most))]
