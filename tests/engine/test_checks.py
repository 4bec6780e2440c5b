"""checks: what is said of a picture before it has its name, and what becomes of it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from batcher import errors
from batcher.engine import judge_command, load, picture_checks
from batcher.job import geometry
from batcher.job.catalog import find
from batcher.job.manifest.grammar import Checks
from batcher.ledger import database, ledger
from batcher.progress import Event, Finished, Message
from batcher.sandbox import Faults, Sandbox, faults
from tests.support.crashing import dying
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


def blacks(*calls: int) -> Faults:
    return Faults([faults.BlackPicture(calls=list(calls))])


# --- decisions


def test_the_first_that_rejects_gives_the_reason_and_the_others_that_warn_are_kept() -> None:
    found = {"blank": "nearly one colour", "size": "64 x 64 pixels, asked for 512 x 512"}
    both = picture_checks.decide(found, Checks(blank="reject"))
    assert (both.rejected_by, both.reason) == ("blank", "blank: nearly one colour")
    assert both.warnings == ("size: 64 x 64 pixels, asked for 512 x 512",)
    assert picture_checks.decide(found, Checks()).rejected_by == ""
    assert picture_checks.decide({}, Checks(blank="reject")) == picture_checks.CheckVerdict()


@pytest.mark.parametrize(
    ("model", "params", "source", "asked"),
    [
        ("sd1.5-outpaint", {"img_width": 768, "img_height": 1024}, None, (768, 1024)),
        ("sd1.5-outpaint", {"img_width": 768}, None, None),
        ("sd1.5-outpaint", {}, (640, 480), None),
        ("seg-beyond", {"left": 100, "top": 50}, (640, 480), (740, 530)),
        ("seg-beyond", {"left": 100}, None, None),
        ("seg-beyond", {}, (640, 480), None),
        ("focus-outpaint", {"aspect_ratios": "896*1152"}, None, (896, 1152)),
        ("focus-outpaint", {"aspect_ratios": "wide"}, None, None),
    ],
)
def test_the_size_that_parameters_ask_for(
    model: str, params: dict[str, Any], source: tuple[int, int] | None, asked: tuple[int, int] | None
) -> None:
    page = find(model)
    assert page is not None
    assert page.geometry is not None
    assert geometry.asked_size(page.geometry, params, source) == asked


def test_a_model_that_rounds_to_multiples_of_eight_gives_the_size_asked_for() -> None:
    assert picture_checks.wrong_size((736, 528), (740, 530)) == ""
    assert picture_checks.wrong_size((732, 530), (740, 530)) == "732 x 530 pixels, asked for 740 x 530"
    assert picture_checks.wrong_size((1, 1), None) == ""


# --- the engine


async def ran(harness: Harness, server: Sandbox, tasks: int = 3, listener: Any = None, **changes: Any) -> Any:
    heard: list[Event] = []
    told = await harness.run(server, harness.manifest(tasks, **changes), heard.append)
    harness.check(told)
    return told, next(event for event in reversed(heard) if isinstance(event, Finished)), heard


async def test_by_default_a_blank_picture_is_delivered_marked_and_told_once(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, pictures=True, faults=blacks(1, 2)) as server:
        told, finished, _ = await ran(harness, server)
    assert (told.exit_code, told.counts["done"]) == (0, 3)
    marked = [line for line in harness.lines("metadata.jsonl") if "warnings" in line]
    assert [line["warnings"] for line in marked] == [["blank: nearly one colour"]] * 2
    assert finished.warnings == {"blank: nearly one colour": 2}
    assert told.warnings == {"blank: nearly one colour": 2}
    assert json.loads((harness.output / "report.json").read_text())["warnings"] == told.warnings


async def test_a_blank_picture_is_set_aside_where_the_manifest_says_so(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, pictures=True, faults=blacks(2), price=0.01) as server:
        told, _, heard = await ran(harness, server, checks={"blank": "reject"})
        assert (told.exit_code, told.counts["done"], told.counts["rejected"]) == (0, 2, 1)
        assert told.rejections == {"blank: nearly one colour": 1}
        assert (server.billed, told.images, told.cost["spent"]) == (3, 3, 0.03)
        (line,) = harness.lines("rejected.jsonl")
        assert (line["by"], line["reason"]) == ("blank", "blank: nearly one colour")
        (moved,) = [event for event in heard if getattr(event, "target", None) == "rejected"]
        assert (moved.origin, moved.reason) == ("ready", "blank: nearly one colour")
        again, _, _ = await ran(harness, server, checks={"blank": "reject"})
        assert (again.counts["rejected"], server.billed) == (1, 3)


async def test_of_equal_pictures_the_first_stays_and_the_others_name_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.RepeatedPicture(calls=[2, 4])])
    async with sandbox(service=5, sigma=0, pictures=True, faults=script) as server:
        told, _, _ = await ran(
            harness, server, 4, checks={"duplicate": "reject"}, limits={"rpm": 6000, "in_flight": 1}
        )
    assert told.rejections == {"duplicate: the same picture as another result": 2}
    assert [line["duplicate_of"] for line in harness.lines("rejected.jsonl")] == ["place 0", "place 2"]


async def test_equal_pictures_that_come_at_once_are_not_both_set_aside(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    more = {"prompt": "the very same", "seed": 7}
    async with sandbox(service=5, sigma=0, pictures=True) as server:
        told, _, _ = await ran(harness, server, 6, checks={"duplicate": "reject"}, params=more)
    assert (told.counts["done"], told.counts["rejected"]) == (1, 5)


async def test_a_picture_of_another_size_is_told(harness: Harness, sandbox: MakeSandbox) -> None:
    script = Faults([faults.WrongSize(scale=0.5, calls=[1])])
    size = {"img_width": 768, "img_height": 768}
    async with sandbox(service=5, pictures=True, faults=script) as server:
        told, _, _ = await ran(harness, server, 2, checks={"size": "reject"}, params=size)
    assert told.rejections == {"size: 384 x 384 pixels, asked for 768 x 768": 1}


async def test_the_source_again_is_told_where_it_is_a_file(harness: Harness, sandbox: MakeSandbox) -> None:
    from batcher.sandbox.generation import stock

    photo = harness.folder / "photo.jpg"
    photo.write_bytes(stock.photograph("https://example.invalid/a.jpg"))
    script = Faults([faults.UnchangedPicture(calls=[1])])
    async with sandbox(service=5, pictures=True, faults=script) as server:
        told, _, _ = await ran(
            harness, server, 3, checks={"unchanged": "reject"}, params={"image": str(photo)}
        )
    assert told.rejections == {"unchanged: the source again": 1}


async def test_what_is_off_is_not_looked_at(harness: Harness, sandbox: MakeSandbox) -> None:
    off = {"blank": "off", "size": "off", "duplicate": "off"}
    async with sandbox(service=5, pictures=True, faults=blacks(1, 2, 3)) as server:
        told, _, _ = await ran(harness, server, checks=off)
    assert (told.counts["done"], told.warnings) == (3, {})
    assert harness.rows("SELECT * FROM picture_checks") == []


async def test_all_pictures_of_a_task_share_their_fate(harness: Harness, sandbox: MakeSandbox) -> None:
    judge = program(harness, "import sys\nif '-1-judged' in sys.argv[1]: print('too red'); sys.exit(1)\n")
    harness.manifest(1, checks={"command": judge})
    path = harness.folder / "job.yaml"
    job = yaml.safe_load(path.read_text()) | {"model": "seg-beyond"}
    job["params"] = {"input_image": "https://photos.example/one.png", "prompt": "{{ place }}", "samples": 2}
    path.write_text(yaml.safe_dump(job))
    async with sandbox(service=5, pictures=True) as server:
        told = await harness.run(server, load(path))
        harness.check(told)
    assert told.rejections == {"command: too red": 1}
    assert len(harness.pictures("rejected")) == 2


async def test_a_kept_picture_stays_kept_when_its_file_is_fetched_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    from batcher.api.account import Account
    from batcher.api.client import Endpoints
    from batcher.engine import repair
    from batcher.results import review
    from tests.support.harness import KEY

    async with sandbox(service=5, pictures=True, faults=blacks(1)) as server:
        await ran(harness, server, 1, checks={"blank": "reject"})
        review.keep(harness.output, ["place 0"], now=harness.now)
        assert harness.states() == {"done": 1}
        next((harness.output / "images").iterdir()).unlink()
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        mended = await repair(
            harness.output,
            harness.manifest(1, checks={"blank": "reject"}),
            warn=print,
            account=account,
            now=harness.now,
        )
        assert (mended.exit_code, mended.fetched, harness.states()) == (0, 1, {"done": 1})


# --- a program that judges


def program(harness: Harness, text: str) -> list[str]:
    (harness.folder / "judge.py").write_text(text)
    return [sys.executable, "judge.py"]


async def test_a_program_gets_the_file_and_its_line_and_its_first_line_is_the_reason(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", "SG_00112233445566ff")
    judge = program(
        harness,
        "import json, os, sys\n"
        "line = json.load(sys.stdin)\n"
        "assert open(sys.argv[-1], 'rb').read(3) == b'\\xff\\xd8\\xff' and sys.argv[-1].endswith('.jpg')\n"
        "assert 'SEGMIND_API_KEY' not in os.environ\n"
        "assert line['file_name'] == f\"images/{line['place']}.jpg\" and line['width'] == 1024\n"
        "if line['place'] == 'place 1':\n"
        "    print('\\n  a third  arm\\nmore')\n"
        "    sys.exit(1)\n",
    )
    async with sandbox(service=5, pictures=True) as server:
        told, _, _ = await ran(harness, server, checks={"command": judge})
        assert (told.exit_code, told.rejections) == (0, {"command: a third arm": 1})
        assert harness.lines("rejected.jsonl")[0]["by"] == "command"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import sys; sys.exit(3)", "ended with code 3"),
        ("raise ValueError('no model')", "keeps"),
        ("import os; os.kill(os.getpid(), 9)", "ended with code -9"),
    ],
)
async def test_a_program_that_fails_itself_leaves_the_picture_waiting(
    harness: Harness, sandbox: MakeSandbox, text: str, why: str
) -> None:
    if why == "keeps":
        # An uncaught error ends Python with 1, as a rejection does: what it says is the reason.
        text, why = "import sys; print('ValueError: no model', file=sys.stderr); sys.exit(2)", "no model"
    judge = program(harness, text)
    async with sandbox(service=5, pictures=True) as server:
        told, _finished, heard = await ran(harness, server, 2, checks={"command": judge})
        assert (told.exit_code, told.counts["ready"], server.billed) == (5, 2, 2)
        assert why in harness.lines("errors.jsonl")[0]["reason"]
        warned = [event.text for event in heard if isinstance(event, Message) and "unjudged" in event.text]
        assert len(warned) == 1
        program(harness, "")
        again, _, _ = await ran(harness, server, 2, checks={"command": judge})
        assert (again.exit_code, again.counts["done"], server.billed) == (0, 2, 2)


async def test_a_program_that_is_not_there_is_told(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, pictures=True) as server:
        told, _, _ = await ran(harness, server, 1, checks={"command": ["./no-such-judge"]})
    assert told.exit_code == 5
    assert "./no-such-judge cannot be started: No such file" in harness.lines("errors.jsonl")[0]["reason"]


async def test_a_program_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_command, "SECONDS", 0.3)
    judge = judge_command.Judge([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    with pytest.raises(errors.CheckFailed, match=r"did not end within 0\.3 s"):
        await judge.ask(tmp_path / "a.png", "{}")


async def test_who_is_cancelled_leaves_no_program_behind(tmp_path: Path) -> None:
    judge = judge_command.Judge([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    ended = anyio.Event()

    async def ask() -> None:
        try:
            await judge.ask(tmp_path / "a.png", "{}")
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(0)
        tasks.cancel_scope.cancel()
    assert ended.is_set()


# --- a process that dies


@pytest.mark.parametrize("offset", range(3))
async def test_a_crash_anywhere_changes_no_verdict_and_pays_nothing_twice(
    harness: Harness, sandbox: MakeSandbox, offset: int
) -> None:
    at = offset
    checks = {"blank": "reject", "duplicate": "reject"}
    while True:
        harness.move_to(f"out-{at}")
        script = Faults([faults.BlackPicture(calls=[1])])
        async with sandbox(service=5, pictures=True, faults=script) as server:
            manifest = harness.manifest(2, checks=checks)
            with dying(at) as points:
                await harness.run(server, manifest)
            if not points.dead:
                break
            there = (harness.output / ".batcher" / "ledger.sqlite").exists()
            doubted = harness.states()["submitting"] if there else 0
            told = await harness.run(server, manifest)
            harness.check(told)
            story = f"killed at point {at} with {doubted} in the air"
            states = Counter({state: n for state, n in told.counts.items() if n})
            black = 0 if doubted and not server.counts["submit"] else states["rejected"]
            assert states["done"] + states["rejected"] == 2, story
            assert black <= 1, story
            assert 2 <= server.billed <= 2 + doubted, story
        at += 3
    assert at > 20
    assert ledger.database is database
