"""How the last run ended: its exit code, its causes, its audit. Only the run itself knows; readers later ask.

Law: a run that goes on, or was killed, has not ended; nothing is told of it, nor of the one before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from batcher.ledger.store import meta

NOTE = "ending"
"""Its key among the ledger's notes."""
NOT_YET = "null"
"""What the note says from a run's start to its end."""


@dataclass(frozen=True, slots=True)
class Ending:
    """`causes` are the sentences that explain `exit_code`; `audit` is opening, spent, closing and difference
    in credits, None where the balance is not known."""

    exit_code: int = 0
    causes: tuple[str, ...] = ()
    audit: Mapping[str, float] | None = None

    def as_text(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(asdict(self))


def last(connection: sqlite3.Connection) -> Ending:
    """How the last run ended; the empty one where it did not, or where no run told it."""
    found = json.loads(meta(connection, NOTE) or NOT_YET)
    if found is None:
        return Ending()
    return Ending(found["exit_code"], tuple(found["causes"]), found["audit"])
