"""When it pays to let a Ray cluster carry the bytes: pace, and what is left for the coordinator to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from tests.bench.allowed import Terms
from tests.bench.contest import Broken, Outing, batcher, outing
from tests.bench.figures import Figure
from tests.bench.mock import noise
from tests.bench.scale import Scale
from tests.bench.server import environment

ROW = "bytes on Ray"
SIZES = {"0.1 MB": (183, 400, 100), "5 MB": (1291, 150, 40)}
"""Pixels of an edge; pictures, and pictures of the quick benchmark."""
WORKERS = (1, 2, 4)


def rows(scale: Scale) -> Iterator[Figure]:
    """Local against one, two and four workers on this very machine. The cluster is there already; what it
    costs to start a program is taken off the coordinator's time."""
    if find_spec("ray") is None:
        raise Broken("Ray is not installed: make test-ray does it")
    with tempfile.TemporaryDirectory(prefix="batcher-bench-") as folder:
        for size, (edge, whole, quick) in SIZES.items():
            picture = Path(folder) / f"{edge}.png"
            picture.write_bytes(noise(edge))
            terms = Terms(picture=str(picture))
            tasks = scale.of(whole, quick)
            found = {"local": measured(tasks, terms)}
            for workers in WORKERS:
                with cluster(workers) as address:
                    on = ("--on", "ray", "--address", address, "--workers", str(workers))
                    found[f"Ray x {workers}"] = measured(tasks, terms, *on)
            for what, unit, index in (("pictures a second", "/s", 0), ("coordinator's CPU", "ms each", 1)):
                others = {name: figures[index] for name, figures in found.items() if name != "local"}
                yield Figure(ROW, f"{size}: {what}", found["local"][index], unit=unit, others=others)


def measured(tasks: int, terms: Terms, *flags: str) -> tuple[float, float]:
    """Pictures a second, and milliseconds of the coordinator for each."""
    one, many = (ran(number, terms, *flags) for number in (1, tasks))
    return many.delivered / many.makespan, 1000 * (many.cpu - one.cpu) / (tasks - 1)


def ran(tasks: int, terms: Terms, *flags: str) -> Outing:
    found = outing(batcher(tasks, *flags), terms)
    if found.delivered != tasks:
        raise Broken(f"{found.delivered} of {tasks} pictures were delivered")
    return found


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """The address of a cluster of so many workers, in processes of its own."""
    home = tempfile.mkdtemp(prefix="batcher-ray-", dir="/tmp")
    before = dict(os.environ)
    os.environ.update(HOME=home, RAY_TMPDIR=home, RAY_USAGE_STATS_ENABLED="0")
    nodes = [sys.executable, "-m", "tests.storage.ray.nodes", "1", str(workers)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        with subprocess.Popen(
            nodes, env=environment(), text=True, start_new_session=True, **pipes
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdin is not None
                yield str(json.loads(process.stdout.readline())["address"])
                process.stdin.close()
                process.wait(30)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(home, ignore_errors=True)
