"""The program as its users start it: in a process of its own, in real time."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batcher import __version__
from batcher.cli import ended
from batcher.job.catalog import models
from batcher.job.catalog.lookup import SHIPPED
from batcher.storage import ray
from tests.support.program import KEY, PATIENCE, Program, until
from tests.support.screen import screen_lines

STATUS_KEYS = [
    *("job", "state", "total", "counts", "images", "cost", "calls"),
    *("failures", "rejections", "news", "exit_code", "causes", "ended_at", "updated_at"),
]
STATES = ["planned", "submitting", "doubtful", "submitted", "ready", "done", "rejected", "failed"]
CALLS = ["submit", "status", "result", "sync", "upload", "download", "history", "throttled"]
pytestmark = pytest.mark.process


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def server(program: Program) -> Iterator[str]:
    """The address of a sandbox in a process of its own, to which the program's environment points."""
    flags = ("--service", "200ms", "--workers", "32", "--price", "0.5")
    with program.started("sandbox", *flags) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        program.environment |= {"SEGMIND_BASE_URL": address, "SEGMIND_API_KEY": KEY}
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def history(address: str) -> list[dict[str, Any]]:
    """Every request that the sandbox has seen, as its history endpoint tells."""
    rows: list[dict[str, Any]] = []
    while True:
        page = len(rows) // 100 + 1
        url = f"{address}/inference-request/request-history?per_page=100&page={page}"
        request = urllib.request.Request(url, headers={"x-api-key": KEY})
        with urllib.request.urlopen(request) as answer:
            found = json.load(answer)
        rows += found["data"]
        if len(rows) >= found["total"]:
            return rows


def billed(address: str) -> int:
    return sum(row["model_status"] == "COMPLETED" for row in history(address))


def done_in_ledger(output: Path) -> int:
    """Tasks that are done on disk at this moment; a picture may lie there before its task is."""
    ledger = output / ".batcher" / "ledger.sqlite"
    if not ledger.exists():
        return 0
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection, suppress(sqlite3.Error):
        return int(connection.execute("SELECT count(*) FROM tasks WHERE state = 'done'").fetchone()[0])
    return 0


def images(folder: Path) -> list[str]:
    """The delivered files, each of them whole."""
    paths = sorted((folder / "images").glob("*"))
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (32, 16)
            picture.load()
    return [path.name for path in paths]


def as_designed(report: dict[str, Any]) -> dict[str, Any]:
    """The report, its keys exactly those of the design."""
    assert list(report) == STATUS_KEYS
    assert list(report["counts"]) == STATES
    assert list(report["cost"]) == ["spent", "reserved", "doubtful", "lost"]
    assert list(report["calls"]) == CALLS
    assert sum(report["counts"].values()) == report["total"]
    return report


# --- words


def test_help_lists_every_command_with_a_whole_sentence(program: Program) -> None:
    done = program("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("run", "plan", "validate", "status", "models", "sandbox", "demo"):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {command} ")]
        assert line.endswith(".")
        assert not line.endswith("..")
        assert program(command, "--help").stdout.startswith(f"Usage: batcher {command} ")
    assert program("--version").stdout == f"batcher, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run",), "Missing argument 'JOB'"),
        (("run", "job.yaml", "--colour"), "No such option"),
        (("run", "job.yaml", "-j", "0"), "'0' is no number of tasks; give one from 1 on, or auto"),
        (("run", "job.yaml", "--grace", "3"), "'3' is not a duration such as 500ms, 2s, 5m, 1h or 7d"),
        (("run", "job.yaml"), "job.yaml: there is no such manifest"),
        (("status", "job.yaml"), "job.yaml: there is no such manifest or output folder"),
        (("status", "."), "is not an output folder of batcher"),
        (("fly",), "No such command 'fly'"),
        (("rnu", "job.yaml"), "Did you mean 'run'?"),
        (("models", "seg-beyon"), "did you mean seg-beyond?"),
        (("sandbox", "--port", "70000"), "70000 is not in the range"),
        (("sandbox", "--ttl", "0s"), "ttl is 0.0; it must be more than 0"),
    ],
)
def test_a_wrong_word_is_told_in_a_sentence_and_ends_with_2(
    program: Program, arguments: tuple[str, ...], sentence: str
) -> None:
    done = program(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert list(program.folder.iterdir()) == []


def test_a_sandbox_on_a_port_that_is_taken_says_so(program: Program, server: str) -> None:
    port = server.rpartition(":")[2]
    done = program("sandbox", "--port", port)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"batcher: port {port} cannot be had: ")


