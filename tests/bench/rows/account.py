"""Three jobs on one account at once: whether its limit is used up, kept, and shared fairly.

As in `limited.py` a minute of the provider's clock lasts 3 s.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median

from tests.bench.allowed import Terms, even_pace, submit_ideal
from tests.bench.contest import LONGEST, batcher, scratch, started, waited
from tests.bench.figures import Figure
from tests.bench.rows.limited import BURST, MINUTE, RATE, WINDOW
from tests.bench.scale import Scale
from tests.bench.server import Server

JOBS = 3


@dataclass(frozen=True, slots=True)
class Meeting:
    """What became of the jobs: makespan over the ideal of all their tasks (`even`: that of calls spaced
    evenly, without any loss), 429s a task, what was delivered, and by what part of the longest the first was
    done before the last."""

    over: float
    even: float
    throttled: float
    delivered: int
    apart: float


def rows(scale: Scale) -> Iterator[Figure]:
    tasks = scale.of(300, 100)
    service = Terms(service=3.0, sigma=0.5, rate=RATE)
    for name, terms in (
        ("fixed windows", replace(service, window=WINDOW)),
        ("a bucket of one second's calls", replace(service, burst=RATE)),
        ("a bucket of a minute's calls", replace(service, burst=BURST)),
    ):
        row = f"{JOBS} jobs on one account, {name} ({tasks} tasks each)"
        shared, apart = (
            [met(replace(terms, seed=seed), tasks, sharing=sharing) for seed in range(1, scale.times + 1)]
            for sharing in (True, False)
        )
        yield told(row, "makespan over the ideal", "over", shared, apart, 1.05, "x")
        yield told(row, "429s per task", "throttled", shared, apart, 0.01)
        yield told(row, "the first done before the last, part of the whole", "apart", shared, apart, 0.1)
        delivered = min(meeting.delivered for meeting in shared)
        yield Figure(row, "delivered", delivered, ">=", JOBS * tasks)


def told(
    row: str, what: str, name: str, shared: list[Meeting], apart: list[Meeting], bar: float, unit: str = ""
) -> Figure:
    """The figure of this name, beside that of the same jobs without the account's file."""
    ours, theirs = (median(getattr(meeting, name) for meeting in some) for some in (shared, apart))
    others = {"each for itself": theirs}
    if name == "over":
        others["spaced evenly, without any loss"] = median(meeting.even for meeting in shared)
    return Figure(row, what, ours, "<=", bar, unit, others)


def met(terms: Terms, tasks: int, *, sharing: bool) -> Meeting:
    """The jobs, started at once against one mock; without `sharing` each has a state folder of its own."""
    command = batcher(tasks, limits={"rpm": MINUTE}, poll={"delay": "100ms"})
    with Server(terms) as server, ExitStack() as stack:
        together = stack.enter_context(scratch())
        folders = [stack.enter_context(scratch()) for _ in range(JOBS)]
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in folders]
        # Jobs of other prompts: the same plan in another folder would be refused as paid for already.
        processes = [
            started(
                command_of(command(server.url, folder), n),
                output,
                state=together if sharing else folder / "state",
            )
            for n, (folder, output) in enumerate(zip(folders, said, strict=True))
        ]
        began = time.perf_counter()
        with ThreadPoolExecutor(JOBS) as pool:
            ends = [*pool.map(lambda process: ended(process) - began, processes)]
        seen = server.statistics()
        delivered = sum(1 for folder in folders for _ in (folder / "images").glob("*"))
        makespan = max(seen["last"].values()) - seen["first"]["submit"]
        ideal = submit_ideal(terms, JOBS * tasks)
        return Meeting(
            over=makespan / ideal,
            even=even_pace(terms, JOBS * tasks) / ideal,
            throttled=sum(seen["throttled"].values()) / (JOBS * tasks),
            delivered=delivered,
            apart=(max(ends) - min(ends)) / max(ends),
        )


def ended(process: subprocess.Popen[bytes]) -> float:
    """When it ended, by `time.perf_counter`."""
    waited(process, LONGEST)
    return time.perf_counter()


def command_of(words: list[str], number: int) -> list[str]:
    """The command of the job of this number."""
    return [*words, "--set", f"params.prompt=job {number}, picture {{{{ repeat }}}}"]
