"""How the last run ended: its exit code, causes, balance. Only the run itself knows; readers later ask.

Rule: a run that goes on, or was killed, has not ended; nothing is told of it, nor of the one before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from batcher.ledger.database import meta

KEY = "ending"
"""Its key among the ledger's notes."""
SHARING = "sharing"
"""The key of another note: with whom a run that goes on shares the account's limit, in words."""
STILL_RUNNING = "null"
"""What the note says from a run's start to its end."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """`causes` are the sentences that explain `exit_code`; `balance` is opening, spent, closing and
    difference in credits, None where it is not known (earlier versions wrote it as `audit`); `news` counts
    what was new at its end (`notices.KINDS`), None where no run has ended since it came up; `ended_at` is
    in Unix seconds, None where it was not noted."""

    exit_code: int = 0
    causes: tuple[str, ...] = ()
    balance: Mapping[str, float] | None = None
    news: Mapping[str, int] | None = None
    ended_at: float | None = None

    def as_text(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(asdict(self))


def last(connection: sqlite3.Connection) -> LastRun:
    """How the last run ended; the empty one where it did not, or where no run told it."""
    end = json.loads(meta(connection, KEY) or STILL_RUNNING)
    if end is None:
        return LastRun()
    balance = end.get("balance", end.get("audit"))
    return LastRun(end["exit_code"], tuple(end["causes"]), balance, end.get("news"), end.get("ended_at"))


def has_ended(connection: sqlite3.Connection) -> bool | None:
    """Whether the last run ended and noted how: not yet, or never will, where it goes on or was killed; None:
    nothing was run."""
    text = meta(connection, KEY)
    return None if text is None else text != STILL_RUNNING
