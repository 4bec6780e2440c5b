"""Whether metadata.jsonl and its neighbours tell what the ledger does: a decision is in the ledger at once,
and the files that tell of it are written anew when there is time.

Rule: the number that stands as written is the one that was read before the files were, so that a decision
which comes meanwhile leaves them stale.
"""

from __future__ import annotations

import sqlite3

from batcher.ledger.database import meta, set_meta, transaction

DECISIONS, WRITTEN = "decisions", "decisions_written"
"""Notes of the ledger: how often somebody decided, and as of which decision the files were written."""


def note_decision(connection: sqlite3.Connection) -> None:
    """From now on the files are stale; inside the transaction of what was decided."""
    set_meta(connection, DECISIONS, str(_number(connection, DECISIONS) + 1))


def last_unwritten(connection: sqlite3.Connection) -> int:
    """The number of the last decision, where the files do not tell of it yet; else 0."""
    decisions = _number(connection, DECISIONS)
    return decisions if decisions != _number(connection, WRITTEN) else 0


def note_written(connection: sqlite3.Connection, decision: int) -> None:
    """The files tell of everything up to this decision."""
    with transaction(connection):
        if decision > _number(connection, WRITTEN):
            set_meta(connection, WRITTEN, str(decision))


def _number(connection: sqlite3.Connection, key: str) -> int:
    return int(meta(connection, key) or 0)
