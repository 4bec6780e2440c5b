"""Calls are free and jobs take long: how soon a result is noticed, with how few questions."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.allowed import Terms, submit_ideal
from tests.bench.contest import batcher, in_turn, script, side_by_side
from tests.bench.figures import Figure
from tests.bench.rows.limited import compared, over
from tests.bench.scale import Scale


def unmetered(scale: Scale) -> Iterator[Figure]:
    """200 in flight, jobs of 3 s: the places are what is scarce, so a late poll is a place wasted."""
    tasks, in_flight = scale.of(2000, 600), 200
    terms = Terms(service=3.0, sigma=0.5)
    commands = {
        "batcher": batcher(tasks, limits={"in_flight": in_flight}, poll={"delay": "180ms"}),
        "script": script(tasks, in_flight),
    }
    row = f"unmetered, {in_flight} in flight ({tasks} tasks of 3 s)"
    found = in_turn(commands, terms, scale.times)

    def ideal(met: Terms, tasks: int) -> float:
        return submit_ideal(met, tasks, in_flight)

    yield compared(
        row, "makespan over the ideal", found, lambda run: over(run, tasks, ideal), "<=", 1.08, "x"
    )
    yield compared(row, "polls per task", found, lambda run: run.seen["polls"], "<=", 6.0)
    yield compared(row, "mean delay", found, lambda run: run.seen["delay"], unit="s")


def cold(scale: Scale) -> Iterator[Figure]:
    """300 jobs of 5 s, nothing known of them at the start, a mean delay of 0.5 s wanted. It varies by a tenth
    with the jobs that come first, so it is measured twice as often as other rows."""
    tasks = 300
    terms = Terms(service=5.0, sigma=0.3)
    commands = {"batcher": batcher(tasks, poll={"delay": "500ms"}), "script": script(tasks, 64)}
    found = side_by_side(commands, terms, 2 * scale.times)
    row = f"cold start ({tasks} tasks of 5 s, delay 0.5 s)"
    yield compared(row, "polls per task", found, lambda run: run.seen["polls"], "<=", 3.5)
    yield compared(row, "mean delay", found, lambda run: run.seen["delay"], "<=", 0.55, "s")


def delays(scale: Scale) -> Iterator[Figure]:
    """Calls per image over the wanted delay, for the picture: 15 s jobs."""
    tasks = scale.of(600, 100)
    terms = Terms(service=15.0, sigma=0.3)
    wanted = {"0.5": "500ms", "1": "1s", "2": "2s", "4": "4s"}
    commands = {
        name: batcher(tasks, limits={"in_flight": 100}, poll={"delay": delay})
        for name, delay in wanted.items()
    }
    fixed = {
        f"every {name}": batcher(tasks, limits={"in_flight": 100}, poll={"every": delay})
        for name, delay in {"1": "1s", "2": "2s", "4": "4s"}.items()
    }
    row = f"calls over delay ({tasks} tasks of 15 s)"
    for name, (run,) in side_by_side({**commands, **fixed}, terms).items():
        label = f"polled {name} s" if name.startswith("every") else f"delay {name} s wanted"
        calls = run.all_calls / max(run.delivered, 1)
        yield Figure(row, label, calls, unit="calls", others={"delay": run.seen["delay"]})
