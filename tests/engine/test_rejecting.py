"""batcher reject and keep: pictures are set aside and taken back, beside a run or without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.cli import ended
from batcher.engine import load, repair
from batcher.ledger import database
from batcher.results import report
from batcher.results.export import ExportOptions, export
from batcher.results.merge import merge
from batcher.results.report import page
from batcher.results.verify import FindingKind, check_output
from batcher.sandbox import Faults, faults
from batcher.shard import Shard
from batcher.storage import layout
from batcher.storage.destination.local import Local
from tests.support.buckets import Bucket
from tests.support.crashing import Crash
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


async def said(*arguments: str) -> int:
    """The command in a thread: a run in this loop goes on meanwhile."""
    return await asyncio.to_thread(ended, list(arguments))


async def delivered(harness: Harness, sandbox: MakeSandbox, tasks: int = 4, **changes: Any) -> str:
    """A finished job, and its manifest."""
    async with sandbox(service=5, price=0.01) as server:
        told = await harness.run(server, harness.manifest(tasks, **changes))
        assert (told.exit_code, told.counts["done"]) == (0, tasks)
    return str(harness.folder / "job.yaml")


def checked(harness: Harness) -> report.Report:
    """The report, after everything that holds was looked at."""
    told = report.of_folder(harness.output, now=harness.now())
    harness.check(told)
    return told


async def test_what_is_rejected_is_set_aside_with_its_reason_and_taken_back(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    job = await delivered(harness, sandbox)
    before = (harness.output / "metadata.jsonl").read_text()
    assert await said("reject", job, "place 1", "images/place 3.png", "--reason", "too  dark\n") == 0
    aside = harness.output / "rejected"
    assert capsys.readouterr().out == f"2 tasks set aside; the pictures are in {aside}\n"
    told = checked(harness)
    assert (told.counts["done"], told.counts["rejected"], told.images) == (2, 2, 4)
    assert told.rejections == {"too dark": 2}
    assert told.rejected_images == 2
    assert await said("status", job) == 0
    assert "images    2 delivered, 2 rejected\n" in capsys.readouterr().out
    assert harness.pictures("rejected") == ["place 1.png", "place 3.png"]
    line = harness.lines("rejected.jsonl")[0]
    was = json.loads(before.splitlines()[1])
    assert {key: line[key] for key in was} == was | {"file_name": "rejected/place 1.png"}
    assert (line["reason"], line["by"]) == ("too dark", "person")
    assert line["at"] > was["submitted_at"]
    assert await said("keep", job, "place *", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "job": "job",
        "kept": 2,
        "skipped": [{"name": f"place {n}", "state": "done"} for n in (0, 2)],
        "lost": [],
        "running": False,
    }
    assert checked(harness).rejections == {}
    assert (harness.output / "metadata.jsonl").read_text() == before
    assert (harness.output / "rejected.jsonl").read_text() == ""


async def test_rejected_pictures_alone_are_no_failure_and_nothing_is_paid_for_them_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        manifest = harness.manifest(3)
        await harness.run(server, manifest)
        assert await said("reject", str(harness.output), "place 0") == 0
        again = await harness.run(server, manifest)
        harness.check(again)
        assert (again.exit_code, again.state, server.billed) == (0, "finished", 3)
        assert again.as_json()["rejections"] == {"no reason given": 1}
        assert again.cost["spent"] == 0.03


async def test_it_is_in_no_export_and_its_original_still_is_with_another_variant(
    harness: Harness, sandbox: MakeSandbox, tmp_path: Path
) -> None:
    job = await delivered(harness, sandbox)
    assert await said("reject", job, "place 2") == 0
    for to in ("imagefolder", "webdataset", "parquet"):
        made = export(harness.output, ExportOptions(to=to, into=tmp_path / to, originals=True))
        assert made.pictures == 3
    files = [path.name for path in (tmp_path / "imagefolder").rglob("*.png")]
    assert sorted(files) == ["place 0.png", "place 1.png", "place 3.png"]


async def test_names_come_from_a_file_and_one_that_means_nothing_changes_nothing(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    job = await delivered(harness, sandbox)
    key = harness.rows("SELECT key FROM tasks WHERE name = 'place 3'")[0][0]
    listed = harness.folder / "bad.txt"
    listed.write_text(f'place 0\n{{"file_name": "images/place 1.png"}}\n{key}\n\n')
    assert await said("reject", job, "place 9", "--from", str(listed)) == 2
    assert capsys.readouterr().err == (
        "batcher: no picture of this job is called place 9 (did you mean place 3?); nothing was changed\n"
    )
    assert harness.states() == {"done": 4}
    assert await said("reject", job, "--from", str(listed)) == 0
    assert harness.states() == {"done": 1, "rejected": 3}
    checked(harness)
    capsys.readouterr()
    assert await said("reject", job) == 2
    assert "name at least one picture" in capsys.readouterr().err
    assert await said("reject", job, "place 0") == 0
    assert "place 0 is rejected already\n" in capsys.readouterr().out


async def test_a_glob_is_about_what_can_be_decided_and_lists_no_other_that_it_fits(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, harness.manifest(6), limit=2)
    harness.output.rename(where := harness.folder / "job")
    assert await said("reject", str(where), "place *") == 0
    told = capsys.readouterr().out
    assert "2 tasks set aside" in told
    assert "planned" not in told
    # What is named is told, and so is a glob that fits nothing else.
    assert await said("reject", str(where), "place [45]") == 0
    assert "place 4 is planned: only what is done can be rejected" in capsys.readouterr().out
    assert await said("keep", str(where), "place *", "place 5") == 0
    told = capsys.readouterr().out
    assert "2 tasks taken back" in told
    assert "place 5 is planned" in told
    assert "place 4" not in told


async def test_a_name_with_the_signs_of_a_glob_means_itself(harness: Harness, sandbox: MakeSandbox) -> None:
    names = ["a[1]", "a1", "a[12]"]
    job = await delivered(harness, sandbox, 3, inputs=[{"rows": [{"place": name} for name in names]}])
    assert await said("reject", job, "a[1]") == 0
    assert harness.rows("SELECT name FROM tasks WHERE state = 'rejected'") == [("a[1]",)]
    checked(harness)


async def test_all_pictures_of_a_task_go_together(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        harness.manifest(2)
        path = harness.folder / "job.yaml"
        job = yaml.safe_load(path.read_text()) | {"model": "seg-beyond"}
        job["params"] = {"input_image": "https://a.example/a.png", "prompt": "{{ place }}", "samples": 2}
        path.write_text(yaml.safe_dump(job))
        await harness.run(server, load(path))
        assert await said("reject", str(harness.output), "place 0-1.*") == 0
    assert [Path(name).stem for name in harness.pictures("rejected")] == ["place 0-0", "place 0-1"]
    assert len(harness.lines("rejected.jsonl")) == 2


async def test_beside_a_run_the_run_counts_it_and_writes_the_records(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Faults([faults.SlowBody(delay=60, calls=[3])])
    async with sandbox(service=5, sigma=0, faults=script) as server:
        reports = []

        async def running() -> None:
            reports.append(await harness.run(server, harness.manifest(3)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await anyio.sleep(30)
            assert harness.states() == {"ready": 1, "done": 2}
            name = harness.rows("SELECT name FROM tasks WHERE state = 'done'")[0][0]
            waiting = harness.rows("SELECT name FROM tasks WHERE state = 'ready'")[0][0]
            assert await said("reject", str(harness.output), name, waiting, "--reason", "no") == 0
            out = capsys.readouterr().out
            assert f"{waiting} is ready: only what is done can be rejected" in out
            assert "the run that is going on writes the records anew at its end" in out
        harness.check(reports[0])
        assert (reports[0].exit_code, reports[0].counts["rejected"]) == (0, 1)


async def test_it_is_shown_where_people_look(harness: Harness, sandbox: MakeSandbox) -> None:
    job = await delivered(harness, sandbox, 2)
    assert await said("reject", job, "place 0", "--reason", "a third arm") == 0
    told = report.of_folder(harness.output, now=harness.now())
    written = page.write_page(told)
    text = Path(written).read_text()
    assert '"state":"rejected"' in text
    assert '"reason":"a third arm"' in text
    assert "rejected/place%200.png" in text


async def test_verify_looks_at_what_is_set_aside_and_finds_what_nobody_put_there(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    job = await delivered(harness, sandbox, 3)
    assert await said("reject", job, "place 0") == 0
    found = await check_output(harness.output)
    assert (found.checked, found.findings) == (3, ())
    (harness.output / "rejected" / "mine.png").write_bytes(b"x")
    (harness.output / "rejected" / "place 0.png").unlink()
    found = await check_output(harness.output)
    assert [(finding.kind, finding.path) for finding in found.findings] == [
        (FindingKind.MISSING, "rejected/place 0.png"),
        (FindingKind.LEFTOVER, "rejected/mine.png"),
    ]


async def test_a_repair_fetches_nothing_for_a_rejected_picture_until_it_is_kept(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(2)
        await harness.run(server, manifest)
        assert await said("reject", str(harness.output), "place 0") == 0
        (harness.output / "rejected" / "place 0.png").unlink()
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        mending = {"warn": print, "account": account, "now": harness.now}
        mended = await repair(harness.output, manifest, **mending)
        assert (mended.exit_code, mended.fetched) == (3, 0)
        assert "it is rejected: `batcher keep`, then --repair" in mended.remaining[0].why
        assert harness.states() == {"done": 1, "rejected": 1}
        assert await said("keep", str(harness.output), "place 0") == 0
        mended = await repair(harness.output, manifest, **mending)
        assert (mended.exit_code, mended.fetched) == (0, 1)
        assert (harness.states(), server.billed) == ({"done": 2}, 2)
        checked(harness)


# --- a process that dies


def dying(local: type[Local], where: str) -> Callable[..., None]:
    """A move of a file that dies before it, or right after it."""
    real = local.move

    def move(self: Local, path: str, target: str, sha256: str) -> None:
        if where == "after":
            real(self, path, target, sha256)
        raise Crash

    return move


@pytest.fixture(params=["before", "after"])
def dies(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Files that move die, until it is undone."""
    with monkeypatch.context() as patch:
        patch.setattr(Local, "move", dying(Local, request.param))
        yield patch


