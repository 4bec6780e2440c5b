"""How many API calls were made, by kind: counted at once, written a little later.

Rule: no call waits for the disk to be counted; a kill loses the counts of half a second, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from batcher import errors
from batcher.ledger.group_commit import GroupCommit

FLUSH_SECONDS = 0.5


class CallCounter:
    """`unwritten` is what the ledger's rows do not have yet."""

    def __init__(self, group: GroupCommit) -> None:
        self.unwritten: Counter[str] = Counter()
        self._group = group
        self._timer: asyncio.TimerHandle | None = None

    def count(self, kind: str) -> None:
        """One more call."""
        self.unwritten[kind] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_quietly)

    def flush(self) -> None:
        """Writes what is unwritten; on disk with the group's commit. Raises DiskError, LedgerError."""
        self.stop()
        unwritten, self.unwritten = self.unwritten, Counter()
        for kind, n in unwritten.items():
            self._group.write(
                "INSERT INTO calls VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", (kind, n)
            )

    def stop(self) -> None:
        """Writes nothing by itself any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush_quietly(self) -> None:
        try:
            self.flush()
        except errors.BatcherError:
            # Every later write or wait raises it to someone who can act on it.
            return
