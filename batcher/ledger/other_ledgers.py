"""Ledgers of other output folders, asked by key which tasks of a plan are paid for there.

Rule: they are only read, and one that is damaged, locked, or of something else knows nothing. A large plan
asks a sample first: keys are hashes, so a thousand of them tell whether it is worth asking all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from batcher import errors
from batcher.ledger import database

SAMPLE = 1_000
"""Keys that a large plan asks first."""
PROMISING = 0.4
"""The share of a sample that must be paid for: of a plan of which half is, a sample falls below it once in
billions."""
KEYS_AT_ONCE = 500
KEYS = "SELECT key FROM tasks WHERE plan = ? ORDER BY key"
BUSY_SECONDS = 0.2
"""A ledger that is locked for longer is passed over."""

# Where keys are asked for too, a + keeps SQLite from going by the states, which are few.
PAID = "state IN ('submitting', 'doubtful', 'submitted', 'ready', 'done', 'rejected')"


@dataclass(frozen=True, slots=True)
class PaidThere:
    """Tasks of a plan of `total` that ledgers elsewhere have paid for: done, or under way."""

    total: int
    done: int = 0
    under_way: int = 0

    @property
    def is_half(self) -> bool:
        """Whether that is half of the plan, or more."""
        return 2 * (self.done + self.under_way) >= self.total > 0


def has_paid(connection: sqlite3.Connection) -> bool:
    """Whether this ledger has paid for any task, or may have."""
    return connection.execute(f"SELECT 1 FROM tasks WHERE {PAID} LIMIT 1").fetchone() is not None


class PlanKeys:
    """The keys of the plan of this number in a ledger, all of them or a sample, and their number."""

    def __init__(self, connection: sqlite3.Connection, plan: int) -> None:
        self._connection = connection
        self._plan = plan
        (self.total,) = connection.execute("SELECT count(*) FROM tasks WHERE plan = ?", (plan,)).fetchone()
        self.sample = [key for (key,) in connection.execute(f"{KEYS} LIMIT ?", (plan, SAMPLE))]

    def every(self) -> Iterator[str]:
        """All of them."""
        return (key for (key,) in self._connection.execute(KEYS, (self._plan,)))


def paid_in(
    keys: PlanKeys, ledgers: Sequence[Path], origin: str, reused: Sequence[sqlite3.Connection] = ()
) -> PaidThere:
    """What the ledgers at these paths, which share no task, have paid for of a plan, but for what the ledgers
    of `reused` have done; only those that were made against the API `origin` are asked."""
    with ExitStack() as stack:
        asked = [
            stack.enter_context(closing(opened))
            for path in ledgers
            if (opened := _opened(path, origin)) is not None
        ]
        if not keys.total or not asked:
            return PaidThere(keys.total)
        found = _paid(keys.sample, asked, reused)
        if keys.total <= len(keys.sample):
            return PaidThere(keys.total, *found)
        if sum(found) < PROMISING * len(keys.sample):
            return PaidThere(keys.total)
        return PaidThere(keys.total, *_paid(keys.every(), asked, reused))


def done_in(keys: PlanKeys, ledgers: Sequence[sqlite3.Connection]) -> int:
    """How many tasks of a plan these open ledgers have done."""
    if not ledgers:
        return 0
    return sum(len(set().union(*(_done(one, batch) for one in ledgers))) for batch in _batches(keys.every()))


def _opened(path: Path, origin: str) -> sqlite3.Connection | None:
    try:
        connection = database.open_for_reading(path, busy_seconds=BUSY_SECONDS)
    except errors.BatcherError:
        return None
    try:
        if database.meta(connection, "origin") == origin:
            return connection
    except sqlite3.Error:
        pass
    connection.close()
    return None


def _paid(
    keys: Iterable[str], ledgers: Sequence[sqlite3.Connection], reused: Sequence[sqlite3.Connection]
) -> tuple[int, int]:
    """How many of these keys are done in the ledgers, and how many under way."""
    done = under_way = 0
    for batch in _batches(keys):
        for connection in reused:
            covered = _done(connection, batch)
            batch = [key for key in batch if key not in covered]
        query = (
            "SELECT count(*), total(state IN ('done', 'rejected')) FROM tasks "
            f"WHERE key IN ({', '.join('?' * len(batch))}) AND +{PAID}"
        )
        for connection in ledgers:
            try:
                paid, of_them_done = connection.execute(query, batch).fetchone()
            except sqlite3.Error:
                continue
            done += int(of_them_done)
            under_way += paid - int(of_them_done)
    return done, under_way


def _done(connection: sqlite3.Connection, keys: Sequence[str]) -> set[str]:
    query = f"SELECT key FROM tasks WHERE key IN ({', '.join('?' * len(keys))}) AND +state = 'done'"
    return {key for (key,) in connection.execute(query, tuple(keys))}


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while batch := list(islice(remaining, KEYS_AT_ONCE)):
        yield batch
