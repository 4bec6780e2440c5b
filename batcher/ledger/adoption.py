"""`batcher audit --adopt`: a billed job whose answer was lost becomes its task's result.

Rule: only a task that would be paid for once more adopts, and only while its job's lock is held (what is
`submitting` then was cut off there). What the
statement tells of the job is written as if its answer had come: in one transaction, whole or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from batcher.ledger.database import meta, transaction

ADOPTS = """
SELECT 1 FROM tasks
WHERE id = ?1 AND plan = ?3
  AND (state = 'planned' OR (state IN ('doubtful', 'submitting') AND submission = ?2))
"""
IN_FORCE = """
UPDATE tasks SET state = 'submitting', submission = ?2
WHERE id = ?1 AND state = 'planned' AND plan = ?3
"""
BILLED = """
UPDATE submissions SET outcome = 'completed', request_id = ?2, cost = ?3, completed_at = ?4,
  answered_at = coalesce(answered_at, ?4), detail = 'its answer was lost; taken from the request history'
WHERE id = ?1 AND coalesce(request_id, ?2) = ?2 AND outcome IN ('doubtful', 'gateway', 'open')
"""
READY = """
UPDATE tasks SET state = 'ready', submission = ?2
WHERE id = ?1 AND (state = 'submitting' OR state = 'doubtful')
"""


def adopt(
    connection: sqlite3.Connection,
    task: int,
    submission: int,
    request_id: str,
    cost: int,
    urls: Sequence[str],
    now: float,
) -> bool:
    """Makes a job found in the statement (`cost` in micro-credits, `urls` of its pictures, `now` in Unix
    seconds) the result of a task that is planned or doubtful; whether it did. The next run fetches it."""
    plan = int(meta(connection, "plan") or 0)
    with transaction(connection):
        adopts = connection.execute(ADOPTS, (task, submission, plan)).fetchone()
        if adopts is None or not connection.execute(BILLED, (submission, request_id, cost, now)).rowcount:
            return False
        connection.execute(IN_FORCE, (task, submission, plan))
        connection.execute("DELETE FROM files WHERE task = ?", (task,))
        connection.executemany(
            "INSERT INTO files (task, position, submission, url) VALUES (?, ?, ?, ?)",
            [(task, position, submission, url) for position, url in enumerate(urls)],
        )
        connection.execute(READY, (task, submission))
    return True
