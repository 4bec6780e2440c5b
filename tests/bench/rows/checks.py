"""What the checks of each picture cost: the same job without them."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from tests.bench.allowed import Terms
from tests.bench.contest import batcher, in_turn
from tests.bench.figures import Figure
from tests.bench.rows.throughput import PHOTO, WIDTH
from tests.bench.scale import Scale

OFF = {"blank": "off", "size": "off", "duplicate": "off"}
WARNING = dict.fromkeys(OFF, "warn")


def rows(scale: Scale) -> Iterator[Figure]:
    tasks = scale.of(1000, 300)
    photo = max(PHOTO.glob("*.jpg"), key=lambda path: path.stat().st_size)
    for name, picture in (("drawn", None), ("photographs", str(photo))):
        contenders = {
            "batcher": batcher(tasks, limits={"in_flight": WIDTH}, checks=WARNING),
            "without": batcher(tasks, limits={"in_flight": WIDTH}, checks=OFF),
        }
        found = in_turn(contenders, Terms(picture=picture), scale.times)
        work = {which: median(1000 * run.cpu / tasks for run in runs) for which, runs in found.items()}
        row = f"checks of pictures, {name} ({tasks} tasks)"
        extra = work["batcher"] - work["without"]
        note = "blank, size and duplicate, as by default"
        yield Figure(row, "CPU of a task for the checks", extra, unit="ms", others=work, note=note)
