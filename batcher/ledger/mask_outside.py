"""What masks of the job's delivered pictures say where the source does not lie, as its manifest says it."""

from __future__ import annotations

import sqlite3

from batcher.ledger import database

NOTE = "mask_outside"


def noted(connection: sqlite3.Connection) -> int | None:
    """The value; None where the manifest says none, or an older run planned the job."""
    text = database.meta(connection, NOTE)
    return int(text) if text else None
