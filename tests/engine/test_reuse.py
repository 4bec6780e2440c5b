"""`reuse:` pictures of other output folders, taken over instead of paid for."""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from batcher import errors
from batcher.engine import outlook
from batcher.job.manifest import Manifest
from batcher.progress import Event, Finished, Message
from batcher.progress.closing_text import closing
from batcher.results.audit import submissions_of
from batcher.results.report import figures
from batcher.results.verify import FindingKind, check_output
from batcher.sandbox import Sandbox
from batcher.shard import Shard
from batcher.storage import layout
from batcher.storage.download import OutputFolder
from tests.support.buckets import Bucket
from tests.support.crashing import Points, dying
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

TASKS = 4


def job(harness: Harness, name: str, tasks: int = TASKS, **changes: Any) -> Manifest:
    """A job of the same tasks whatever its name, with its own names for their pictures."""
    harness.output = harness.folder / "out" / name
    output = {"dir": str(harness.output), "name": f"{name}-{{{{ place }}}}"}
    return harness.manifest(tasks, **{"name": name, "output": output, **changes})


async def test_what_another_folder_has_is_taken_over_and_the_rest_is_paid_for(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=2, price=0.02) as server:
        old = await harness.run(server, job(harness, "old"))
        before = {line["place"]: line for line in harness.lines("metadata.jsonl")}
        files = {path.stat().st_ino for path in (harness.output / "images").iterdir()}
        manifest = job(harness, "v2", TASKS + 2, reuse=["out/old"], limits={"max_cost": 0.04})
        planned = outlook(manifest, harness.output, origin=server.url)
        counts = planned.counts
        assert (counts.total, counts.new, counts.reused, counts.done) == (TASKS + 2, 2, TASKS, 0)
        assert (planned.as_json()["reused"], planned.cost) == (TASKS, 0.02)
        assert planned.warnings == ("4 tasks are taken over from out/old, where they were paid for",)
        report = await harness.run(server, manifest, heard.append)
        assert server.billed == TASKS + 2
    harness.check(report)
    assert (report.exit_code, report.images, report.cost["spent"]) == (0, TASKS + 2, 0.04)
    assert old.cost["spent"] == 0.08
    for line in harness.lines("metadata.jsonl")[:TASKS]:
        was = before[line["place"]]
        assert line["file_name"] == f"images/v2-{line['place']}.png"
        told_anew = ("file_name", "cost")
        assert {**line, **dict.fromkeys(told_anew)} == {**was, **dict.fromkeys(told_anew)}
        assert (line["cost"], was["cost"]) == (0.0, 0.02)
    assert files < {path.stat().st_ino for path in (harness.output / "images").iterdir()}
    assert not list((harness.output / ".batcher" / "spool").iterdir())
    (finished,) = (event for event in heard if isinstance(event, Finished))
    texts = [line.text for line in closing(finished, command="batcher run")]
    assert "6 done; 6 images delivered, 4 of them taken over from other folders" in texts
    assert "0.04 credits spent, 0.02 an image" in texts
    assert [event.text for event in heard if isinstance(event, Message)] == [*planned.warnings]


async def test_what_was_taken_over_teaches_no_price_and_is_no_request_of_this_job(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2, price=0.02) as server:
        await harness.run(server, job(harness, "old"))
        report = await harness.run(server, job(harness, "v2", reuse=["out/old"], price=0.05))
        again = await harness.run(server, job(harness, "v2", reuse=["out/old"], price=0.05))
        assert server.billed == TASKS
    assert report.cost == again.cost == {"spent": 0, "reserved": 0, "doubtful": 0, "lost": 0}
    assert report.calls["submit"] == 0
    assert again.per_image == 0.05
    with sqlite3.connect(layout.ledger_path(harness.output)) as connection:
        assert submissions_of(connection) == []
        drawn = figures.of_ledger(connection)
        assert (drawn.sessions, drawn.service.n, drawn.delay.n) == ((), 0, 0)
    connection.close()
    assert not (await check_output(harness.output)).findings


async def test_what_is_missing_or_damaged_there_is_paid_for_and_told(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=2, price=0.02) as server:
        await harness.run(server, job(harness, "old"))
        images = harness.output / "images"
        (images / "old-place 0.png").unlink()
        size = (images / "old-place 1.png").stat().st_size
        (images / "old-place 1.png").write_bytes(b"x" * size)
        report = await harness.run(server, job(harness, "v2", reuse=["out/old"]), heard.append)
        assert server.billed == TASKS + 2
    harness.check(report)
    assert report.exit_code == 0
    first, second = (event.text for event in heard if isinstance(event, Message))
    assert first == "2 tasks are taken over from out/old, where they were paid for"
    assert second.startswith("2 tasks cannot be taken over, and will be paid for: ")
    assert "old-place 0.png: No such file or directory" in second
    assert "old-place 1.png is another picture than was delivered" in second


async def test_of_several_folders_the_first_that_has_it_whole_gives_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=2) as server:
        for index in (1, 2):
            await harness.run(server, job(harness, "shares"), shard=Shard(index, 2))
        await harness.run(server, job(harness, "whole"), pay_again=True)
        for picture in (harness.folder / "out" / "shares").glob("*/images/*place 0.png"):
            picture.unlink()
        billed = server.billed
        both = ["out/shares", "out/whole"]
        report = await harness.run(server, job(harness, "v2", reuse=both), heard.append)
        assert server.billed == billed
    assert (report.exit_code, report.images) == (0, TASKS)
    assert [event.text for event in heard if isinstance(event, Message)] == [
        "3 tasks are taken over from out/shares, where they were paid for",
        "1 task is taken over from out/whole, where they were paid for",
    ]


