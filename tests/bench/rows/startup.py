"""How long a command takes before it does anything, beyond Python's own start."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median

from tests.bench.allowed import Terms
from tests.bench.contest import batcher, run, scratch
from tests.bench.figures import Figure
from tests.bench.rows.million import timed
from tests.bench.scale import Scale
from tests.bench.server import Server

ROW = "start-up over bare Python"


def rows(scale: Scale) -> Iterator[Figure]:
    with scratch() as folder, Server(Terms()) as server:
        run(batcher(5)(server.url, folder))
        commands = {
            "bare": [sys.executable, "-c", "pass"],
            "--help": [sys.executable, "-m", "batcher", "--help"],
            "status": [sys.executable, "-m", "batcher", "status", str(folder / "job.yaml")],
        }
        found: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(scale.of(21, 9)):
            for name, command in commands.items():
                found[name].append(timed(command))
    bare = median(found["bare"])
    others = {"bare Python": bare}
    yield Figure(ROW, "batcher --help", median(found["--help"]) - bare, "<=", 0.1, "s", others)
    yield Figure(ROW, "batcher status", median(found["status"]) - bare, "<=", 0.15, "s", others)
