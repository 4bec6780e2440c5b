"""What tests of the ledger need: tasks, ledgers with a plan, and a look at the rows beside the totals."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batcher.api.wire import Accepted, Output, Result
from batcher.ledger import database, totals
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.task import State, Task
from tests.support.virtualtime import VirtualTimeLoop

NOW = 1_767_614_400.0
ACCEPTED = Accepted("r-1", "http://api/s", "http://api/r")
PICTURE = Output(url="http://files/a.png")


def blank_ledger() -> sqlite3.Connection:
    """A ledger on a temporary file that vanishes with the connection."""
    connection = sqlite3.connect("", isolation_level=None)
    database._install(connection)
    return connection


def a_task(number: int, **changes: Any) -> Task:
    """A task with a key of its own."""
    key = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    facts = {"key": key, "name": f"n{number}", "params": {"prompt": f"p{number}"}}
    return Task(**{**facts, "columns": {"n": number}, "media": {}, **changes})


def a_result(cost: float | None = 0.01, *outputs: Output, **more: Any) -> Result:
    return Result(outputs or (PICTURE,), cost=cost, **more)


@contextmanager
def a_ledger(
    path: Path, tasks: int = 1, *, now: Callable[[], float] = lambda: NOW, images: int = 1
) -> Iterator[Ledger]:
    """A ledger with a plan of so many tasks and a run that has begun; in a running loop."""
    ledger = Ledger(path, now=now)
    try:
        if ledger.plan_number == 0:
            ledger.plan((a_task(n, images=images) for n in range(tasks)), "a plan")
        ledger.start_run()
        yield ledger
    finally:
        ledger.close()


def first(ledger: Ledger) -> TaskEntry:
    return ledger.next_planned(0, 1)[0]


def equals_its_rows(ledger: Ledger) -> None:
    """Running totals are what a count over the rows gives."""
    rows = ledger.connection
    assert ledger.counts == totals.counts(rows)
    assert (
        sum(ledger.counts.values())
        == rows.execute("SELECT count(*) FROM tasks WHERE plan = ?", (ledger.plan_number,)).fetchone()[0]
    )
    assert ledger.money == totals.money(rows)
    assert ledger.images == totals.images(rows)
    assert ledger.calls - ledger.call_counter.unwritten == totals.calls(rows)


def on_disk(path: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What somebody beside the run reads."""
    connection = database.open_for_reading(path)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def in_virtual_time(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs it in a loop of its own, for properties that hypothesis calls many times."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(coroutine)


def states(ledger: Ledger) -> Counter[State]:
    return Counter({state: n for state, n in ledger.counts.items() if n})