def test_models_shows_the_catalogue_and_a_model_with_every_parameter(program: Program) -> None:
    lines = program("models").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["model", *(model.slug for model in models())]
    for model in models():
        shown = program("models", model.slug, COLUMNS="80").stdout
        assert max(map(len, shown.splitlines())) <= 80
        assert all(f"\n{name} " in shown for name in model.parameters)
    found = json.loads(program("models", "sd1.5-img2img", "--json").stdout)
    assert found["parameters"][0]["name"] == "image"
    assert (found["price"], found["price_as_of"]) == (0.0037, "2026-08")
    published = "0.0364 credits an image (the provider's model list, 2026-08)"
    assert published in program("models", "seg-beyond").stdout
    assert len(json.loads(program("models", "--json").stdout)) == len(models())


def test_what_only_reads_imports_no_network_no_validation_and_no_drawing(
    program: Program, server: str
) -> None:
    program.manifest(1)
    assert program("run", "job.yaml", "-q").returncode == 0
    code = (
        "import sys; from batcher.cli import ended; code = ended(sys.argv[1:]);"
        "print(code, [m for m in ('aiohttp', 'pydantic', 'jinja2', 'PIL', 'rich') if m in sys.modules])"
    )
    for arguments in (["--help"], ["models"], ["models", "seg-beyond"], ["status", "out"]):
        done = program.python(code, *arguments)
        assert (arguments, done.stdout.splitlines()[-1]) == (arguments, "0 []")


@pytest.mark.parametrize("before", ["pass;", "import batcher.engine;", "import batcher.engine.runner;"])
def test_the_python_api_has_load_and_run(program: Program, before: str) -> None:
    code = f"{before} from batcher import load, run; assert callable(load) and callable(run)"
    assert program.python(code).stderr == ""


# --- before a run


