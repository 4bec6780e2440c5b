"""Planning, in seconds of CPU: over its floor, and what of it a resume spares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.bench.contest import scratch
from tests.bench.figures import Figure
from tests.bench.mock import noise
from tests.bench.rows.million import MEGABYTE, written
from tests.bench.scale import Scale
from tests.bench.server import environment

COMPOSED: Mapping[str, str] = {
    "a path": "photos/{{ name }}.png",
    "a URL": "https://host.example/{{ name }}.png",
    "a prompt": "https://photos.example/one.png",
}
"""What resumes are measured of, with the template of the parameter `image`."""


def rows(scale: Scale) -> Iterator[Figure]:
    with scratch() as folder:
        yield from over_floor(folder / "million", scale.of(1_000_000, 100_000))
        yield from resumed(folder, scale.of(200_000, 20_000))
        yield from planned_before(folder / "looked at", scale.of(200_000, 20_000))
        yield from grown(folder / "grown", scale.of(100_000, 5_000))


def over_floor(folder: Path, tasks: int) -> Iterator[Figure]:
    folder.mkdir()
    path = written(folder, tasks)
    floor, _ = measured("floor", path)
    took, _ = measured("plan", path)
    row = f"planning {tasks:,} tasks"
    yield Figure(row, "over the floor", took / floor, "<=", 2.0, "x", {"floor, s": floor})


def resumed(folder: Path, tasks: int) -> Iterator[Figure]:
    for what, template in COMPOSED.items():
        path = job(folder / what, tasks, template)
        if what == "a path":
            pictures(path.parent / "photos", tasks)
        first, again = (measured("plan", path)[0] for _ in range(2))
        row = f"resume of {tasks:,} rows that compose {what}"
        yield Figure(row, "over their first planning", again / first, "<=", 0.1, "x", {"first, s": first})


def planned_before(folder: Path, tasks: int) -> Iterator[Figure]:
    path = job(folder, tasks, COMPOSED["a URL"])
    first, _ = measured("plan", path, "-")
    again, _ = measured("plan", path)
    row = f"first run of {tasks:,} rows after `plan`"
    yield Figure(row, "over planning them", again / first, "<=", 0.1, "x", {"plan, s": first})


def grown(folder: Path, tasks: int) -> Iterator[Figure]:
    photos = folder / "photos"
    name = {"dir": str(folder / "out"), "name": "{{ stem }}"}
    path = job(folder, tasks, "{{ image }}", inputs=[{"images": "photos"}], output=name)
    pictures(photos, tasks)
    measured("plan", path)
    (photos / "new.png").write_bytes(noise(33))
    began = time.process_time()
    for entry in os.scandir(photos):
        entry.stat()
    walk = time.process_time() - began
    took, peak = measured("plan", path)
    row = f"one new picture among {tasks:,}"
    each = 1e6 * (took - walk) / tasks
    yield Figure(row, "microseconds a known picture, over a stat walk", each, "<=", 20)
    yield Figure(row, "peak memory", peak / MEGABYTE, "<=", 110, "MB")


def job(folder: Path, tasks: int, image: str, **changes: Any) -> Path:
    """A job of a table of names, whose prompt has a slash in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.csv").write_text("name\n" + "".join(f"p{n}\n" for n in range(tasks)), "utf-8")
    prompt = "{{ name }}, black/white" if image == COMPOSED["a prompt"] else "a street, black/white"
    data: dict[str, Any] = {
        "model": "sd1.5-outpaint",
        "inputs": [{"table": "t.csv"}],
        "params": {"image": image, "prompt": prompt},
        "output": {"dir": str(folder / "out"), "name": "{{ name }}"},
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps({**data, **changes}), "utf-8")
    return path


def pictures(folder: Path, number: int) -> None:
    """So many small pictures, p0.png and on, no two alike."""
    folder.mkdir()
    picture = noise(8)
    for n in range(number):
        # What stands behind a PNG's end is no part of the picture, and makes another content.
        (folder / f"p{n}.png").write_bytes(picture + str(n).encode())


def measured(peer: str, path: Path, ledger: str = "") -> tuple[float, int]:
    """Seconds of CPU that a planner takes for a job, and the most memory that it had."""
    ledger = ledger or str(path.with_suffix(f".{peer}"))
    words = [sys.executable, "-m", f"tests.bench.peers.{peer}", str(path), ledger]
    env = environment(XDG_CACHE_HOME=str(path.parent / "cache"))
    told = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=900)
    found = json.loads(told.stdout)
    return found["seconds"], found["peak"]