async def test_a_folder_that_cannot_be_reused_is_an_error_before_anything_is_sent(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "old"))
        damaged = layout.ledger_path(harness.folder / "out" / "damaged")
        damaged.parent.mkdir(parents=True)
        damaged.write_bytes(b"no database" * 1000)
        with sqlite3.connect(layout.ledger_path(harness.output)) as connection:
            connection.execute("UPDATE meta SET value = 'https://elsewhere' WHERE key = 'origin'")
        connection.close()
        cases = {
            "out/nowhere": "is no output folder of batcher",
            "s3://bucket/old": "is a URL; name the folder of this machine",
            "out/damaged": "is a database of something else|is damaged|not a ledger",
            "out/old": "was made against https://elsewhere, and this run asks http",
        }
        for folder, why in cases.items():
            manifest = job(harness, "v2", reuse=[folder])
            for use in (
                partial(harness.run, server, manifest),
                partial(look, manifest, harness.output, server.url),
            ):
                with pytest.raises(errors.ManifestError, match=rf"reuse\.0: .*({why})"):
                    await use()
        assert not harness.output.exists()
        # The job's own folder is no other one.
        again = job(harness, "old", reuse=["out/old"])
        with pytest.raises(errors.OtherOrigin):
            await harness.run(server, again)


async def look(manifest: Manifest, output: Path, origin: str) -> None:
    outlook(manifest, output, origin=origin)


async def test_a_folder_that_is_reused_is_no_reason_to_refuse_and_others_still_are(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "old", 2))
        await harness.run(server, job(harness, "other"), pay_again=True)
        billed = server.billed
        with pytest.raises(errors.PaidElsewhere, match=r"2 of 4 tasks are paid for .*/out/other"):
            await harness.run(server, job(harness, "v2", reuse=["out/old"]))
        both = job(harness, "v2", reuse=["out/old", "out/other"])
        assert (await harness.run(server, both)).images == TASKS
        assert server.billed == billed


async def test_pictures_in_object_stores_are_taken_over_too(
    harness: Harness, sandbox: MakeSandbox, bucket: Bucket
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "old", output={"dir": f"{bucket}/old", "name": "{{ place }}"}))
        for name, where in (("there", f"{bucket}/there"), ("here", str(harness.folder / "out" / "here"))):
            manifest = job(harness, name, output={"dir": where, "name": "{{ place }}"}, reuse=["out/old"])
            report = await harness.run(server, manifest)
            assert (report.exit_code, report.images) == (0, TASKS)
        assert server.billed == TASKS
    assert harness.pictures() == [f"place {n}.png" for n in range(TASKS)]
    found = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="there/images/")["Contents"]
    assert len(found) == TASKS


async def test_where_no_link_can_be_made_the_picture_is_copied(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def refused(source: Any, target: Any) -> None:
        if "spool" in str(target):
            raise OSError(18, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", refused)
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "old"))
        report = await harness.run(server, job(harness, "v2", reuse=["out/old"]))
        assert server.billed == TASKS
    harness.check(report)
    assert all(path.stat().st_nlink == 1 for path in (harness.output / "images").iterdir())


async def test_failed_tasks_are_taken_over_when_they_are_retried(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "old"))
        new = job(harness, "new")
        await harness.run(server, new, pay_again=True, limit=0)
        with sqlite3.connect(layout.ledger_path(harness.output)) as connection:
            connection.execute("UPDATE tasks SET state = 'failed', reason = 'SERVER: x'")
        connection.close()
        again = job(harness, "new", reuse=["out/old"])
        counts = outlook(again, harness.output, origin=server.url).counts
        assert (counts.failed, counts.reused, counts.new) == (TASKS, 0, 0)
        report = await harness.run(server, again, retry_failed=True)
        assert (report.counts["done"], server.billed) == (TASKS, TASKS)


async def crashed(
    harness: Harness, server: Sandbox, manifest: Manifest, at: int | None, patch: pytest.MonkeyPatch
) -> Points:
    """One run that dies at the point `at`: before and after each write, commit and file in the spool."""
    link = OutputFolder.link_into_spool
    with dying(at) as points, patch.context() as within:

        def linked(*arguments: Any) -> bool:
            points.reach()
            done = link(*arguments)
            points.reach()
            return done

        within.setattr(OutputFolder, "link_into_spool", linked)
        await harness.run(server, manifest)
    return points


@pytest.mark.parametrize("offset", range(3))
async def test_a_crash_anywhere_takes_everything_over_and_pays_for_nothing(
    harness: Harness,
    sandbox: MakeSandbox,
    monkeypatch: pytest.MonkeyPatch,
    offset: int,
) -> None:
    """Each offset takes every third point."""
    at = offset
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "old", 3))
        while True:
            manifest = job(harness, f"v{at}", 3, reuse=["out/old"])
            points = await crashed(harness, server, manifest, at, monkeypatch)
            if not points.dead:
                break
            if layout.ledger_path(harness.output).exists():
                waiting = "SELECT spool FROM files JOIN tasks t ON t.id = task WHERE t.state = 'ready'"
                needed = {f".batcher/spool/{name}" for (name,) in harness.rows(waiting)}
                found = (await check_output(harness.output)).of(FindingKind.LEFTOVER)
                assert not needed & {one.path for one in found}, f"killed at {at}"
            report = await harness.run(server, manifest)
            harness.check(report)
            assert (report.exit_code, report.images, server.billed) == (0, 3, 3), f"killed at {at}"
            assert report.cost["spent"] == report.cost["doubtful"] == 0, f"killed at {at}"
            assert not list((harness.output / ".batcher" / "spool").iterdir()), f"killed at {at}"
            at += 3
    assert at > 20
