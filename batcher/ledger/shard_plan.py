"""A share of a plan enters a ledger: the whole is gone through, and what is the share's is kept.

Rule: every share sees the whole plan. So two tasks of one name are found wherever they lie, every share notes
of which whole it is one, and a task has the whole's number, which is its place when shares come together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from batcher import errors
from batcher.job.plan import name_key
from batcher.ledger.database import meta, set_meta
from batcher.ledger.plan_caches import DuplicateCounter
from batcher.shard import Shard
from batcher.task import Task

COLLISIONS_TOLD = 20


class WholePlan:
    """The whole plan, as it goes past one of its shares."""

    def __init__(self, connection: sqlite3.Connection, shard: Shard) -> None:
        self._connection = connection
        self._shard = shard
        self._before = int(meta(connection, "numbered") or 0)
        self._names = DuplicateCounter(connection, "names")
        self._taken: dict[str, Task] = {}
        self._digest = blake2b(digest_size=16)
        self._total = 0

    def shared(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Task]]:
        """The share's tasks, each with its number in the whole. Raises ManifestError at the end, where
        several tasks of the whole have one name: what another share delivered is not known here, so none of
        them could be renamed."""
        for task in tasks:
            self._total += 1
            self._digest.update(f"{task.key} {task.name}\n".encode(errors="surrogatepass"))
            name = blake2b(name_key(task.name).encode(errors="surrogatepass"), digest_size=8)
            if self._names(name.digest()) and len(self._taken) < COLLISIONS_TOLD:
                self._taken.setdefault(task.name, task)
            if self._shard.holds(task.key):
                yield self._before + self._total, task
        if self._taken:
            raise errors.ManifestError([_problem(task) for task in self._taken.values()])

    def note(self) -> None:
        """Keeps in the ledger what whole this is a share of, inside the transaction that is open."""
        set_meta(self._connection, "whole", f"{self._total} {self._digest.hexdigest()}")
        set_meta(self._connection, "numbered", str(self._before + self._total))


def _problem(task: Task) -> errors.Problem:
    text = ", ".join(f"{name}={value}" for name, value in task.columns.items())
    return errors.Problem(
        f"several tasks of the whole plan would be named {task.name!r}, for example [{text[:120]}]; "
        "make the name differ, for example with {{ repeat }} or another column",
        key="output.name",
    )
