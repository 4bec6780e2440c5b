"""`batcher review` in a browser: pictures are kept, rejected and taken back by keys, tomorrow too."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.window import PATIENCE, Window

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a finished job: 24 pictures, each of which was made from a photograph."""
    folder = tmp_path_factory.mktemp("review")
    manifest = {
        "name": "reviewed",
        "model": "sd1.5-img2img",
        "inputs": [{"images": str(ROOT / "examples" / "photos" / "*.jpg")}],
        "matrix": {"season": ["winter", "summer"]},
        "seed": 42,
        "params": {"image": "{{ image }}", "prompt": "{{ season }}", "seed": "{{ seed }}"},
        "output": {"dir": str(folder / "out")},
        "price": 0.01,
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(manifest))
    command = [sys.executable, "-m", "batcher", "run", str(path), "--sandbox", "-q", "--pay-again"]
    subprocess.run(command, check=True, timeout=4 * PATIENCE)
    return path


@pytest.fixture
def job(pictures: Path) -> Iterator[Path]:
    """The same, and nobody has looked yet."""
    yield pictures
    subprocess.run([sys.executable, "-m", "batcher", "keep", str(pictures), "--sandbox", "*"], check=True)
    with closing(sqlite3.connect(ledger(pictures))) as connection, connection:
        connection.execute("DELETE FROM reviews")
        connection.execute("UPDATE picture_checks SET warnings = NULL")


def ledger(job: Path) -> Path:
    return job.parent / "out-sandbox" / ".batcher" / "ledger.sqlite"


def rows(job: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(ledger(job))) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def begin(window: Window) -> Iterator[Begin]:
    """Begins a review and opens its page; they end with the test."""
    begun: list[subprocess.Popen[str]] = []

    def begin(job: Path, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "batcher", "review", str(job), "--sandbox", *options]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun.append(program)
        assert program.stdout is not None
        window.open(program.stdout.readline().strip())
        window.until(lambda: window.all("#sheet img"))
        return program

    yield begin
    window.open("about:blank")
    for program in begun:
        program.kill()
        program.wait()
        for stream in (program.stdout, program.stderr):
            assert stream is not None
            stream.close()


def head(window: Window) -> str:
    return window.text("#headline")


def test_keys_keep_reject_and_take_back_and_tomorrow_it_goes_on(
    job: Path, begin: Begin, window: Window
) -> None:
    program = begin(job, "--reason", "a third arm", "--reason", "blurred")
    assert head(window) == "0 of 24 looked at, 0 rejected."
    assert window.text("#place") == "1 of 24 unreviewed"
    first = window.text("#viewer-name")
    window.press("k")
    window.until(lambda: window.text("#place").startswith("2 of 24"))
    window.press("r")
    window.press("1")
    window.press("\ue014")  # the right arrow
    window.until(lambda: window.text("#place").startswith("5 of 24"))
    window.press("2")
    window.until(lambda: len(rows(job, "SELECT 1 FROM reviews")) == 4)
    assert head(window) == "4 of 24 looked at, 3 rejected."
    reasons = rows(job, "SELECT reason FROM tasks WHERE state = 'rejected' ORDER BY id")
    assert reasons == [("no reason given",), ("a third arm",), ("blurred",)]
    window.keep("review-going")
    window.press("z")
    window.until(lambda: window.text("#told").startswith("Taken back"))
    assert window.text("#standing") == "not looked at yet"
    wanted = "SELECT count(*) FROM tasks WHERE redo_wanted = 1"
    window.press_with_shift("r")
    window.until(lambda: rows(job, wanted) == [(1,)])
    assert "makes another, which is paid for" in window.text("#told")
    window.press("z")
    window.until(lambda: rows(job, wanted) == [(0,)])
    window.until(lambda: window.text("#told").startswith("Taken back"))
    assert head(window) == "3 of 24 looked at, 2 rejected."
    place = window.text("#viewer-name")
    window.chromium.refresh()
    window.until(lambda: window.text("#viewer-name") == place)
    window.until(lambda: window.text("#place").startswith("2 of 21"))
    window.press("\ue012")
    window.until(lambda: window.text("#place").startswith("1 of 21"))
    window.press("\ue012")
    assert window.text("#place").startswith("1 of 21"), "before the first there is none"
    program.send_signal(signal.SIGINT)
    window.until(lambda: "batcher has ended" in window.text("#told"))
    assert program.stdout is not None
    assert program.wait(PATIENCE) == 0
    output = job.parent / "out-sandbox"
    assert program.stdout.read().splitlines() == [
        "3 of 24 looked at, 2 rejected",
        f"21 left; go on: batcher review {output} --reason 'a third arm' --reason blurred",
        f"next: batcher export {output} --to imagefolder -o DIR",
    ]
    assert len((job.parent / "out-sandbox" / "rejected.jsonl").read_text().splitlines()) == 2
    window.press("k")
    begin(job)
    window.until(lambda: head(window) == "3 of 24 looked at, 2 rejected.")
    assert window.text("#place") == "1 of 21 unreviewed"
    assert window.text("#viewer-name") != first
    assert window.text("#reasons li:first-child") == "1\na third arm"


