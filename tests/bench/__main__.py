"""`python -m tests.bench`: runs the rows, prints the table, writes the JSON, draws the pictures."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from tests.bench import history, pictures
from tests.bench.contest import LIVE
from tests.bench.figures import Figure, machine, table, write
from tests.bench.rows import (
    account,
    checks,
    default,
    expiry,
    kills,
    limited,
    million,
    planning,
    ray,
    slots,
    startup,
    throughput,
    waiting,
)
from tests.bench.scale import Scale

Row = Callable[[Scale], Iterator[Figure]]
ROWS: dict[str, Row] = {
    "startup": startup.rows,
    "throughput": throughput.rows,
    "million": million.rows,
    "planning": planning.rows,
    "default": default.rows,
    "known": limited.known,
    "windows": limited.windows,
    "bucket": limited.bucket,
    "metered": limited.metered,
    "account": account.rows,
    "slots": slots.rows,
    "checks": checks.rows,
    "unmetered": waiting.unmetered,
    "cold": waiting.cold,
    "delays": waiting.delays,
    "expiry": expiry.rows,
    "kills": kills.rows,
    "ray": ray.rows,
}
HISTORY = Path(__file__).parent / "history.jsonl"
"""A line for each full run."""
WAITING = ("default", "known", "windows", "bucket", "metered", "cold", "expiry")
"""Rows that wait far more than they work: the quick benchmark runs them at once."""
NOT_QUICK = ("bucket", "metered", "account", "checks", "unmetered", "delays", "ray")
ON_REQUEST = ("ray",)
"""Rows that need more than the benchmark installs, and are measured when they are named."""


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    words = parsed()
    scale = Scale(quick=words.quick, times=words.times or (1 if words.quick else 3))
    names = words.rows or [name for name in ROWS if name not in (NOT_QUICK if words.quick else ON_REQUEST)]
    began = time.perf_counter()
    found = dict(measured(names, scale))
    figures = [figure for name in names for figure in found[name]]
    print(table(figures))
    seconds = round(time.perf_counter() - began)
    runs = f"{'quick, ' if scale.quick else ''}{scale.times} runs a row"
    print(f"\n{runs}, {seconds} s, {machine()}")
    if scale.quick:
        print(f"not in the quick benchmark: {', '.join(NOT_QUICK)}; sizes are smaller, as told in the table")
    write(words.json, figures, {"quick": scale.quick, "times": scale.times, "seconds": seconds, **machine()})
    if not scale.quick and not words.rows:
        history.remembered(HISTORY, figures)
    if words.pictures is not None:
        drawn = pictures.draw(figures, words.pictures)
        for path in [*drawn, *history.draw(HISTORY, figures, words.pictures)]:
            print(f"drawn: {path}")
    return 1 if any(not figure.measured for figure in figures) else 0


def leave(number: int, frame: object) -> NoReturn:
    """Ends at once, and no contender goes on alone."""
    for process in LIVE:
        process.kill()
    os._exit(128 + number)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"some of: {' '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="smaller, once, and without the longest rows")
    parser.add_argument("--times", type=int, help="runs of which the median is told [3, quick: 1]")
    parser.add_argument("--json", type=Path, default=Path("out/bench.json"), metavar="FILE")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw the two pictures there")
    words = parser.parse_args()
    if unknown := set(words.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    return words


def measured(names: list[str], scale: Scale) -> Iterator[tuple[str, list[Figure]]]:
    """Row after row; in the quick benchmark those that wait share their time."""
    together = [name for name in names if scale.quick and name in WAITING]
    for name in names:
        if name not in together:
            yield told(name, scale)
    with ThreadPoolExecutor(max(1, len(together))) as pool:
        yield from pool.map(lambda name: told(name, scale), together)


def told(name: str, scale: Scale) -> tuple[str, list[Figure]]:
    began = time.perf_counter()
    try:
        figures = list(ROWS[name](scale))
    except Exception as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return name, [Figure(name, "not measured", math.nan, note=f"{type(error).__name__}, told on stderr")]
    seconds = time.perf_counter() - began
    print(f"{name}: {seconds:.0f} s\n{table(figures)}\n", file=sys.stderr, flush=True)
    return name, figures


if __name__ == "__main__":
    sys.exit(main())