@pytest.mark.parametrize("ends", ["run", "keep", "reject", "verify"])
async def test_a_move_that_was_cut_off_is_ended_by_whoever_comes_next(
    harness: Harness, sandbox: MakeSandbox, dies: pytest.MonkeyPatch, ends: str
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(3))
        job = str(harness.output)
        with pytest.raises(Crash):
            await said("reject", job, "place 0", "--reason", "no")
        assert harness.states() == {"done": 2, "rejected": 1}
        dies.undo()
        found = await check_output(harness.output)
        # The records were not written either.
        assert {finding.path for finding in found.findings} == {"rejected/place 0.png", "metadata.jsonl"}
        if ends == "run":
            harness.check(await harness.run(server, harness.manifest(3)))
        elif ends == "verify":
            assert await said("verify", job, "--repair") == 0
        else:
            assert await said(ends, job, "place 1" if ends == "reject" else "place 0") == 0
        told = checked(harness)
        assert told.counts["rejected"] == {"run": 1, "keep": 0, "reject": 2, "verify": 1}[ends]
        assert server.billed == 3


async def test_a_picture_whose_taking_back_was_cut_off_is_taken_back_and_rejected_again(
    harness: Harness, sandbox: MakeSandbox, dies: pytest.MonkeyPatch
) -> None:
    job = str(harness.output)
    dies.undo()
    await delivered(harness, sandbox, 2)
    assert await said("reject", job, "place 0") == 0
    for where in ("before", "after"):
        dies.setattr(Local, "move", dying(Local, where))
        with pytest.raises(Crash):
            await said("keep", job, "place 0")
        dies.undo()
        assert harness.states() == {"done": 2}
        assert await said("reject", job, "place 0") == 0
        assert checked(harness).counts["rejected"] == 1


