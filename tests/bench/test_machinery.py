"""The benchmark's machinery, on a few tasks: it counts right, whoever is fast. No time is asserted on."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.bench import pictures
from tests.bench.allowed import Bucket, Terms, Windows, call_ideal, submit_ideal
from tests.bench.contest import Broken, Command, batcher, outing, run, script, sdk
from tests.bench.figures import Figure, table, write
from tests.bench.history import draw, over_bar, remembered
from tests.bench.mock import noise

TASKS = 4


@pytest.mark.process
@pytest.mark.parametrize("command", [batcher(TASKS), script(TASKS, 2), sdk(TASKS, 2)])
def test_every_contender_delivers_and_is_counted(command: Command) -> None:
    found = outing(command, Terms(), seconds=60)
    assert (found.code, found.delivered, found.throttled) == (0, TASKS, 0)
    assert found.all_calls == 3 * TASKS
    assert found.seen["jobs"] == found.seen["fetched"] == TASKS
    assert not found.seen["paid_again"]
    assert found.cpu > 0
    assert found.peak > 1_000_000


@pytest.mark.process
def test_a_contender_that_dies_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="a bad day"):
        run([sys.executable, "-c", "raise SystemExit('a bad day')"])


def test_windows_admit_what_they_hold_and_say_when_the_next_begins() -> None:
    windows = Windows(rate=2, window=3)
    assert [windows.admit(10.0) for _ in range(7)] == [None] * 6 + [13.0]
    assert windows.admit(13.0) is None


def test_a_bucket_admits_its_burst_and_then_what_drips() -> None:
    bucket = Bucket(rate=2, burst=3)
    assert [bucket.admit(0.0) for _ in range(4)] == [None, None, None, 0.5]
    assert bucket.admit(0.5) is None


@pytest.mark.parametrize(
    ("terms", "in_flight", "seconds"),
    [
        (Terms(service=2), 0, 2),
        (Terms(service=2), 5, 4),
        (Terms(service=2, workers=2), 0, 10),
        (Terms(rate=1, burst=1), 0, 9),
        (Terms(rate=2, window=2), 0, 4),
    ],
)
def test_the_ideal_of_ten_equal_jobs_is_known(terms: Terms, in_flight: int, seconds: float) -> None:
    assert submit_ideal(terms, 10, in_flight) == pytest.approx(seconds)


def test_where_every_call_counts_three_calls_make_a_picture() -> None:
    assert call_ideal(Terms(rate=3, burst=3), 10) == pytest.approx(9)


def test_the_picture_of_the_mock_is_one(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    path.write_bytes(noise())
    with Image.open(path) as image:
        image.load()
        assert image.size == (183, 183)
    assert 100_000 < path.stat().st_size < 102_000


FIGURES = [
    Figure("a row (5 tasks)", "makespan over the ideal", 1.04, "<=", 1.03, "x", {"script": 4.0}),
    Figure("a row (5 tasks)", "delivered", 5, ">=", 5, others={"script": 3}),
    Figure("calls over delay", "delay 1 s wanted", 4.1, unit="calls", others={"delay": 1.02}),
    Figure("calls over delay", "polled every 1 s", 9.1, unit="calls", others={"delay": 0.5}),
    Figure("another", "not measured", math.nan),
]


def test_a_figure_that_misses_its_bar_says_so_however_closely() -> None:
    assert [figure.verdict for figure in FIGURES] == ["MISSED", "kept", "", "", "FAILED"]
    lines = table(FIGURES).splitlines()
    assert len(lines) == 2 + len(FIGURES)
    assert len({len(line) for line in lines}) == 1


def test_a_full_run_is_remembered_by_its_figures_that_have_a_bar(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for _ in range(2):
        remembered(path, FIGURES)
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["figures"] == second["figures"]
    assert list(first["figures"].values()) == [1.04, 5]
    assert first["machine"] > 0


def test_the_history_is_drawn_from_the_second_run_on(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert draw(path, FIGURES, tmp_path) == []
    remembered(path, FIGURES)
    assert draw(path, FIGURES, tmp_path) == []
    remembered(path, [replace(one, value=one.value / 2) for one in FIGURES])
    (drawn,) = draw(path, FIGURES, tmp_path / "pictures")
    picture = ElementTree.parse(drawn).getroot()
    dots = [dot.get("fill") for dot in picture.iter() if dot.tag.endswith("circle")]
    assert len(dots) == 2 * 2, "those with a bar alone"
    assert len(set(dots)) == 2, "what misses its bar has another colour"
    # 1.04 / 2 is below its bar of 1.03; 5 / 2 delivered of 5 are half of theirs.
    assert {">0.50<", ">2.00<"} <= set(re.findall(r">[0-9.]+<", drawn.read_text()))


def test_over_the_bar_is_above_one_whichever_way_a_figure_goes() -> None:
    most, least = FIGURES[:2]
    assert over_bar(most, 2.06) == pytest.approx(2.0)
    assert over_bar(least, 2.5) == pytest.approx(2.0)
    assert (over_bar(least, 0.0), over_bar(most, None)) == (None, None)


def test_figures_are_written_and_drawn(tmp_path: Path) -> None:
    write(tmp_path / "out" / "results.json", FIGURES, {"times": 1})
    assert json.loads((tmp_path / "out" / "results.json").read_text())["figures"][0]["verdict"] == "MISSED"
    drawn = pictures.draw(FIGURES, tmp_path)
    assert [path.name for path in drawn] == ["makespan.svg", "calls.svg"]
    for path in drawn:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    words = drawn[0].read_text()
    assert "4.00 script, 3 of 5 delivered" in words, "who lost some was not quicker"
    assert "1.04 batcher<" in words
