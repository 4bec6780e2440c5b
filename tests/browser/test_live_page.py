"""`batcher watch` in a browser: a run is seen to move, and how it ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.window import PATIENCE, Window

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Photographs of the demo at a pace that can be watched."""
    manifest = {
        "name": "watched",
        "model": "sd1.5-img2img",
        "inputs": [{"images": str(ROOT / "examples" / "photos" / "*.jpg")}],
        "matrix": {"season": ["winter", "summer"]},
        "params": {"image": "{{ image }}", "prompt": "{{ season }}"},
        "output": {"dir": str(tmp_path / "out")},
        "limits": {"rpm": 240},
        "price": 0.01,
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(manifest))
    return tmp_path / "job.yaml"


@pytest.fixture
def watching(job: Path) -> Iterator[subprocess.Popen[str]]:
    """`batcher watch`, begun before there is anything to see."""
    command = [sys.executable, "-m", "batcher", "watch", str(job), "--sandbox"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        yield program
        program.kill()


def test_counts_move_and_pictures_appear(job: Path, watching: subprocess.Popen[str], window: Window) -> None:
    assert watching.stdout is not None
    window.open(watching.stdout.readline().strip())
    window.until(lambda: "Nothing was run here yet" in window.text("#headline"))
    with subprocess.Popen(
        [sys.executable, "-m", "batcher", "run", str(job), "--sandbox"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        window.until(lambda: window.text("#state") == "running")
        window.until(lambda: window.seen("#newest .last img"))
        seen = {window.text("#flow li:nth-child(4) .count")}
        window.keep("live-running")

        def moved() -> bool:
            seen.add(window.text("#flow li:nth-child(4) .count"))
            return len(seen) >= 3

        window.until(moved)
        assert run.wait(PATIENCE) == 0
    window.until(lambda: window.text("#headline").startswith("All done: 24 images"))
    spoken = "return document.getElementById('spoken').textContent"
    window.until(lambda: window.run(spoken).startswith("All done"))
    assert len(window.all("#grid .card")) == 24
    window.look(width=400, height=1600, dark=True)
    window.keep("live-finished-narrow")
    watching.send_signal(signal.SIGINT)
    window.until(lambda: "no longer changes" in window.text("#newest-note"))
    assert watching.wait(PATIENCE) == 0


def test_the_viewer_opens_from_the_strip_and_motion_can_be_refused(
    job: Path, watching: subprocess.Popen[str], window: Window
) -> None:
    subprocess.run(
        [sys.executable, "-m", "batcher", "run", str(job), "--sandbox", "-q", "--limit", "4"],
        check=True,
        timeout=2 * PATIENCE,
    )
    assert watching.stdout is not None
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    window.chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": still})
    window.open(watching.stdout.readline().strip())
    window.until(lambda: window.seen("#newest .last img"))
    assert window.run("return getComputedStyle(document.querySelector('.fresh')).animationName") == "none"
    window.run("document.querySelector('#newest .card').click()")
    window.until(lambda: window.seen("#stage img"))
    assert "full/" in window.run("return document.querySelector('#after img').src")


def test_a_run_is_paused_resumed_and_given_other_limits(
    job: Path, watching: subprocess.Popen[str], window: Window
) -> None:
    assert watching.stdout is not None
    window.open(watching.stdout.readline().strip())
    with subprocess.Popen(
        [sys.executable, "-m", "batcher", "run", str(job), "--sandbox", "--set", "limits.rpm=40"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        window.until(lambda: window.text("#state") == "running")
        assert window.text("#turn") == "Pause"
        window.click("#turn")
        window.until(lambda: window.text("#turned").startswith("Paused since "))
        window.until(lambda: window.text("#state") == "paused")
        window.keep("live-paused")
        field = window.all("#limits [name=rpm]")[0]
        assert field.get_attribute("value") == "40"
        field.clear()
        field.send_keys("0")
        window.click("#limits button")
        window.until(lambda: "must be above 0" in window.text("#asked"))
        field.clear()
        field.send_keys("600")
        window.click("#limits button")
        window.until(lambda: window.text("#asked").startswith("limits.rpm: 40 -> 600. The run takes it over"))
        window.look(width=400, height=1600, dark=True)
        assert window.run("return document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
        window.keep("live-paused-narrow")
        assert window.text("#turn") == "Resume"
        window.click("#turn")
        assert run.wait(PATIENCE) == 0
    window.until(lambda: window.text("#headline").startswith("All done: 24 images"))
    assert window.text("#turned") == "Nothing is left to be submitted."
    assert not window.all("#turn")[0].is_enabled()
    refused = [text for text in window.complaints() if "409" not in text]
    assert refused == []
