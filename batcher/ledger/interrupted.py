"""What the process before left under way, as the next one finds it.

Rule: a POST whose answer was not recorded is in doubt, unless the API itself is known to be gone.
"""

from __future__ import annotations

import sqlite3

DOUBT_SUBMISSIONS = """
UPDATE submissions SET outcome = 'doubtful', detail = 'interrupted before its answer'
WHERE id IN (SELECT submission FROM tasks WHERE state = 'submitting')
"""
DOUBT_TASKS = "UPDATE tasks SET state = 'doubtful' WHERE state = 'submitting'"

LOSE_SUBMISSIONS = """
UPDATE submissions SET outcome = 'lost', detail = ?
WHERE outcome = 'open'
  AND id IN (SELECT submission FROM tasks WHERE state IN ('doubtful', 'submitted', 'ready'))
"""
PLAN_TASKS = """
UPDATE tasks SET state = 'planned', submission = NULL WHERE state IN ('doubtful', 'submitted', 'ready')
"""


def mark_doubtful(connection: sqlite3.Connection) -> int:
    """Every POST that was in the air is in doubt; how many."""
    connection.execute(DOUBT_SUBMISSIONS)
    return connection.execute(DOUBT_TASKS).rowcount


def plan_again(connection: sqlite3.Connection, why: str) -> int:
    """All that was under way at an API that is gone is planned again; how many tasks."""
    connection.execute(LOSE_SUBMISSIONS, (why,))
    planned = connection.execute(PLAN_TASKS).rowcount
    connection.execute("DELETE FROM uploads")
    return planned
