"""`batcher retry`: failed and held tasks may be submitted again. Works beside a run, which then finds them.

Rule: a retry costs nothing by itself; it is a move like any other, and the database refuses the wrong ones.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from batcher.ledger.database import meta, transaction
from batcher.ledger.replacement_cells import NOT_NEEDED

AGAIN = f"""
UPDATE tasks SET state = 'planned', submission = NULL, reason = NULL, attempts = 0, not_before = 0
WHERE plan = ?1 AND state = ?2
  AND (?3 IS NULL OR instr(coalesce(reason, ''), ?3) > 0)
  AND (?4 IS NULL OR name GLOB ?4)
  AND NOT ({NOT_NEEDED})
"""


@dataclass(frozen=True, slots=True)
class RetryCounts:
    """How many tasks went back to planned."""

    failed: int
    doubtful: int


def retry(
    connection: sqlite3.Connection,
    *,
    failed: bool = True,
    doubtful: bool = False,
    reason: str | None = None,
    only: str | None = None,
) -> RetryCounts:
    """Plans again the failed and (or) the doubtful tasks of the present plan.

    `reason`: only those whose reason contains this text; `only`: only those whose name fits this glob. A
    replacement that nobody needs any more stays as it is.
    """
    number = int(meta(connection, "plan") or 0)
    with transaction(connection):
        counts = [
            connection.execute(AGAIN, (number, state, reason, only)).rowcount if wanted else 0
            for state, wanted in (("failed", failed), ("doubtful", doubtful))
        ]
    return RetryCounts(*counts)
