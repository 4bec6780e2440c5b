"""Which delivered pictures have other labels in a plan than in the one before: corrected in their source.

Rule: counted while the plan enters, in its transaction; what is not changed costs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from batcher.job.geometry import LABEL_COLUMNS
from batcher.progress.summary import several

_DIFFER = " OR ".join(
    f"json_extract(NEW.columns, '$.{name}') IS NOT json_extract(OLD.columns, '$.{name}')"
    for name in (*LABEL_COLUMNS, "objects")
)
BEGIN = (
    "CREATE TEMP TABLE relabelled (task INTEGER PRIMARY KEY)",
    f"""
    CREATE TEMP TRIGGER labels_change AFTER UPDATE OF columns ON main.tasks
    WHEN NEW.columns <> OLD.columns AND (OLD.state = 'done' OR OLD.state = 'rejected')
      AND CASE WHEN json_valid(NEW.columns) AND json_valid(OLD.columns) THEN {_DIFFER} ELSE 0 END
    BEGIN
      INSERT OR IGNORE INTO relabelled VALUES (NEW.id);
    END
    """,
)
END = ("DROP TRIGGER temp.labels_change", "DROP TABLE temp.relabelled")


class RelabelCounter:
    """How many delivered tasks have other labels now."""

    def __init__(self) -> None:
        self.number = 0


@contextmanager
def count_relabelled(connection: sqlite3.Connection) -> Iterator[RelabelCounter]:
    """Counts them while tasks are written; inside the transaction that is open, whose end by an error takes
    all of it away."""
    found = RelabelCounter()
    for statement in BEGIN:
        connection.execute(statement)
    yield found
    (found.number,) = connection.execute("SELECT count(*) FROM temp.relabelled").fetchone()
    for statement in END:
        connection.execute(statement)


def changed_text(number: int, where: str) -> str:
    """How many delivered pictures have other labels, in a sentence; empty: none."""
    if not number:
        return ""
    pictures = several(number, "delivered picture", "delivered pictures")
    return f"the labels of {pictures} have changed since: their boxes are those of {where} as they are now"
