"""verify: what was delivered is what is there; and a repair that pays nothing unless told to."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from batcher import errors
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.cli import ended
from batcher.engine import repair
from batcher.job.manifest import Manifest
from batcher.results.verify import CheckResult, FindingKind, RepairResult, check_output, repair_output
from batcher.results.verify.repair import Fetch
from batcher.sandbox import Faults, Options, Sandbox, faults
from batcher.storage import layout, lock
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


async def mended(
    harness: Harness,
    server: Sandbox,
    manifest: Manifest,
    *,
    repay: bool = False,
    warn: Callable[[str], None] = print,
) -> RepairResult:
    """A repair whose run asks `server`."""
    account = Account(Endpoints(server.url, server.url, server.url), KEY)
    return await repair(harness.output, manifest, repay=repay, warn=warn, account=account, now=harness.now)


def no_run() -> Fetch:
    raise AssertionError("nothing was to be fetched")


def seen(found: CheckResult) -> list[tuple[str, str]]:
    return [(finding.kind.value, finding.path) for finding in found.findings]


def everything(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder, but for what SQLite and the lock keep for themselves."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def aside(harness: Harness) -> list[str]:
    return sorted(path.name for path in (harness.output / ".batcher" / "aside").iterdir())


def spoil(harness: Harness) -> None:
    """One of each: a picture gone, one with other bytes, one cut short, and things nobody knows."""
    images = harness.output / "images"
    (images / "place 0.png").unlink()
    whole = (images / "place 1.png").read_bytes()
    (images / "place 1.png").write_bytes(whole + b"\0")
    (images / "place 2.png").write_bytes(whole[: len(whole) // 2])
    (images / "stranger.png").write_bytes(b"mine")
    (images / ".DS_Store").write_bytes(b"the system's")
    (harness.output / ".batcher" / "parts" / "999-0.part").write_bytes(b"half")
    (harness.output / ".batcher" / "parts" / "ray-1").mkdir()
    (harness.output / ".batcher" / "parts" / "ray-1" / "998-0.1.part").write_bytes(b"half")
    (harness.output / ".batcher" / "spool" / "999-0.bytes").write_bytes(b"bytes")


SPOILT = [
    ("missing", "images/place 0.png"),
    ("wrong", "images/place 1.png"),
    ("wrong", "images/place 2.png"),
    ("leftover", "images/stranger.png"),
    ("leftover", ".batcher/parts/999-0.part"),
    ("leftover", ".batcher/parts/ray-1/998-0.1.part"),
    ("leftover", ".batcher/spool/999-0.bytes"),
]


# --- looking


async def test_after_a_run_all_is_well(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(5))
    found = await check_output(harness.output)
    assert (found.checked, found.findings, found.is_running) == (5, (), False)


async def test_what_is_missing_wrong_or_left_over_is_told_and_nothing_is_written(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(5))
    spoil(harness)
    before = everything(harness.output)
    found = await check_output(harness.output)
    assert seen(found) == SPOILT
    assert [finding.why.split(" (")[0] for finding in found.findings[:2]] == [
        "is not there",
        "is another picture",
    ]
    assert everything(harness.output) == before


async def test_a_picture_that_is_read_no_more_but_has_its_bytes_is_left_alone(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(2))

    def no_codec(file: object) -> None:
        raise errors.BadDownload("no codec")

    monkeypatch.setattr("batcher.storage.pictures.verify", no_codec)
    before = everything(harness.output / "images")
    result = await repair_output(harness.output, fetcher=no_run, repay=True, warn=print, now=harness.now)
    assert [finding.kind for finding in result.remaining] == [FindingKind.UNREADABLE] * 2
    assert (result.exit_code, everything(harness.output / "images")) == (3, before)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:1] + lines[2:], "has no line about images/place 1.png"),
        (lambda lines: [*lines, lines[0]], "line 4: images/place 0.png has a line already"),
        (lambda lines: [*lines, '{"file_name": "images/x.png"}'], "line 4: images/x.png is not delivered"),
        (lambda lines: [*lines, '{"file_name": "images/pl'], "line 4: is no record of a picture"),
        (lambda lines: [*lines, '{"file_name": "\\ud800"}'], "line 4: is no record of a picture"),
        (lambda lines: [*lines, "[]"], "line 4: is no record of a picture"),
        (
            lambda lines: [lines[0].replace("a street", "a lane"), *lines[1:]],
            "line 1: images/place 0.png: the ledger says otherwise",
        ),
    ],
)
async def test_lines_that_disagree_with_the_ledger_are_told_and_written_anew(
    harness: Harness, sandbox: MakeSandbox, change: Callable[[list[str]], list[str]], told: str
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(3))
    path = harness.output / "metadata.jsonl"
    sound, report = path.read_text(), (harness.output / "report.json").read_text()
    path.write_text("".join(f"{line}\n" for line in change(sound.splitlines())))
    found = await check_output(harness.output)
    assert [finding.kind for finding in found.findings] == [FindingKind.RECORD]
    assert found.findings[0].why.startswith(told)
    result = await repair_output(harness.output, fetcher=no_run, repay=False, warn=print, now=harness.now)
    assert (result.exit_code, result.remaining, path.read_text()) == (0, (), sound)
    kept = json.loads((harness.output / "report.json").read_text())
    assert kept | {"updated_at": ""} == json.loads(report) | {"updated_at": ""}


async def test_lines_in_another_order_or_spelling_say_the_same(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(3))
    lines = [json.dumps(line, sort_keys=True, indent=None) for line in harness.lines("metadata.jsonl")]
    (harness.output / "metadata.jsonl").write_text("".join(f"{line}\n" for line in reversed(lines)))
    assert (await check_output(harness.output)).findings == ()


async def test_a_run_beside_is_never_judged_for_what_it_is_about_to_do(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.SlowBody(delay=3), faults.Short(rate=0.2)], seed=1)
    async with sandbox(service=8, faults=script) as server:
        manifest = harness.manifest(40)
        looks: list[CheckResult] = []

        async def looking() -> None:
            while True:
                await asyncio.sleep(0.5)
                if layout.ledger_path(harness.output).exists():
                    looks.append(await check_output(harness.output))

        watcher = asyncio.ensure_future(looking())
        await harness.run(server, manifest)
        watcher.cancel()
    assert len(looks) > 10
    assert [found.findings for found in looks if found.is_running and found.findings] == []
    assert {found.checked for found in looks} > {0, looks[-1].checked}


async def test_what_is_paid_for_and_not_fetched_is_missing_once_nobody_fetches_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Status(route="download", code=503, until=600)])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(2)
        report = await harness.run(server, manifest)
        assert report.counts["ready"] == 2
        found = await check_output(harness.output)
        assert seen(found) == [("missing", "images/place 0"), ("missing", "images/place 1")]
        await asyncio.sleep(600)
        result = await mended(harness, server, manifest)
        assert (result.exit_code, result.fetched, server.billed) == (0, 2, 2)
        assert (await check_output(harness.output)).findings == ()


async def test_a_folder_where_nothing_was_run_is_told_and_left_as_it_is(harness: Harness) -> None:
    harness.output.mkdir()
    for looking in (
        check_output(harness.output),
        repair_output(harness.output, fetcher=no_run, repay=False, warn=print, now=harness.now),
    ):
        with pytest.raises(errors.UsageError, match="nothing was run yet"):
            await looking
    assert list(harness.output.iterdir()) == []


# --- mending without money


async def test_a_repair_fetches_again_sets_aside_and_submits_nothing(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(5)
        first = await harness.run(server, manifest)
        sound = everything(harness.output / "images")
        spoil(harness)
        result = await mended(harness, server, manifest)
        assert (result.exit_code, result.remaining, result.fetched, result.repaid) == (0, (), 3, 0)
        assert server.billed == 5 == len(server.jobs)
        (harness.output / "images" / ".DS_Store").unlink()
        assert everything(harness.output / "images") == sound
        assert aside(harness) == [
            "998-0.1.part",
            "999-0.bytes",
            "999-0.part",
            "place 1.png",
            "place 2.png",
            "stranger.png",
        ]
        assert (await check_output(harness.output)).findings == ()
        last = await harness.run(server, manifest)
        harness.check(last)
        assert (last.cost, last.counts) == (first.cost, first.counts)


async def test_a_repair_needs_no_manifest_but_the_one_that_the_last_run_left(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(5))
        (harness.folder / "job.yaml").unlink()
        (harness.output / "images" / "place 0.png").unlink()
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        result = await repair(harness.output, warn=print, account=account, now=harness.now)
        assert (result.exit_code, result.fetched, server.billed) == (0, 1, 5)


async def test_what_lies_aside_is_never_overwritten(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(2)
        await harness.run(server, manifest)
        for text in (b"one", b"two", b"three"):
            (harness.output / "images" / "place 0.png").write_bytes(text)
            assert (await mended(harness, server, manifest)).exit_code == 0
    folder = harness.output / ".batcher" / "aside"
    assert {name: (folder / name).read_bytes() for name in aside(harness)} == {
        "place 0.png": b"one", "place 0-1.png": b"two", "place 0-2.png": b"three",
    }  # fmt: skip


async def test_a_dead_link_is_asked_for_again_while_the_record_lives(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(1)
        await harness.run(server, manifest)
        with sqlite3.connect(layout.ledger_path(harness.output)) as connection:
            connection.execute("UPDATE files SET url = url || '.gone'")
        connection.close()
        (harness.output / "images" / "place 0.png").unlink()
        result = await mended(harness, server, manifest)
        assert (result.exit_code, result.fetched, server.billed) == (0, 1, 1)


async def test_other_planned_tasks_and_expired_ones_are_not_submitted_by_a_repair(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Stuck(calls=[2])])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(6, result_ttl="1h", retry={"expired": "resubmit"})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await harness.run(server, manifest, limit=3)
        assert harness.states() == {"done": 2, "submitted": 1, "planned": 3}
        (harness.output / "images" / "place 0.png").unlink()
        result = await mended(harness, server, manifest)
        assert (result.exit_code, result.fetched, len(server.jobs)) == (0, 1, 3)
        assert harness.states() == {"done": 2, "planned": 4}
        assert harness.outcomes()["lost"] == 1


async def test_nor_where_so_many_accepted_pictures_are_wanted(harness: Harness, sandbox: MakeSandbox) -> None:
    """The place in its group that an expired task had is free, and a repair submits nothing all the same."""
    script = Faults([faults.Stuck(calls=[2])])
    async with sandbox(service=5, faults=script) as server:
        params = {"prompt": "a street in {{ place }}", "seed": "{{ seed }}"}
        manifest = harness.manifest(6, accept={"count": 3}, params=params, seed=1, result_ttl="1h")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await harness.run(server, manifest)
        assert harness.states() == {"done": 2, "submitted": 1, "planned": 3}
        (harness.output / "images" / "place 0.png").unlink()
        result = await mended(harness, server, manifest)
        assert (result.exit_code, result.fetched, len(server.jobs)) == (0, 1, 3)
        assert harness.states() == {"done": 2, "planned": 4}
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.counts["done"], len(server.jobs)) == (3, 4)


async def test_what_cannot_be_had_stays_told_until_it_is(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, file_ttl=60, ttl=30) as server:
        manifest = harness.manifest(3)
        await harness.run(server, manifest)
        await asyncio.sleep(100)
        (harness.output / "images" / "place 1.png").write_bytes(b"")
        result = await mended(harness, server, manifest)
        assert (result.exit_code, [finding.path for finding in result.remaining]) == (
            3,
            ["images/place 1.png"],
        )
        assert "--repay" in result.remaining[0].why
        assert harness.states() == {"done": 2, "ready": 1}
        assert (await mended(harness, server, manifest)).exit_code == 3
        assert seen(await check_output(harness.output)) == [("missing", "images/place 1.png")]
        assert len(harness.lines("errors.jsonl")) == 1
        assert len(harness.lines("metadata.jsonl")) == 2
        (harness.output / "images" / "place 1.png").write_bytes(
            (harness.output / "images" / "place 0.png").read_bytes()
        )
        assert (await mended(harness, server, manifest)).exit_code == 0
        assert server.billed == 3


async def test_what_keeps_the_fetching_from_starting_changes_nothing(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(3))
    spoil(harness)
    before = everything(harness.output / "images")

    def no_key() -> Fetch:
        raise errors.MissingKey("no API key")

    with pytest.raises(errors.MissingKey):
        await repair_output(harness.output, fetcher=no_key, repay=False, warn=print, now=harness.now)
    assert (everything(harness.output / "images"), harness.states()) == (before, {"done": 3})


async def test_a_crash_between_the_folder_and_the_ledger_is_found_by_the_next_repair(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(2)
        await harness.run(server, manifest)
        (harness.output / "images" / "place 0.png").write_bytes(b"other")
        with monkeypatch.context() as patch:
            patch.setattr("batcher.ledger.repairs.withdraw", lambda connection, files: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                await mended(harness, server, manifest)
        assert (harness.states(), aside(harness)) == ({"done": 2}, ["place 0.png"])
        assert seen(await check_output(harness.output)) == [("missing", "images/place 0.png")]
        assert (await mended(harness, server, manifest)).exit_code == 0
        assert server.billed == 2


async def test_a_refused_key_ends_a_repair_with_its_code_and_pays_nothing(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    later: Any = {"since": 60.0}
    script = Faults(
        [
            faults.Status(route="credits", code=401, **later),
            faults.Status(route="download", code=503, **later),
        ]
    )
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(2)
        await harness.run(server, manifest)
        await asyncio.sleep(100)
        (harness.output / "images" / "place 0.png").unlink()
        result = await mended(harness, server, manifest, repay=True)
        assert (result.exit_code, result.repaid, server.billed) == (5, 0, 2)
        assert result.causes[0].startswith("KEY:")


async def test_a_repair_does_not_start_beside_a_run(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(1))
    with lock.hold(layout.lock_path(harness.output), since="now"), pytest.raises(errors.Locked):
        await repair_output(harness.output, fetcher=no_run, repay=False, warn=print, now=harness.now)


# --- mending with money


async def test_repay_submits_what_cannot_be_had_and_nothing_else(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, file_ttl=60, ttl=30) as server:
        manifest = harness.manifest(6)
        first = await harness.run(server, manifest, limit=4)
        await asyncio.sleep(100)
        (harness.output / "images" / "place 1.png").write_bytes(b"other")
        told: list[str] = []
        result = await mended(harness, server, manifest, repay=True, warn=told.append)
        assert (result.exit_code, result.repaid, result.remaining) == (0, 1, ())
        assert told == [
            "1 task is to be submitted again for about 0.01 credits; what was paid before stays spent"
        ]
        assert (server.billed, harness.states()) == (5, {"done": 4, "planned": 2})
        last = await harness.run(server, manifest, limit=0)
        assert last.cost["spent"] == round(first.cost["spent"] + result.cost, 6) == round(server.spent, 6)
        assert result.cost > 0
        assert (await check_output(harness.output)).findings == ()


async def test_repay_submits_no_other_task_that_comes_before(harness: Harness, sandbox: MakeSandbox) -> None:
    script = Faults([faults.Failed(error="CUDA out of memory", calls=[1])])
    async with sandbox(service=5, file_ttl=60, ttl=30, faults=script, workers=1) as server:
        manifest = harness.manifest(3, limits={"in_flight": 1})
        await harness.run(server, manifest)
        assert harness.states() == {"done": 2, "failed": 1}
        await asyncio.sleep(100)
        assert await asyncio.to_thread(ended, ["retry", str(harness.output)]) == 0
        (harness.output / "images" / "place 1.png").unlink()
        told: list[str] = []
        result = await mended(harness, server, manifest, repay=True, warn=told.append)
        assert (result.exit_code, result.repaid, server.billed) == (0, 1, 3)
        assert harness.states() == {"done": 2, "planned": 1}
        report = await harness.run(server, manifest)
        assert (report.counts["done"], server.billed) == (3, 4)


async def test_repay_submits_what_was_lost_of_accepted_pictures_and_no_spare_candidate(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    """Of each source its first is taken: behind a spare one of another source."""
    async with sandbox(service=5, file_ttl=60, ttl=30) as server:
        manifest = harness.manifest(
            2,
            accept={"count": 2},
            repeat=2,
            seed=1,
            params={"prompt": "a street in {{ place }}", "seed": "{{ seed }}"},
            output={"name": "{{ place }} {{ repeat }}"},
        )
        await harness.run(server, manifest)
        taken = harness.pictures()
        assert harness.rows("SELECT id FROM tasks WHERE state = 'done'") == [(1,), (3,)]
        await asyncio.sleep(100)
        (harness.output / "images" / taken[1]).unlink()
        result = await mended(harness, server, manifest, repay=True)
        assert (result.exit_code, result.repaid, server.billed) == (0, 1, 3)
        assert (harness.pictures(), harness.states()) == (taken, {"done": 2, "planned": 2})


async def test_what_no_money_is_left_for_is_not_told_as_repaid(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, file_ttl=60, ttl=30) as server:
        manifest = harness.manifest(2)
        await harness.run(server, manifest)
        await asyncio.sleep(100)
        (harness.output / "images" / "place 1.png").unlink()
        manifest = harness.manifest(2, limits={"max_cost": 0.001})
        result = await mended(harness, server, manifest, repay=True)
        assert (result.exit_code, result.repaid, server.billed) == (4, 0, 2)


async def test_all_pictures_of_a_repaid_task_come_from_one_submission(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, file_ttl=60, ttl=30, pictures=True) as server:
        manifest = harness.manifest(
            1, model="sd1.5-inpainting",
            params={"image": "https://a.example/a.png", "mask": "https://a.example/m.png", "samples": 3},
        )  # fmt: skip
        await harness.run(server, manifest)
        names = harness.pictures()
        await asyncio.sleep(100)
        (harness.output / "images" / names[1]).unlink()
        result = await mended(harness, server, manifest, repay=True)
        assert (result.exit_code, result.repaid, result.set_aside) == (0, 1, 2)
        assert (harness.pictures(), aside(harness)) == (names, [names[0], names[2]])
        assert len(set(harness.rows("SELECT submission FROM files"))) == 1
        assert (await check_output(harness.output)).findings == ()


async def test_bytes_that_came_inside_the_answer_are_had_from_the_history(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(3, api="v1")
        await harness.run(server, manifest)
        (harness.output / "images" / "place 1.png").unlink()
        result = await mended(harness, server, manifest)
        assert (result.exit_code, result.fetched, server.billed) == (0, 1, 3)
        assert (await check_output(harness.output)).findings == ()


async def test_what_is_gone_behind_the_hour_is_had_from_the_history(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.DeadLink()])) as server:
        manifest = harness.manifest(2)
        await harness.run(server, manifest)
        url = harness.rows("SELECT url FROM files WHERE task = 1")
        with sqlite3.connect(harness.output / ".batcher" / "ledger.sqlite") as raw:
            raw.execute("UPDATE files SET url = url || '.gone'")
        (harness.output / "images" / "place 0.png").unlink()
        await asyncio.sleep(2 * 3600)
        result = await mended(harness, server, manifest)
        assert (result.exit_code, result.fetched, server.billed) == (0, 1, 2)
        assert harness.rows("SELECT url FROM files WHERE task = 1") == url


async def test_bytes_that_came_inside_the_answer_come_again_only_for_money_without_a_history(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.Status(route="history", code=404)])) as server:
        manifest = harness.manifest(3, api="v1")
        await harness.run(server, manifest)
        (harness.output / "images" / "place 1.png").unlink()
        result = await mended(harness, server, manifest)
        assert (result.exit_code, server.billed, harness.states()) == (3, 3, {"done": 2, "ready": 1})
        assert "inside the answer" in result.remaining[0].why
        again = await harness.run(server, manifest)
        assert (again.exit_code, again.causes) == (5, ())
        result = await mended(harness, server, manifest, repay=True)
        assert (result.exit_code, result.repaid, server.billed) == (0, 1, 4)
        assert (await check_output(harness.output)).findings == ()


async def test_bytes_that_are_still_in_the_spool_are_delivered_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(1, api="v1")
        await harness.run(server, manifest)
        ((spool,),) = harness.rows("SELECT spool FROM files")
        (harness.output / "images" / "place 0.png").rename(harness.output / ".batcher" / "spool" / spool)
        result = await mended(harness, server, manifest)
        assert (result.exit_code, result.fetched, server.billed) == (0, 1, 1)
        assert harness.pictures() == ["place 0.png"]


async def test_bytes_that_a_kill_cut_short_are_told_and_the_next_run_throws_them_away(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Cut(route="sync")])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(1, api="v1", retry={"doubtful": "hold"})
        await harness.run(server, manifest)
        ((held,),) = harness.rows("SELECT submission FROM tasks WHERE state = 'doubtful'")
        torn = harness.output / ".batcher" / "spool" / f"{held}-0.new"
        torn.write_bytes(b"half")
        (finding,) = (await check_output(harness.output)).findings
        assert (finding.path, finding.why) == (
            f".batcher/spool/{torn.name}",
            "was being written when its process ended",
        )
        await harness.run(server, manifest)
        assert not torn.exists()
        assert (await check_output(harness.output)).findings == ()


async def test_pictures_of_a_task_that_left_the_manifest_are_fetched_but_not_repaid(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, file_ttl=200, ttl=30) as server:
        await harness.run(server, harness.manifest(3))
        manifest = harness.manifest(1)
        await harness.run(server, manifest)
        (harness.output / "images" / "place 2.png").unlink()
        assert (await mended(harness, server, manifest)).fetched == 1
        await asyncio.sleep(300)
        (harness.output / "images" / "place 2.png").unlink()
        result = await mended(harness, server, manifest, repay=True)
        assert (result.exit_code, result.repaid, server.billed) == (3, 0, 3)


# --- the command


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox in a thread and a time of its own: a command brings its own loop to the main thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Sandbox(Options(service=0, pictures=False))) as server,
    ):
        monkeypatch.setenv("SEGMIND_API_KEY", KEY)
        monkeypatch.setenv("SEGMIND_BASE_URL", server.url)
        yield server


@pytest.fixture
def delivered(tmp_path: Path, api: Sandbox, capsys: pytest.CaptureFixture[str]) -> tuple[str, Path]:
    """A manifest whose three tasks are done, and their folder."""
    Harness(tmp_path, lambda: 0.0).manifest(3, poll={"every": "20ms"})
    job = str(tmp_path / "job.yaml")
    assert ended(["run", job, "--json"]) == 0
    capsys.readouterr()
    return job, tmp_path / "out"


def test_the_command_says_that_all_is_well(
    delivered: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    job, folder = delivered
    assert ended(["verify", job]) == 0
    assert capsys.readouterr().out == f"3 delivered files checked in {folder}\nall is well\n"


def test_the_command_tells_mends_and_gives_its_exit_code(
    delivered: tuple[str, Path], api: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    job, folder = delivered
    (folder / "images" / "place 1.png").write_bytes(b"<html>")
    assert ended(["verify", str(folder)]) == 3
    assert "  wrong  images/place 1.png: the file is a page, not a picture\n" in capsys.readouterr().out
    assert ended(["verify", job, "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["checked"], told["found"]["wrong"], told["running"]) == (3, 1, False)
    assert ended(["verify", job, "--repair", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["wrong"], told["mended"]) == ([], {"fetched": 1, "aside": 1, "repaid": 0, "cost": 0.0})
    assert ended(["verify", job]) == 0
    assert api.billed == 3


def test_an_output_folder_is_repaired_by_the_manifest_that_its_run_left_there(
    delivered: tuple[str, Path], api: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    job, folder = delivered
    Path(job).unlink()
    (folder / "images" / "place 1.png").unlink()
    assert ended(["verify", str(folder), "--repair"]) == 0
    assert capsys.readouterr().out.endswith("1 file in place again\nall is well again\n")
    assert (api.billed, ended(["verify", str(folder)])) == (3, 0)


def test_a_run_that_cannot_bring_what_is_lost_ends_with_the_command_that_can(
    tmp_path: Path, api: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMIND_HISTORY_URL", f"{api.url}/where/there/is/none")
    Harness(tmp_path, lambda: 0.0).manifest(1, api="v1", retry={"attempts": 1})
    job, images = str(tmp_path / "job.yaml"), tmp_path / "out" / "images"
    assert ended(["run", job, "-q", "--base-url", api.url]) == 0
    with sqlite3.connect(tmp_path / "out" / ".batcher" / "ledger.sqlite") as connection:
        # An hour later the row of its request is not late any more: nobody waits for it.
        connection.execute("UPDATE submissions SET submitted_at = submitted_at - 3600")
    (picture,) = images.iterdir()
    picture.unlink()
    assert ended(["verify", job, "--repair"]) == 3
    capsys.readouterr()
    assert ended(["run", job, "-q", "--base-url", api.url]) == 5
    told = capsys.readouterr().err
    assert "the file of 1 paid result is gone" in told
    assert "the same command" not in told
    command = told.splitlines()[-1].strip()
    assert command == f"batcher verify {tmp_path / 'out'} --base-url {api.url} --repair --repay"
    assert ended(command.split()[1:]) == 0
    assert (api.billed, len(list(images.iterdir()))) == (2, 1)


def test_a_folder_whose_manifest_gives_other_tasks_now_is_not_planned_anew(
    delivered: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = delivered
    (folder / "images" / "place 1.png").unlink()
    manifest = folder / ".batcher" / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("a street in", "a lane in"))
    assert ended(["verify", str(folder), "--repair"]) == 0
    assert capsys.readouterr().out.endswith("all is well again\n")
    with sqlite3.connect(folder / ".batcher" / "ledger.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (3,)


def test_without_a_key_nothing_is_changed(
    delivered: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job, folder = delivered
    monkeypatch.delenv("SEGMIND_API_KEY")
    (folder / "images" / "place 0.png").write_bytes(b"")
    before = everything(folder)
    assert ended(["verify", job, "--repair"]) == 5
    assert "no API key" in capsys.readouterr().err
    assert everything(folder) | {".batcher/lock": b""} == before | {".batcher/lock": b""}


def test_leftovers_are_set_aside_without_a_key(
    delivered: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, folder = delivered
    monkeypatch.delenv("SEGMIND_API_KEY")
    (folder / "images" / "stranger.txt").write_bytes(b"mine")
    assert ended(["verify", job, "--repair"]) == 0
    assert (folder / ".batcher" / "aside" / "stranger.txt").read_bytes() == b"mine"


def test_what_the_embedded_sandbox_made_is_planned_again_for_its_server_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Harness(tmp_path, lambda: 0.0).manifest(1)
    job, images = str(tmp_path / "job.yaml"), tmp_path / "out-sandbox" / "images"
    assert ended(["run", job, "--sandbox", "-q"]) == 0
    (picture,) = images.iterdir()
    picture.unlink()
    assert ended(["verify", job, "--sandbox", "--repair"]) == 3
    assert f"  missing  images/{picture.name}: its task is planned" in capsys.readouterr().out


def test_repay_without_repair_and_jobs_that_are_none_are_refused(tmp_path: Path) -> None:
    assert ended(["verify", str(tmp_path), "--repay"]) == 2
    assert ended(["verify", str(tmp_path / "none.yaml")]) == 2
    assert ended(["verify", str(tmp_path)]) == 2
