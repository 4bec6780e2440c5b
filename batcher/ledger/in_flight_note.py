"""How many tasks may be in flight at the moment: the run that holds the job notes it now and then, for those
who look from outside.
"""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from batcher.ledger.database import meta

KEY = "in_flight"
"""Among the ledger's notes."""


class InFlightNote(NamedTuple):
    """`size` tasks may be in flight now, and never more than `most`; `auto`: the run works the number out,
    else it is the manifest's, or what was set."""

    size: int
    most: int
    auto: bool

    def as_text(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(self)

    def sentence(self, now: int) -> str:
        """For people, while so many are in flight now."""
        if self.auto:
            return f"{now:,} now; {self.size:,} allowed at the moment (auto), {self.most:,} at the most"
        if self.size < self.most:
            return f"{now:,} now; {self.size:,} allowed at the moment, {self.most:,} at the most"
        return f"{now:,} now; {self.most:,} allowed"


def read(connection: sqlite3.Connection) -> InFlightNote | None:
    """The note of the last run; None: it left none. Only while one is running is it news."""
    text = meta(connection, KEY)
    return InFlightNote(*json.loads(text)) if text else None