def test_pictures_are_chosen_by_how_they_stand(job: Path, begin: Begin, window: Window) -> None:
    names = [name for (name,) in rows(job, "SELECT name FROM tasks ORDER BY id")]
    with closing(sqlite3.connect(ledger(job))) as connection, connection:
        connection.execute(
            "UPDATE picture_checks SET warnings = '[\"duplicate: <b>of</b> another\"]' WHERE task = 3"
        )
    begin(job)

    def choose(name: str) -> None:
        window.run("document.querySelector(`[data-choice=${arguments[0]}]`).click()", name)

    counts = window.texts("#choices button")
    assert counts == ["Unreviewed 24", "All 24", "Warned 1", "Rejected 0"]
    choose("warned")
    window.until(lambda: window.text("#place") == "1 of 1 warned")
    assert window.text("#viewer-name") == names[2]
    window.until(lambda: "duplicate: <b>of</b> another" in window.text("#standing"))
    window.press("r")
    window.until(
        lambda: window.text("#told").endswith("24 unreviewed") or "23 unreviewed" in window.text("#told")
    )
    choose("rejected")
    window.until(lambda: window.text("#place") == "1 of 1 rejected")
    window.press("k")
    window.until(lambda: rows(job, "SELECT count(*) FROM tasks WHERE state = 'rejected'") == [(0,)])
    choose("rejected")
    window.until(lambda: "No picture is rejected" in window.text("#viewer-name"))
    window.press("k")
    choose("all")
    window.until(lambda: window.text("#place") == "1 of 24")
    assert len(window.all("#sheet .tile")) == 24
    window.click("#sheet .tile", 6)
    window.until(lambda: window.text("#place") == "7 of 24")
    assert window.focused() == "viewer"


def test_a_reason_is_typed_and_what_is_typed_decides_nothing_else(
    job: Path, begin: Begin, window: Window
) -> None:
    begin(job)
    window.run("document.getElementById('reason').focus()")
    window.press("krz1 <i>&", "\ue007")
    window.until(lambda: rows(job, "SELECT reason FROM tasks WHERE state = 'rejected'") == [("krz1 <i>&",)])
    assert len(rows(job, "SELECT 1 FROM reviews")) == 1
    window.until(lambda: window.text("#reasons li:last-child").endswith("krz1 <i>&"))
    window.press("6")
    window.until(lambda: len(rows(job, "SELECT 1 FROM tasks WHERE reason = 'krz1 <i>&'")) == 2)


def test_what_cannot_be_decided_is_told_and_come_back_to(job: Path, begin: Begin, window: Window) -> None:
    program = begin(job)
    window.until(lambda: window.text("#viewer-name") != "…")
    name = window.text("#viewer-name")
    program.kill()
    program.wait()
    window.press("k")
    window.until(lambda: f"{name} stays as it was" in window.text("#told"))
    assert window.text("#viewer-name") == name
    assert head(window).startswith("0 of 24")
    assert window.complaints(), "the browser says that nobody answers"


def test_what_is_decided_elsewhere_is_seen(job: Path, begin: Begin, window: Window) -> None:
    begin(job)
    name = window.text("#viewer-name")
    command = [
        sys.executable,
        "-m",
        "batcher",
        "reject",
        str(job),
        "--sandbox",
        name,
        "--reason",
        "elsewhere",
    ]
    subprocess.run(command, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    window.until(lambda: head(window) == "1 of 24 looked at, 1 rejected.")
    window.until(lambda: window.text("#standing").startswith("rejected: elsewhere"))


@pytest.mark.parametrize(("name", "width", "dark"), [
    ("wide-light", 1280, False), ("wide-dark", 1280, True),
    ("narrow-light", 400, False), ("narrow-dark", 400, True),
])  # fmt: skip
def test_it_is_at_home_at_every_width(
    job: Path, begin: Begin, window: Window, name: str, width: int, dark: bool
) -> None:
    window.look(width=width, height=1100 if width > 500 else 1900, dark=dark)
    begin(job)
    for key in "kk3k1":
        window.press(key)
    window.until(lambda: head(window).startswith("5 of 24"))
    window.until(lambda: window.seen("#stage img, #sheet img"))
    assert window.run("return document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
    window.keep(f"review-{name}")
