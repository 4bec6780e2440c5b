"""`batcher report`, `watch` and `review` as they are typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from batcher.cli import ended
from tests.support.bookkeeping import a_ledger
from tests.support.shelf import Shelf

PATIENCE = 30.0


@pytest.fixture
async def output(tmp_path: Path) -> Path:
    """The output folder of a job that was planned and not yet worked on."""
    with a_ledger(tmp_path / "out" / ".batcher" / "ledger.sqlite", 3) as ledger:
        ledger.set_meta("job", "streets")
    return tmp_path / "out"


def test_report_writes_the_page_and_says_where(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["report", str(output)]) == 0
    assert capsys.readouterr().out == f"{output / 'report.html'}\n"
    assert "<title>streets" in (output / "report.html").read_text("utf-8")


def test_report_goes_where_it_is_told(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = output.parent / "mail.html"
    assert ended(["report", str(output), "-o", str(target), "--thumbnails", "0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["job"], told["counts"]["planned"], told["page"]) == ("streets", 3, str(target))
    assert target.exists()
    assert not (output / "report.html").exists()


def test_report_of_what_never_ran_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".batcher").mkdir()
    assert ended(["report", str(tmp_path)]) == 2
    assert "nothing was run yet" in capsys.readouterr().err


def test_report_into_a_folder_that_is_not_there_is_a_sentence(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(["report", str(output), "-o", str(output / "nowhere" / "report.html")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_a_report_replaces_a_report_and_nothing_else(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, page = output / ".batcher" / "ledger.sqlite", output.parent / "page.html"
    before = ledger.read_bytes()
    assert ended(["report", str(output), "-o", str(ledger)]) == 2
    assert "batcher did not write it" in capsys.readouterr().err
    assert ledger.read_bytes() == before
    assert [ended(["report", str(output), "-o", str(page)]) for _ in range(2)] == [0, 0]
    assert ended(["report", str(output), "-o", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("folder", ["/", "/dev", "/proc/1/out", "link/out"])
def test_an_output_folder_that_is_the_systems_own_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/dev")
    (tmp_path / "job.yaml").write_text("model: x\ninputs: {rows: [{a: 1}]}\nparams: {prompt: '{{ a }}'}\n")
    for command in (["run", "job.yaml", "-o", folder, "--sandbox"], ["plan", "job.yaml", "-o", folder]):
        assert ended(command) == 2
        assert "that is the system's own" in capsys.readouterr().err


def looked_at_and_ended(*words: str) -> tuple[str, str]:
    """A command that serves a page, which is read once, until Ctrl-C: what it said after its address, and on
    stderr."""
    command = [sys.executable, "-m", "batcher", *words]
    environment = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stderr is not None
            address = program.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=PATIENCE) as page:
                assert b"<!doctype html>" in page.read()
            program.send_signal(signal.SIGINT)
            assert program.wait(PATIENCE) == 0
            return program.stdout.read(), program.stderr.read()
        finally:
            program.kill()


@pytest.mark.process
def test_watch_tells_its_address_first_and_ends_quietly(output: Path) -> None:
    assert looked_at_and_ended("watch", str(output)) == ("", "")


@pytest.mark.process
def test_review_tells_its_address_first_and_how_far_it_is_at_its_end(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.deliver(shelf.variant("a", None), shelf.variant("b", None))
    said, wrong = looked_at_and_ended("review", str(shelf.output))
    assert said.splitlines() == [
        "0 of 2 looked at, 0 rejected",
        f"2 left; go on: batcher review {shelf.output}",
        f"next: batcher export {shelf.output} --to imagefolder -o DIR",
    ]
    assert wrong == ""


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_review_that_is_ended_writes_the_records_and_names_the_folder_it_was_of(
    tmp_path: Path, number: signal.Signals
) -> None:
    shelf = Shelf(tmp_path)
    shelf.deliver(shelf.variant("a", None), shelf.variant("b", None))
    output = shelf.output.rename(tmp_path / "accepted here-sandbox")
    (tmp_path / "acc.yaml").write_text("model: x\noutput: {dir: accepted here}\n")
    command = [sys.executable, "-m", "batcher", "review", "acc.yaml", "--sandbox", "--reason", "too dark"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "PYTHONWARNINGS": "error"}
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as program:
        try:
            signal.signal(signal.SIGHUP, inherited)
            assert program.stdout is not None
            assert program.stderr is not None
            address = program.stdout.readline().strip()
            body = json.dumps({"task": 1, "decision": "reject", "reason": "too dark"}).encode()
            headers = {"Origin": address.rsplit("/", 2)[0], "Content-Type": "application/json"}
            decision = urllib.request.Request(f"{address}decisions", body, headers)
            with urllib.request.urlopen(decision, timeout=PATIENCE) as answer:
                assert answer.status == 200
            program.send_signal(number)
            if number == signal.SIGHUP:  # a shell tells of it too
                program.send_signal(number)
            assert program.wait(PATIENCE) == 0
            assert program.stdout.read().splitlines() == [
                "1 of 2 looked at, 1 rejected",
                "1 left; go on: batcher review 'accepted here-sandbox' --reason 'too dark'",
                "next: batcher export 'accepted here-sandbox' --to imagefolder -o DIR",
            ]
            assert program.stderr.read() == ""
        finally:
            program.kill()
    (rejected,) = map(json.loads, (output / "rejected.jsonl").read_text().splitlines())
    assert rejected["reason"] == "too dark"
    assert len((output / "metadata.jsonl").read_text().splitlines()) == 1


def test_a_review_without_a_picture_is_a_sentence(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["review", str(output)]) == 2
    assert "has no picture to look at yet" in capsys.readouterr().err
