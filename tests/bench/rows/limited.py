"""A limit: known, unknown, and one that counts every call.

A minute of the provider's clock lasts 3 s here: windows of 3 s with 60 calls, a bucket of 60, 20 calls a
second. What batcher waits by its own clock (after a reset, before a probe) is not shortened with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median

from tests.bench.allowed import Terms, call_ideal, submit_ideal
from tests.bench.contest import Command, Outing, batcher, script, sdk, side_by_side
from tests.bench.figures import Figure
from tests.bench.scale import Scale

RATE = 20.0
MINUTE = 60 * RATE
WINDOW = 3.0
BURST = WINDOW * RATE
IN_FLIGHT = 1000
"""Wide: what holds submits back in these rows is the limit."""
THEIRS = 200
"""Places of the script, which asks again every second for each task that it holds."""


def known(scale: Scale) -> Iterator[Figure]:
    """Told the truth: 20 submits a second in a bucket of one second's calls."""
    tasks = 600
    terms = Terms(service=3.0, sigma=0.5, rate=RATE, burst=RATE)
    commands = {
        "batcher": batcher(tasks, limits={"rpm": MINUTE, "in_flight": IN_FLIGHT}, poll={"delay": "100ms"}),
        "script": script(tasks, THEIRS),
        "SDK": sdk(tasks, 50),
        "SDK with backoff": sdk(tasks, 50, backoff=True),
    }
    yield from judged(f"known limit (20/s, {tasks} tasks)", commands, terms, tasks, scale, (1.03, 0.0))


def windows(scale: Scale) -> Iterator[Figure]:
    """Told ten times too much; the provider counts in fixed windows."""
    tasks = scale.of(1200, 900)
    terms = Terms(service=3.0, sigma=0.5, rate=RATE, window=WINDOW)
    yield from unknown("unknown limit, fixed windows", terms, tasks, scale, (1.05, 0.015))


def bucket(scale: Scale) -> Iterator[Figure]:
    """Told ten times too much; the provider keeps a bucket."""
    tasks = scale.of(1200, 900)
    terms = Terms(service=3.0, sigma=0.5, rate=RATE, burst=BURST)
    yield from unknown("unknown limit, token bucket", terms, tasks, scale, (1.10, 0.03))


def unknown(row: str, terms: Terms, tasks: int, scale: Scale, bars: tuple[float, float]) -> Iterator[Figure]:
    commands = {
        "batcher": batcher(
            tasks, limits={"rpm": 10 * MINUTE, "in_flight": IN_FLIGHT}, poll={"delay": "100ms"}
        ),
        "script": script(tasks, THEIRS),
    }
    yield from judged(f"{row} ({tasks} tasks)", commands, terms, tasks, scale, bars)


def judged(
    row: str,
    commands: Mapping[str, Command],
    terms: Terms,
    tasks: int,
    scale: Scale,
    bars: tuple[float, float],
) -> Iterator[Figure]:
    """Makespan over the strict ideal (of what was delivered), 429s, and what was delivered.
    Batcher runs several times, each time with other jobs; the peers run once."""
    found = side_by_side(commands, terms, scale.times)
    yield compared(row, "makespan over the ideal", found, lambda run: over(run, tasks), "<=", bars[0], "x")
    yield compared(row, "429s per task", found, lambda run: run.throttled / tasks, "<=", bars[1])
    yield compared(row, "delivered", found, lambda run: run.delivered, ">=", tasks, worst=min)
    yield compared(row, "polls per task", found, lambda run: run.seen["polls"])


def metered(scale: Scale) -> Iterator[Figure]:
    """Every call counts, and nobody told the client: it is told the rate, and finds out the rest."""
    tasks = scale.of(600, 200)
    terms = Terms(service=15.0, sigma=0.3, rate=RATE, window=WINDOW, metered="all")
    commands = {
        "batcher": batcher(tasks, limits={"rpm": MINUTE, "in_flight": IN_FLIGHT}),
        "script": script(tasks, THEIRS),
    }
    row = f"every call metered ({tasks} tasks of 15 s)"
    found = side_by_side(commands, terms, scale.times)
    best = RATE / 3
    yield compared(row, "calls per image", found, per_image, "<=", 3.3)
    yield compared(
        row,
        "images a minute over R/3",
        found,
        lambda run: run.delivered / run.makespan / best,
        ">=",
        0.9,
        "x",
    )
    yield compared(row, "makespan over the ideal", found, lambda run: over(run, tasks, call_ideal))
    yield compared(row, "delivered", found, lambda run: run.delivered, ">=", tasks, worst=min)


def per_image(run: Outing) -> float:
    return run.all_calls / max(run.delivered, 1)


def over(run: Outing, tasks: int, ideal: Callable[[Terms, int], float] = submit_ideal) -> float:
    """Makespan over the ideal for so many tasks, or for as many as were delivered of them."""
    return run.makespan / ideal(run.terms, min(tasks, max(run.delivered, 1)))


def compared(
    row: str,
    what: str,
    found: Mapping[str, list[Outing]],
    value: Callable[[Outing], float],
    sense: str = "-",
    bar: float = 0.0,
    unit: str = "",
    worst: Callable[[Iterator[float]], float] = median,
) -> Figure:
    """One figure of batcher beside the peers'."""
    told = {name: worst(map(value, runs)) for name, runs in found.items()}
    ours = told.pop("batcher")
    return Figure(row, what, ours, sense, bar, unit, told)  # type: ignore[arg-type]  # see Sense
