"""The run as a Prometheus textfile."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from batcher import errors
from batcher.progress import Finished, Snapshot
from batcher.progress.metrics import MARK, Metrics
from batcher.storage.user_file import write_user_file
from batcher.task import State


def snapshot(elapsed: float, done: int = 3) -> Snapshot:
    return Snapshot(
        job="streets",
        model="m",
        elapsed=elapsed,
        total=10,
        counts={State.DONE: done, State.PLANNED: 10 - done},
        images=done,
        delivered=0,
        in_flight=2,
        fetching=0,
        cost={"spent": 0.03, "reserved": 0.02},
        projected=None,
        calls={"submit": 5},
        images_per_minute=12.5,
        rate=None,
        rpm_configured=60,
    )


def samples(path: Path) -> dict[tuple[str, ...], float]:
    """Every sample of the file by its name and its labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def into(path: Path) -> Callable[[str], None]:
    return lambda text: write_user_file(path, [text], mark=MARK, patient=False)


def test_a_snapshot_becomes_gauges_and_the_end_says_how_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "batcher.prom"
    metrics = Metrics(into(path), now=lambda: 1234.0)
    metrics(snapshot(1))
    found = samples(path)
    assert found["batcher_tasks", "streets", "done"] == 3
    assert found["batcher_credits", "streets", "spent"] == 0.03
    assert found["batcher_warned_images", "streets"] == 0
    assert found["batcher_calls", "streets", "submit"] == 5
    assert found["batcher_running", "streets"] == 1
    assert math.isnan(found["batcher_exit_code", "streets"])
    assert found["batcher_updated_timestamp_seconds", "streets"] == 1234
    metrics(Finished(3, ("why",), snapshot(2, done=9)))
    found = samples(path)
    assert (found["batcher_running", "streets"], found["batcher_exit_code", "streets"]) == (0, 3)
    assert found["batcher_tasks", "streets", "done"] == 9


def test_it_is_written_a_few_times_a_minute_and_never_in_part(tmp_path: Path) -> None:
    path = tmp_path / "batcher.prom"
    metrics = Metrics(into(path), now=lambda: 0.0)
    metrics(snapshot(0, done=1))
    metrics(snapshot(5, done=2))
    assert samples(path)["batcher_images", "streets"] == 1
    metrics(snapshot(15, done=3))
    assert samples(path)["batcher_images", "streets"] == 3
    assert [file.name for file in tmp_path.iterdir()] == ["batcher.prom"]


def test_a_place_that_cannot_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match=r"nowhere/x\.prom"):
        Metrics(into(tmp_path / "nowhere" / "x.prom"), now=lambda: 0.0)
