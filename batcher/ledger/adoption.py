"""A billed job whose picture never came becomes its task's result: `batcher audit --adopt` found it in the
statement, or `batcher verify --repair` in an answer that was kept.

Rule: only a task that has no picture adopts, and only while its job's lock is held (what is `submitting` then
was cut off there). A rejected one has its picture. What is told of the job is written as if its
answer had come, and a failed task is planned for it first: in one transaction, whole or not at all.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

from batcher.ledger.database import meta, transaction

LOST_ANSWERS = ("doubtful", "gateway", "open")
KNOWN_JOBS = (*LOST_ANSWERS, "completed", "failed", "lost")
"""Outcomes of a submission whose answer was lost, and of any that may have been a job."""

ADOPTS = """
SELECT 1 FROM tasks
WHERE id = ?1 AND plan = ?3
  AND (state IN ('planned', 'failed') OR (state IN ('doubtful', 'submitting') AND submission = ?2))
"""
KNOWN = "SELECT url FROM files WHERE task = ? AND submission = ? AND url IS NOT NULL"
PLANNED_AGAIN = """
UPDATE tasks SET state = 'planned', submission = NULL, reason = NULL, attempts = 0, not_before = 0
WHERE id = ? AND state = 'failed'
"""
IN_FORCE = """
UPDATE tasks SET state = 'submitting', submission = ?2
WHERE id = ?1 AND state = 'planned' AND plan = ?3
"""
BILLED = """
UPDATE submissions SET outcome = 'completed', request_id = coalesce(?2, request_id),
  cost = CASE outcome WHEN 'completed' THEN coalesce(cost, ?3) ELSE ?3 END,
  completed_at = coalesce(completed_at, ?4), answered_at = coalesce(answered_at, ?4),
  detail = CASE WHEN outcome IN ('doubtful', 'gateway', 'open') THEN 'its answer was lost; ' ELSE '' END
    || 'taken from ' || ?6
WHERE id = ?1 AND coalesce(request_id, ?2) IS coalesce(?2, request_id)
  AND outcome IN (SELECT value FROM json_each(?5))
"""
READY = """
UPDATE tasks SET state = 'ready', submission = ?2
WHERE id = ?1 AND (state = 'submitting' OR state = 'doubtful')
"""


def has_links(connection: sqlite3.Connection, task: int, submission: int, urls: Sequence[str]) -> bool:
    """Whether some of these links are known as those of a task's files by this submission."""
    return not {url for (url,) in connection.execute(KNOWN, (task, submission))}.isdisjoint(urls)


def adopt(
    connection: sqlite3.Connection,
    task: int,
    submission: int,
    request_id: str | None,
    cost: int | None,
    urls: Sequence[str],
    now: float,
    *,
    spool: Sequence[str] = (),
    outcomes: Collection[str] = LOST_ANSWERS,
    told_by: str = "the request history",
) -> bool:
    """Makes a job of which `told_by` tells (`cost` in micro-credits, `urls` of its pictures, or their names
    in the `spool`; `now` in Unix seconds) the result of a task that is planned, doubtful or failed; whether
    it did. The next run fetches it. `outcomes`: those in which its submission may stand by now. Files that
    the task has had by these very links are not taken once more: what they hold is why it stands so."""
    plan = int(meta(connection, "plan") or 0)
    billed = (submission, request_id, cost, now, json.dumps([*outcomes]), told_by)
    with transaction(connection):
        if connection.execute(ADOPTS, (task, submission, plan)).fetchone() is None:
            return False
        if has_links(connection, task, submission, urls):
            return False
        if not connection.execute(BILLED, billed).rowcount:
            return False
        connection.execute(PLANNED_AGAIN, (task,))
        connection.execute(IN_FORCE, (task, submission, plan))
        connection.execute("DELETE FROM files WHERE task = ?", (task,))
        connection.executemany(
            "INSERT INTO files (task, position, submission, url, spool) VALUES (?, ?, ?, ?, ?)",
            [
                (task, position, submission, url, name)
                for position, (url, name) in enumerate(
                    [*((url, None) for url in urls), *((None, name) for name in spool)]
                )
            ],
        )
        connection.execute(READY, (task, submission))
    return True
