"""A million tasks: how long until the first call, how much memory, how soon again after a kill."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.allowed import Terms
from tests.bench.contest import Broken, end, run, run_words, scratch, started, waited
from tests.bench.figures import Figure
from tests.bench.scale import Scale
from tests.bench.server import Server

ROWS_OF_A_TABLE = 10_000
SEASONS = 10
MEGABYTE = 1e6
LONGEST_START = 180.0


def rows(scale: Scale) -> Iterator[Figure]:
    tasks = scale.of(1_000_000, 100_000)
    share = tasks / 1_000_000
    with scratch() as folder, Server(Terms(service=2.0, sigma=0.3)) as server:
        job = written(folder, tasks)
        first, peak = first_call(server, job, seconds=scale.of(15, 4), ending=signal.SIGKILL)
        again, peak_again = first_call(server, job, seconds=3, ending=signal.SIGTERM)
        looks = [timed([sys.executable, "-m", "batcher", "status", str(job), "--json"]) for _ in range(5)]
    row = f"{tasks:,} tasks"
    note = "" if share == 1 else "the bar scaled to the tasks"
    yield Figure(row, "from nothing to the first call", first, "<=", 30 * share, "s", note=note)
    yield Figure(row, "peak memory", max(peak, peak_again) / MEGABYTE, "<=", 100, "MB")
    yield Figure(row, "resume after kill -9 to the first call", again, "<=", 1.0, "s")
    yield Figure(row, "status", median(looks), "<=", 0.3, "s")


def written(folder: Path, tasks: int) -> Path:
    """A job of a table of prompts and a matrix of two axes."""
    table = folder / "prompts.csv"
    table.write_text("prompt\n" + "".join(f"street number {n}\n" for n in range(ROWS_OF_A_TABLE)), "utf-8")
    data = {
        "name": "million",
        "model": "sd1.5-outpaint",
        "inputs": [{"table": "prompts.csv"}],
        "matrix": {
            "season": [f"season {n}" for n in range(SEASONS)],
            "style": [f"style {n}" for n in range(tasks // ROWS_OF_A_TABLE // SEASONS)],
        },
        "params": {
            "image": "https://photos.example/one.png",
            "prompt": "{{ prompt }} in {{ season }}, {{ style }}",
        },
        "output": {"dir": str(folder / "out")},
        "limits": {"rpm": "none"},
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(data), "utf-8")
    return path


def first_call(server: Server, job: Path, *, seconds: float, ending: signal.Signals) -> tuple[float, int]:
    """Starts the job and ends it so many seconds after its first call; how long that call took to come, and
    the most memory that the process had."""
    seen, began = work(server), time.perf_counter()
    process = started([sys.executable, "-m", "batcher", *run_words(job, server.url), "--grace", "5s"])
    while work(server) == seen:
        time.sleep(0.01)
        if time.perf_counter() - began > LONGEST_START:
            end(process)
            raise Broken(f"no call within {LONGEST_START:g} s")
    first = time.perf_counter() - began
    time.sleep(seconds)
    end(process, ending)
    _, used = waited(process, 120)
    return first, used.ru_maxrss * 1024


def work(server: Server) -> int:
    """Calls so far that belong to tasks."""
    calls = server.statistics()["calls"]
    return sum(calls.get(kind, 0) for kind in ("submit", "status", "result"))


def timed(command: list[str]) -> float:
    """Seconds that a command takes, whole."""
    began = time.perf_counter()
    run(command, seconds=60)
    return time.perf_counter() - began
