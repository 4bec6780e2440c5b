"""What is news: troubles of which no run that came to its end has told yet; and what a person has seen.

Rule: a notice belongs to a task's present state, or to a row that is left out as it is: what fails again is
news again. Counts and records never change by it.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from batcher.ledger import totals
from batcher.ledger.database import columns, meta, transaction
from batcher.ledger.totals import SHORT
from batcher.task import State

KINDS = ("failed", "left_out", "doubtful", "rejected")
"""Tasks that failed or came with too few pictures; rows; tasks whose answer was lost; pictures that a check
set aside, which are no failure: no exit code speaks of them, and nobody need acknowledge them."""

TOLD_AFTER = frozenset({0, 3, 4, 10})
"""Exit codes of a run whose end somebody hears of. After another one (killed, cut off, to be started again)
its news are the next start's."""

TROUBLES = f"""
SELECT t.id AS task, t.state AS kind, t.name AS name, '' AS file, 0 AS line, '' AS problem FROM tasks t
WHERE t.state IN ('failed', 'doubtful') AND t.plan = ?1
UNION ALL
SELECT t.id, t.state, t.name, '', 0, '' FROM tasks t WHERE t.state = 'rejected' AND t.plan = ?1
  AND t.rejected_by <> 'person'
UNION ALL
SELECT t.id, 'failed', t.name, '', 0, '' FROM tasks t WHERE t.plan = ?1 AND {SHORT}
UNION ALL
SELECT NULL, 'left_out', replace(l.file, rtrim(l.file, replace(l.file, '/', '')), ''), l.file, l.line,
       l.reason FROM left_out l
"""
"""Every trouble of the present plan: a task, or a row, whose name is its file's."""
NEWS = "sum(n.task IS NULL AND r.file IS NULL)"
UNSEEN = "sum(n.acked_at IS NULL AND r.acked_at IS NULL)"
NOTICES = """
FROM troubles t LEFT JOIN task_notices n ON n.task = t.task
LEFT JOIN row_notices r ON r.file = t.file AND r.line = t.line AND r.problem = t.problem
"""


class Troubles(NamedTuple):
    """How many troubles there are, by kind: `all` of them, those that are `news`, and those `unseen` by any
    person, of which the exit code speaks."""

    all: dict[str, int]
    news: dict[str, int]
    unseen: dict[str, int]

    @property
    def failures(self) -> int:
        """What makes a run end with 3."""
        return sum(self.unseen.values()) - self.unseen["rejected"]

    @property
    def acked(self) -> int:
        """Acknowledged by a person."""
        return sum(self.all.values()) - sum(self.unseen.values())


def count(connection: sqlite3.Connection) -> Troubles:
    """Counts the troubles of the present plan; of a ledger of an older schema that is only read, all are
    news."""
    counts = Troubles(*(dict.fromkeys(KINDS, 0) for _ in range(3)))
    if "rejected_by" not in columns(connection, "tasks"):
        return _of_older_schema(connection, counts)
    noted = bool(columns(connection, "task_notices"))
    query = (
        f"WITH troubles AS ({TROUBLES}) SELECT t.kind, count(*), {NEWS if noted else 'count(*)'}, "
        f"{UNSEEN if noted else 'count(*)'} {NOTICES if noted else 'FROM troubles t'} GROUP BY t.kind"
    )
    for kind, *numbers in connection.execute(query, (_plan(connection),)):
        for of_kind, number in zip(counts, numbers, strict=True):
            of_kind[kind] = number
    return counts


def _of_older_schema(connection: sqlite3.Connection, counts: Troubles) -> Troubles:
    for state, number in totals.counts(connection).items():
        if state in (State.FAILED, State.DOUBTFUL):
            counts.all[state.value] = number
    counts.all["failed"] += totals.shortfalls(connection)
    counts.all["left_out"] = totals.left_out(connection)
    return Troubles(counts.all, dict(counts.all), dict(counts.all))


def tell(connection: sqlite3.Connection) -> None:
    """Every trouble of now is told, inside the transaction that is open; of rows that are not left out any
    more, nothing is kept."""
    plan = (_plan(connection),)
    these = f"WITH troubles AS ({TROUBLES})"
    connection.execute(
        f"INSERT OR IGNORE INTO task_notices (task) {these} SELECT task FROM troubles WHERE task IS NOT NULL",
        plan,
    )
    connection.execute(
        "INSERT OR IGNORE INTO row_notices (file, line, problem) "
        f"{these} SELECT file, line, problem FROM troubles WHERE task IS NULL",
        plan,
    )
    connection.execute(
        "DELETE FROM row_notices WHERE NOT EXISTS (SELECT 1 FROM left_out l "
        "WHERE l.file = row_notices.file AND l.line = row_notices.line AND l.reason = problem)"
    )


def acknowledge(
    connection: sqlite3.Connection, *, now: float, reason: str | None = None, only: str | None = None
) -> dict[str, int]:
    """A person has seen these troubles: how many were not acknowledged before, by kind.

    `only`: those alone whose task's name, or whose row's file, fits this glob; `reason`: what is kept with
    them.
    """
    with transaction(connection):
        query = (
            f"WITH troubles AS ({TROUBLES}) SELECT t.kind, t.task, t.file, t.line, t.problem {NOTICES} "
            "WHERE n.acked_at IS NULL AND r.acked_at IS NULL AND t.kind <> 'rejected' "
            "AND (?2 IS NULL OR t.name GLOB ?2)"
        )
        rows = connection.execute(query, (_plan(connection), only)).fetchall()
        connection.executemany(
            "INSERT INTO task_notices VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
            "SET acked_at = excluded.acked_at, reason = excluded.reason",
            [(task, now, reason) for _, task, *_ in rows if task is not None],
        )
        connection.executemany(
            "INSERT INTO row_notices VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET acked_at = excluded.acked_at, reason = excluded.reason",
            [(*row, now, reason) for _, task, *row in rows if task is None],
        )
    counts = dict.fromkeys(KINDS, 0)
    for kind, *_ in rows:
        counts[kind] += 1
    return counts


def _plan(connection: sqlite3.Connection) -> int:
    return int(meta(connection, "plan") or 0)
