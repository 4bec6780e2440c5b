"""A queue that is slower than the record's life: what is submitted too early is paid for and lost."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.allowed import Terms
from tests.bench.contest import batcher, script, side_by_side, unguarded
from tests.bench.figures import Figure
from tests.bench.rows.limited import compared, over
from tests.bench.scale import Scale


def rows(scale: Scale) -> Iterator[Figure]:
    tasks = 200
    terms = Terms(service=0.4, sigma=0.2, workers=4, ttl=8.0)
    changes = {"limits": {"in_flight": 200}, "result_ttl": "8s", "poll": {"delay": "300ms"}}
    commands = {
        "batcher": batcher(tasks, **changes),
        "without its guard": unguarded(tasks, **changes),
        "script": script(tasks, 200),
    }
    found = side_by_side(commands, terms, scale.times)
    row = f"a queue slower than the record's life ({tasks} tasks, 8 s)"
    yield compared(row, "paid and lost", found, lambda run: run.seen["lost"], "<=", 0, worst=max)
    yield compared(row, "makespan over the ideal", found, lambda run: over(run, tasks), "<=", 1.15, "x")
    yield compared(row, "delivered", found, lambda run: run.delivered, ">=", tasks, worst=min)