def test_validate_and_plan_say_what_would_be_and_write_nothing(program: Program) -> None:
    program.manifest(
        5,
        matrix={"left": [0, 16]},
        params={"input_image": "{{ image }}", "prompt": "view {{ n }}", "left": "{{ left }}"},
        output={"dir": "out", "name": "{{ n }}-{{ left }}"},
    )
    assert program("validate", "job.yaml").stdout == "job.yaml is valid: 10 tasks\n"
    found = program.json("plan", "job.yaml", "--json")
    counts = ["total", "new", "reused", "in_flight", "done", "rejected", "failed", "submits"]
    assert list(found) == ["job", *counts, "estimate", "sample", "warnings"]
    assert list(found["estimate"]) == ["cost", "calls", "seconds"]
    assert (found["job"], found["total"], found["new"], found["done"]) == ("job", 10, 10, 0)
    assert found["estimate"]["cost"] == 5.0
    assert [list(task) for task in found["sample"]] == [["key", "name", "params"]] * 3
    assert found["sample"][1]["name"] == "0-16"
    image = str(program.folder / "one.png")
    assert found["sample"][1]["params"] == {"input_image": image, "prompt": "view 0", "left": 16}
    assert program.json("run", "job.yaml", "--dry-run", "--json") == found
    shown = program("plan", "job.yaml", COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80 or str(program.folder) in shown
    assert "10: 10 new, 0 done" in shown
    assert sorted(path.name for path in program.folder.iterdir()) == ["job.yaml", "one.png"]


def test_flags_the_environment_and_set_go_over_the_manifest_in_this_order(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(program.manifest(60))

    def estimate(*flags: str, **environment: str) -> dict[str, float]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            assert ended(["run", path, "--dry-run", "--json", *flags]) == 0
        found: dict[str, float] = json.loads(capsys.readouterr().out)["estimate"]
        return found

    unpaced, slow = estimate(), estimate("--rpm", "6")
    assert slow["seconds"] > 600 > unpaced["seconds"]
    assert estimate(BATCHER_RPM="6") == estimate("--set", "limits.rpm=6") == slow
    assert estimate("--rpm", "6", BATCHER_RPM="60") == slow
    assert estimate("--set", "limits.rpm=60", "--rpm", "6") == slow
    assert estimate("--rpm", "none", BATCHER_RPM="6") == unpaced
    assert estimate("-j", "1") == estimate(BATCHER_IN_FLIGHT="1") != unpaced
    assert estimate("--set", "inputs.1.rows=[{n: 1}, {n: 2}]", "--set", "price=2")["cost"] == 4.0
    assert estimate(BATCHER_SET="price=2")["cost"] == 120.0
    assert estimate(BATCHER_SET='params.prompt="two words"\nprice=2')["cost"] == 120.0


def test_without_a_key_it_says_how_to_get_and_set_one_and_ends_with_5(program: Program) -> None:
    program.manifest(1)
    done = program("run", "job.yaml")
    assert (done.returncode, done.stdout) == (5, "")
    for words in ("no API key", "https://cloud.segmind.com", "export SEGMIND_API_KEY=", "--sandbox"):
        assert words in done.stderr
    assert not (program.folder / "out").exists()


def test_a_key_that_is_refused_ends_with_5_and_is_shown_nowhere(program: Program, server: str) -> None:
    program.manifest(3)
    key = "SG_this-is-not-a-key"
    done = program("run", "job.yaml", SEGMIND_API_KEY=key)
    assert done.returncode == 5
    assert "SEGMIND_API_KEY" in done.stdout
    left = [path for path in (program.folder / "out").rglob("*") if path.is_file()]
    assert all(key.encode() not in path.read_bytes() for path in left)
    assert key not in done.stdout + done.stderr
    assert history(server) == []
    assert program.json("status", "out", "--json")["counts"]["planned"] == 3


# --- a run


def test_run_prints_one_object_and_running_again_does_nothing_new(program: Program, server: str) -> None:
    program.manifest(6)
    first = as_designed(program.json("run", "job.yaml", "--json"))
    assert (first["state"], first["total"], first["images"]) == ("finished", 6, 6)
    assert first["cost"] == {"spent": 3.0, "reserved": 0.0, "doubtful": 0.0, "lost": 0.0}
    assert (first["calls"]["submit"], first["calls"]["upload"]) == (6, 1)
    again = as_designed(program.json("run", "job.yaml", "--json"))
    assert {**again, "updated_at": "", "ended_at": ""} == {**first, "updated_at": "", "ended_at": ""}
    assert billed(server) == 6
    for job in ("job.yaml", "out"):
        status = as_designed(program.json("status", job, "--json"))
        assert {**status, "updated_at": ""} == {**again, "updated_at": ""}
    assert images(program.folder / "out") == [f"view-{n}.jpg" for n in range(6)]
    assert (program.json("plan", "job.yaml", "--json")["new"], len(history(server))) == (0, 6)


def test_limit_takes_so_many_at_a_time_and_ends_with_0(program: Program, server: str) -> None:
    program.manifest(5)
    for limit, done in ((2, 2), (2, 4), (0, 4), (2, 5)):
        report = program.json("run", "job.yaml", "--json", "--limit", str(limit))
        assert (report["counts"]["done"], report["counts"]["planned"]) == (done, 5 - done)
        assert report["state"] == ("finished" if done == 5 else "idle")
    assert billed(server) == 5


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("models",), ("models", "--json"), ("plan", "job.yaml"), ("status", "out", "--json")],
)
def test_a_reader_who_has_gone_is_no_error(program: Program, arguments: Sequence[str]) -> None:
    program.manifest(1)
    assert program("run", "job.yaml", "--sandbox", "-q").returncode == 0
    (program.folder / "out-sandbox").rename(program.folder / "out")
    assert program.into_nothing(*arguments) == (0, "")


