"""Nobody has set `in_flight`: whether the limit is used up all the same, with the API a round trip away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tests.bench.allowed import Terms
from tests.bench.contest import Outing, batcher, outing
from tests.bench.figures import Figure
from tests.bench.rows.limited import over
from tests.bench.scale import Scale

TRAVEL = 0.08
KINDS = [(500, 5), (500, 15), (500, 25), (1000, 5), (1000, 15), (1000, 25)]
"""Calls a minute, and seconds of a job."""
FEW = [(500, 15), (1000, 5)]


def rows(scale: Scale) -> Iterator[Figure]:
    kinds = FEW if scale.quick else KINDS
    minutes = scale.of(3, 1)
    with ThreadPoolExecutor(len(kinds)) as pool:
        found = pool.map(lambda kind: ran(*kind, minutes, scale.times), kinds)
        for (rpm, service), runs in zip(kinds, found, strict=True):
            tasks = rpm * minutes
            row = f"default settings, {rpm} rpm, {service} s jobs ({tasks} tasks, {TRAVEL * 1000:g} ms away)"
            worst = median(over(run, tasks) for run in runs)
            yield Figure(row, "makespan over the ideal", worst, "<=", 1.08, "x")
            yield Figure(row, "delivered", min(run.delivered for run in runs), ">=", tasks)


def ran(rpm: int, service: float, minutes: int, times: int) -> list[Outing]:
    command = batcher(rpm * minutes, limits={"rpm": rpm})
    terms = Terms(service=service, sigma=0.2, rate=rpm / 60, burst=rpm / 60, travel=TRAVEL)
    return [outing(command, terms, seconds=900) for _ in range(times)]