async def test_a_file_of_somebody_else_is_never_overwritten(harness: Harness, sandbox: MakeSandbox) -> None:
    job = await delivered(harness, sandbox, 1)
    (harness.output / "rejected").mkdir()
    (harness.output / "rejected" / "place 0.png").write_bytes(b"mine")
    assert await said("reject", job, "place 0") == 0
    assert (harness.output / "rejected" / "place 0.png").read_bytes() == b"mine"
    key = harness.rows("SELECT key FROM tasks")[0][0]
    assert harness.lines("rejected.jsonl")[0]["file_name"] == f"rejected/place 0-{key[:8]}.png"
    assert await said("keep", job, "place 0") == 0
    assert harness.pictures() == ["place 0.png"]


# --- elsewhere


async def test_pictures_in_an_object_store_move_there(
    harness: Harness, sandbox: MakeSandbox, bucket: Bucket
) -> None:
    harness.output = harness.folder / "out" / "job"
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(2, output={"dir": f"{bucket}/streets"}))
    assert await said("reject", str(harness.output), "place 0") == 0

    def keys() -> set[str]:
        found = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
        return {str(one["Key"]) for one in found if str(one["Key"]).endswith((".png", "rejected.jsonl"))}

    assert keys() == {
        "streets/images/place 1.png",
        "streets/rejected/place 0.png",
        "streets/rejected.jsonl",
    }
    found = await check_output(harness.output)
    assert (found.checked, found.findings) == (2, ())
    assert await said("keep", str(harness.output), "place 0") == 0
    assert "streets/images/place 0.png" in keys()
    assert "streets/rejected/place 0.png" not in keys()


async def test_shares_bring_what_they_rejected(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(6)
        for shard in (Shard(1, 2), Shard(2, 2)):
            await harness.run(server, manifest, shard=shard)
    shares = [harness.output / f"shard-{n}-of-2" for n in (1, 2)]
    for share in shares:
        with closing(database.open_for_reading(layout.ledger_path(share))) as ledger:
            (name,) = ledger.execute("SELECT name FROM tasks ORDER BY id LIMIT 1").fetchone()
        assert await said("reject", str(share), name, "--reason", "no") == 0
    whole = Harness(harness.folder, harness.now)
    whole.output = harness.folder / "whole"
    told = merge(shares, whole.output, now=harness.now)
    assert (told.exit_code, told.report.counts["rejected"], told.report.rejections) == (0, 2, {"no": 2})
    for folder, number in (("images", 4), ("rejected", 2)):
        assert len(whole.pictures(folder)) == number
    assert len(whole.lines("rejected.jsonl")) == 2
    found = await check_output(whole.output)
    assert (found.checked, found.findings) == (6, ())