def test_a_reader_who_has_gone_does_not_change_how_a_run_ended(program: Program) -> None:
    program.manifest(1, price=None)
    done = program.into_nothing("run", "job.yaml", "--sandbox", "--json", "--max-duration", "1ms")
    assert done == (10, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_place_for_what_is_printed_is_told_and_ends_no_run_otherwise(program: Program) -> None:
    program.manifest(1)
    for command in (["models"], ["plan", "job.yaml"], ["--help"]):
        done = program.shell('"$@" >/dev/full', *program.command(command))
        told = "batcher: what is to be printed cannot be written: No space left on device\n"
        assert (done.returncode, done.stderr) == (5, told)
    done = program.shell('"$@" >/dev/full 2>&1', *program.command(["run", "job.yaml", "--sandbox"]))
    assert done.returncode == 0
    assert len(images(program.folder / "out-sandbox")) == 1
    done = program.shell('"$@" 2>/dev/full', *program.command(["run", "none.yaml"]))
    assert done.returncode == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_streams_that_whoever_started_it_has_closed_are_no_error(program: Program, closed: str) -> None:
    program.manifest(1)
    shell = f'"$@" --base-url "$SEGMIND_BASE_URL" {closed}'
    with program.started("sandbox", "--service", "100ms") as process:
        assert process.stdout is not None
        environment = {"SEGMIND_BASE_URL": process.stdout.readline().strip(), "SEGMIND_API_KEY": KEY}
        done = program.shell(shell, *program.command(["run", "job.yaml"]), **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(images(program.folder / "out")) == 1


def test_output_is_relative_to_the_current_folder_and_the_sandbox_keeps_apart(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "jobs").mkdir()
    Program(tmp_path / "jobs").manifest(1)
    program.folder = tmp_path / "here"
    report = program.json("run", "../jobs/job.yaml", "--json", "--sandbox", "-o", "mine")
    assert report["counts"]["done"] == 1
    assert images(tmp_path / "here" / "mine-sandbox") == ["view-0.jpg"]
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["mine-sandbox"]
    assert not (tmp_path / "jobs" / "out").exists()
    assert program.json("status", "../jobs/job.yaml", "--json", "--sandbox", "-o", "mine")["images"] == 1
    text = program("status", "mine-sandbox").stdout
    assert "finished" in text
    assert "1 done" in text


@pytest.mark.parametrize(("flags", "answer", "code"), [((), "n", 2), ((), "y", 0), (("-y",), "", 0)])
def test_somebody_at_a_terminal_is_asked_before_much_is_spent(
    program: Program, server: str, flags: tuple[str, ...], answer: str, code: int
) -> None:
    program.manifest(4)
    said, ended_with = program.at_a_terminal("run", "job.yaml", *flags, question="[y/N]", answer=answer)
    assert ended_with == code
    assert ("job: 4 tasks, about 2.00 credits; go on? [y/N]" in said) == (answer != "")
    assert len(history(server)) == (0 if code else 4)
    assert "Traceback" not in said


def unpriced(program: Program, tasks: int) -> None:
    """A job of a model for which nobody says a price: a model file beside the manifest wins."""
    page = (SHIPPED / "seg-beyond.yaml").read_text("utf-8")
    (program.folder / "page.yaml").write_text(re.sub(r"(?m)^price.*\n", "", page))
    program.manifest(tasks, price=None)


def test_a_cost_that_nobody_knows_is_asked_about_at_a_terminal(program: Program, server: str) -> None:
    unpriced(program, 4)
    said, code = program.at_a_terminal("run", "job.yaml", question="[y/N]", answer="n")
    assert code == 2
    assert "job: cost not known, 4 tasks; go on? [y/N]" in said
    said, code = program.at_a_terminal("run", "job.yaml", "--limit", "1", question="[y/N]", answer="y")
    assert code == 0
    assert "job: cost not known, 1 task; go on? [y/N]" in said
    assert len(history(server)) == 1


def test_confirm_over_is_kept_or_refused_and_never_taken_for_kept(program: Program, server: str) -> None:
    unpriced(program, 4)
    done = program("run", "job.yaml", "--confirm-over", "100")
    assert done.returncode == 2
    assert "--confirm-over 100 cannot be kept: what 4 tasks would cost is not known" in done.stderr
    assert "`price: 0.02`" in done.stderr
    program.manifest(4)
    asked = [("1.9", "4", 2), ("0", "1", 2), ("0.5", "1", 0), ("1.5", "3", 0), ("0", "9", 0)]
    for over, limit, code in asked:
        done = program("run", "job.yaml", "-q", "--confirm-over", over, "--limit", limit, "-o", "priced")
        assert (over, limit, done.returncode) == (over, limit, code), done.stderr
    assert len(history(server)) == 4
    unpriced(program, 4)
    again = ("--pay-again", "-o", "unpriced")
    assert program("run", "job.yaml", "-q", "-y", "--confirm-over", "0", *again).returncode == 0


@pytest.mark.parametrize("flags", [(), ("--watch",)])
def test_ctrl_c_at_the_question_leaves_at_once_and_submits_nothing(
    program: Program, server: str, flags: tuple[str, ...]
) -> None:
    program.manifest(4)
    said, ended_with = program.at_a_terminal(
        "run", "job.yaml", *flags, question="[y/N]", answer=signal.SIGINT
    )
    assert ended_with == 130
    assert screen_lines(said)[-2:] == [
        "job: 4 tasks, about 2.00 credits; go on? [y/N]:",
        "batcher: interrupted at the question; nothing was submitted",
    ]
    assert history(server) == []
    assert program("run", "job.yaml", "-q").returncode == 0


def test_the_address_of_the_live_page_stands_above_the_block_and_leaves_no_ghost(
    program: Program, server: str
) -> None:
    program.manifest(8)
    said, ended_with = program.at_a_terminal("run", "job.yaml", "-y", "--watch")
    first, second, *_ = screen_lines(said)
    assert ended_with == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]+/", first)
    assert second.startswith("job: all done, 8 tasks")


# --- a run that is disturbed


def test_a_running_job_can_be_looked_at_and_run_by_nobody_else_and_two_signals_end_it_at_once(
    program: Program, server: str
) -> None:
    program.manifest(40)
    slow = ("-j", "2")
    with program.started("run", "job.yaml", "--json", *slow) as process:
        until(lambda: len(images(program.folder / "out")) > 2)
        status = as_designed(program.json("status", "job.yaml", "--json"))
        assert status["state"] == "running"
        assert 2 < status["counts"]["done"] < 40
        second = program("run", "job.yaml")
        assert (second.returncode, second.stdout) == (11, "")
        assert f"another run holds this job: process {process.pid} on " in second.stderr
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    report = as_designed(json.loads(out))
    assert report["state"] == "idle"
    assert report["counts"]["failed"] == 0
    done = as_designed(program.json("run", "job.yaml", "--json"))
    assert done["counts"]["done"] == done["images"] == 40
    assert 40 <= billed(server) <= 42


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_one_signal_fetches_what_is_in_flight_and_leaves_the_rest(
    program: Program, server: str, number: signal.Signals, code: int
) -> None:
    program.manifest(60)
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    with program.started("run", "job.yaml", "--json", "-j", "4") as process:
        signal.signal(signal.SIGHUP, inherited)
        until(lambda: len(images(program.folder / "out")) > 2)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (code, "")
    report = as_designed(json.loads(out))
    counts = report["counts"]
    assert counts["done"] == report["images"] == len(images(program.folder / "out")) == billed(server)
    assert counts["planned"] == 60 - counts["done"] > 0
    assert program("run", "job.yaml", "-q").returncode == 0
    assert billed(server) == 60


def test_kill_9_in_the_middle_of_200_tasks_then_the_same_command_pays_for_200(
    program: Program, server: str
) -> None:
    program.manifest(200)
    command = ("run", "job.yaml", "--json", "-j", "32")
    with program.started(*command) as process:
        until(lambda: done_in_ledger(program.folder / "out") >= 60)
        process.kill()
    broken = as_designed(program.json("status", "job.yaml", "--json"))
    assert broken["state"] == "idle"
    assert 60 <= broken["counts"]["done"] < 200
    in_the_air = broken["counts"]["submitting"]
    report = as_designed(program.json(*command))
    assert report["counts"]["done"] == report["images"] == 200
    assert images(program.folder / "out") == sorted(f"view-{n}.jpg" for n in range(200))
    assert 200 <= billed(server) <= 200 + in_the_air
    lines = (program.folder / "out" / "metadata.jsonl").read_text().splitlines()
    assert len({json.loads(line)["request_id"] for line in lines}) == len(lines) == 200


# --- shares


def test_shares_are_run_looked_at_mended_and_merged_from_the_command_line(
    program: Program, server: str
) -> None:
    job = str(program.manifest(tasks=12))
    reports = [as_designed(program.json("run", job, "--shard", f"{index}/2", "--json")) for index in (1, 2)]
    assert sum(report["total"] for report in reports) == 12
    whole = program.folder / "out"
    folders = [whole / f"shard-{index}-of-2" for index in (1, 2)]
    same = [
        program.json("status", job, "--shard", "1/2", "--json"),
        program.json("status", job, "--json", BATCHER_SHARD="1/2"),
        program.json("status", str(whole), "--shard", "1/2", "--json"),
        program.json("status", str(folders[0]), "--json"),
    ]
    assert [{**found, "updated_at": ""} for found in same] == [{**reports[0], "updated_at": ""}] * 4
    assert program.json("plan", job, "--shard", "1/2", "--json")["new"] == 0
    assert len(images(folders[0])) == reports[0]["total"]

    (lost, *_) = (folders[0] / "images").iterdir()
    lost.unlink()
    assert program("merge", *map(str, folders), "-o", "whole").returncode == 3
    assert program("verify", job, "--shard", "1/2").returncode == 3
    mended = program("verify", job, "--shard", "1/2", "--repair")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert lost.exists()

    merged = program.json("merge", *map(str, folders), "-o", "whole", "--json")
    assert {key: merged[key] for key in ("total", "images", "shares")} == {
        "total": 12, "images": 12, "shares": 2,
    }  # fmt: skip
    assert program.json("status", "whole", "--json")["counts"]["done"] == 12
    assert program("verify", "whole").returncode == 0
    assert billed(server) == 12
    said = program("merge", *map(str, folders), "-o", "whole")
    assert (said.returncode, said.stdout.splitlines()[0]) == (0, "2 shares are one")


def test_what_is_no_share_is_told_before_anything_is_read(program: Program) -> None:
    job = str(program.manifest(tasks=2))
    for command in (["run"], ["plan"], ["status"], ["verify"], ["retry"], ["report"], ["watch"]):
        done = program(*command, job, "--shard", "3/2")
        assert done.returncode == 2
        assert "'3/2': shares are numbered from 1 to 2" in done.stderr
    assert program("run", job, "-n", BATCHER_SHARD="x").returncode == 2
    assert not (program.folder / "out").exists()


# --- on other machines


def test_without_ray_one_sentence_says_how_to_get_it(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray, "find_spec", lambda name: None)
    job = str(program.manifest(tasks=1))
    for command in (["run", "--sandbox"], ["verify"], ["export", "--to", "parquet", "-o", "x"]):
        name, *words = command
        assert ended([name, job, *words, "--on", "ray"]) == 2
        assert capsys.readouterr().err.strip() == (
            "batcher: --on ray needs Ray, which is not installed: pip install 'batcher[ray]'"
        )
    assert not (program.folder / "out-sandbox").exists()


def test_words_about_a_cluster_need_one(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(program.manifest(tasks=1))
    for words in (["--address", "auto"], ["--workers", "3"]):
        assert ended(["run", job, "-n", *words]) == 2
        assert "--address and --workers go with --on ray" in capsys.readouterr().err


def test_a_renamed_manifest_is_refused_line_by_line_and_its_pictures_are_taken_over(program: Program) -> None:
    job = program.manifest(2, name="streets", output={"name": "{{ n }}"})
    assert program("run", "job.yaml", "-q", "--sandbox").returncode == 0
    job.write_text(job.read_text().replace("name: streets", "name: lanes"), encoding="utf-8")
    refused = program("run", "job.yaml", "-q", "--sandbox")
    assert refused.returncode == 2
    assert [" ".join(line.split()) for line in refused.stderr.splitlines()] == [
        "batcher: 2 of 2 tasks are made (2 done) in out/streets-sandbox, and a run here would make them "
        "again, as with your key it would pay for them again. The ways on:",
        "-o out/streets goes on there",
        "reuse: [out/streets] in job.yaml: takes those over, and makes the rest",
        "--pay-again makes them once more",
        "nothing was submitted",
    ]
    assert "warning: `run` refuses this: 2 of 2 tasks" in program("plan", "job.yaml", "--sandbox").stderr
    reused = ("--sandbox", "--set", "reuse=[out/streets]")
    assert "2: 0 new, 0 done, 2 taken over" in program("plan", "job.yaml", *reused).stdout
    report = program.json("run", "job.yaml", "--json", *reused)
    assert (report["counts"]["done"], report["calls"]["submit"], report["cost"]["spent"]) == (2, 0, 0)


def test_without_a_word_the_help_is_shown_line_by_line(program: Program) -> None:
    done = program()
    assert done.returncode == 2
    assert "\n  run       Run a job; the same command resumes it.\n" in done.stderr


def test_where_only_a_rehearsal_has_run_it_is_named(program: Program) -> None:
    job = str(program.manifest(1))
    assert program("run", job, "-q", "--sandbox").returncode == 0
    for command in (["status"], ["report"], ["verify"], ["export", "--to", "parquet", "-o", "x"]):
        name, *words = command
        done = program(name, "job.yaml", *words)
        assert done.returncode == 2
        assert "What the sandbox made is in out-sandbox: add --sandbox to see it" in done.stderr


def test_a_plan_of_which_nothing_is_left_says_so_and_estimates_nothing(program: Program) -> None:
    job = str(program.manifest(2))
    assert program("run", job, "-q", "--sandbox").returncode == 0
    shown = program("plan", job, "--sandbox").stdout
    assert "tasks     2: 0 new, 2 done\nthis run  nothing is left to do\nlimits    no rate\noutput" in shown
    estimate = program.json("plan", job, "--sandbox", "--json")["estimate"]
    assert estimate == {"cost": 0.0, "calls": 0, "seconds": 0.0}
