"""A plan that enters a new folder while another folder has paid for it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from batcher import errors
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import outlook
from batcher.job.manifest import Manifest
from batcher.ledger.database import SANDBOX_ORIGIN
from batcher.progress import Event, Message
from batcher.sandbox import Sandbox
from batcher.shard import Shard
from batcher.storage import layout
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox

TASKS = 12


def job(harness: Harness, name: str, tasks: int = TASKS, **changes: Any) -> Manifest:
    """A job of the same tasks whatever its name, which has a folder of that name."""
    harness.output = harness.folder / "out" / name
    return harness.manifest(tasks, name=name, **changes)


async def test_a_renamed_manifest_pays_for_nothing_and_is_told_the_ways_on(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "streets"))
        renamed = job(harness, "streets-v1")
        with pytest.raises(errors.PaidElsewhere) as refused:
            await harness.run(server, renamed)
        assert server.billed == TASKS
        assert not harness.output.exists()
        said = str(refused.value)
        assert "12 of 12 tasks are paid for (12 done) in" in said
        for way in (f"-o {harness.folder / 'out/streets'} ", "reuse: [out/streets] ", "--pay-again "):
            assert way in said
        report = await harness.run(server, renamed, pay_again=True)
        assert (report.images, server.billed) == (TASKS, 2 * TASKS)
        # Whoever paid here goes on here, whatever lies beside.
        report = await harness.run(server, job(harness, "streets-v1", TASKS + 2))
        assert (report.images, server.billed) == (TASKS + 2, 2 * TASKS + 2)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(("tasks", "refused"), [(2 * TASKS, True), (2 * TASKS + 1, False)])
async def test_half_of_the_plan_is_enough_and_less_is_not(
    harness: Harness, sandbox: MakeSandbox, tasks: int, refused: bool
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "streets"))
        if refused:
            with pytest.raises(errors.PaidElsewhere):
                await harness.run(server, job(harness, "more", tasks))
        else:
            assert (await harness.run(server, job(harness, "more", tasks))).images == tasks
        assert server.billed == (TASKS if refused else TASKS + tasks)


async def test_what_is_planned_or_failed_elsewhere_is_not_paid_for_and_what_is_under_way_is(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "streets"), limit=5)
        assert (await harness.run(server, job(harness, "other"), limit=0)).exit_code == 0
        path = layout.ledger_path(harness.folder / "out" / "streets")
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE tasks SET state = 'ready' WHERE state = 'done'")
        connection.close()
        with pytest.raises(errors.PaidElsewhere, match=r"5 of 10 tasks are paid for \(5 under way\)"):
            await harness.run(server, job(harness, "third", 10))


async def test_the_accounts_other_jobs_are_asked_wherever_they_lie(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        harness.output = harness.folder / "far" / "away" / "streets"
        await harness.run(server, harness.manifest(TASKS, name="streets"))
        moved = job(harness, "streets")
        with pytest.raises(errors.PaidElsewhere, match=r"12 of 12 tasks .* in .*far/away/streets"):
            await harness.run(server, moved)
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        found = outlook(moved, harness.output, origin=server.url, account=account)
        assert [one for one in found.warnings if "`run` refuses this: 12 of 12 tasks" in one]
        another = Account(Endpoints(server.url, server.url, server.url), "SG_ffffffffffffffff")
        assert not outlook(moved, harness.output, origin=server.url, account=another).warnings
        shutil.rmtree(harness.folder / "far")
        assert (await harness.run(server, moved)).images == TASKS


@pytest.fixture
def mounted(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Where disks are mounted: the folder of the outputs is one."""
    mounts = {"/", str(harness.folder / "out")}
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounts)
    return mounts


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
async def test_a_folder_whose_disk_is_not_mounted_is_asked_about_before_all_of_it_is_paid_for_again(
    harness: Harness, sandbox: MakeSandbox, mounted: set[str], left: str
) -> None:
    async with sandbox(service=2) as server:
        streets = job(harness, "streets")
        await harness.run(server, streets)
        disk = harness.folder / "out"
        mounted.remove(str(disk))
        unmounted = harness.folder.parent / f"{harness.folder.name}-unmounted"
        shutil.move(harness.output, unmounted)
        if left != "nothing":
            harness.output.mkdir()
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        found = outlook(streets, harness.output, origin=server.url, account=account)
        assert [one for one in found.warnings if "`run` refuses this: 12 tasks were done in" in one]
        for _ in range(2):
            with pytest.raises(errors.PaidElsewhere, match=r"12 tasks were done in .*out/streets") as refused:
                await harness.run(server, streets)
        assert f"the disk at {disk} is not mounted" in str(refused.value)
        for said in ("(job streets, last seen there ", f"mount {disk}", "-o THERE", "--pay-again"):
            assert said in str(refused.value)
        assert server.billed == TASKS
        # What is taken over from where it lies now is not paid for again, and nobody is asked.
        elsewhere = job(harness, "streets", reuse=[str(unmounted)])
        assert (await harness.run(server, elsewhere)).images == server.billed == TASKS
        # Mounted again, the same command goes on.
        shutil.rmtree(harness.output)
        unmounted.rename(harness.output)
        mounted.add(str(disk))
        assert (await harness.run(server, streets)).images == server.billed == TASKS


async def test_what_is_more_than_twice_as_much_is_another_job(
    harness: Harness, sandbox: MakeSandbox, mounted: set[str]
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "streets"))
        shutil.rmtree(harness.output)
        mounted.remove(str(harness.folder / "out"))
        report = await harness.run(server, job(harness, "streets", 2 * TASKS + 1))
        assert report.images == 2 * TASKS + 1


async def test_a_folder_that_somebody_took_away_is_told_of_and_not_asked_about(
    harness: Harness, sandbox: MakeSandbox, mounted: set[str]
) -> None:
    async with sandbox(service=2) as server:
        streets = job(harness, "streets")
        await harness.run(server, streets)
        shutil.rmtree(harness.output)
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        found = outlook(streets, harness.output, origin=server.url, account=account)
        assert [one for one in found.warnings if "a run here pays for all 12 tasks anew" in one]
        events: list[Event] = []
        assert (await harness.run(server, streets, events.append)).images == TASKS
        texts = [event.text for event in events if isinstance(event, Message)]
        (told,) = (text for text in texts if "12 tasks were done in" in text)
        assert "their ledger is gone: a run here pays for all 12 tasks anew" in told
        assert server.billed == 2 * TASKS


async def test_whoever_pays_again_beside_a_disk_that_is_not_mounted_is_asked_once(
    harness: Harness, sandbox: MakeSandbox, mounted: set[str]
) -> None:
    async with sandbox(service=2) as server:
        streets = job(harness, "streets")
        await harness.run(server, streets)
        shutil.rmtree(harness.output)
        mounted.remove(str(harness.folder / "out"))
        assert (await harness.run(server, streets, pay_again=True)).images == TASKS
        assert (await harness.run(server, streets)).images == TASKS
        shutil.rmtree(harness.output)
        assert (await harness.run(server, streets)).images == TASKS


async def test_a_plan_that_is_only_looked_at_says_what_a_run_would(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "streets"))
        renamed = job(harness, "streets-v1")
        found = outlook(renamed, harness.output, origin=server.url)
        assert [one for one in found.warnings if "`run` refuses this: 12 of 12 tasks" in one]
        for other in (None, "https://api.segmind.com", SANDBOX_ORIGIN):
            assert not outlook(renamed, harness.output, origin=other).warnings
        assert not outlook(job(harness, "streets"), harness.output, origin=server.url).warnings


async def test_ledgers_that_cannot_be_read_or_are_of_another_api_are_passed_over(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        for name in ("streets", "other-api", "foreign", "locked"):
            await harness.run(server, job(harness, name), pay_again=True)
        paths = {
            one: layout.ledger_path(harness.folder / "out" / one)
            for one in os.listdir(harness.folder / "out")
        }
        paths["streets"].write_bytes(b"no database" * 1000)
        with sqlite3.connect(paths["other-api"]) as connection:
            connection.execute("UPDATE meta SET value = 'https://elsewhere' WHERE key = 'origin'")
        connection.close()
        with sqlite3.connect(paths["foreign"]) as connection:
            connection.execute("PRAGMA application_id = 7")
        connection.close()
        held = sqlite3.connect(paths["locked"], isolation_level=None)
        held.execute("PRAGMA locking_mode = EXCLUSIVE")
        held.execute("BEGIN EXCLUSIVE")
        held.execute("DELETE FROM calls")
        (harness.folder / "out" / "empty" / ".batcher").mkdir(parents=True)
        report = await harness.run(server, job(harness, "new"))
        held.close()
        assert (report.exit_code, server.billed) == (0, 5 * TASKS)


async def shares(harness: Harness, server: Sandbox, name: str, of: int) -> None:
    for index in range(1, of + 1):
        await harness.run(server, job(harness, name), shard=Shard(index, of))


async def test_shares_and_wholes_are_compared_with_each_other(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        await shares(harness, server, "streets", 3)
        for name in ("streets", "other"):
            with pytest.raises(errors.PaidElsewhere, match=r"merge \S+/out/streets/shard-\*-of-3 -o DIR"):
                await harness.run(server, job(harness, name))
        with pytest.raises(errors.PaidElsewhere, match=r"-o \S+/out/streets/shard-2-of-3 "):
            await harness.run(server, job(harness, "other"), shard=Shard(2, 3))
        with pytest.raises(errors.PaidElsewhere, match="batcher merge"):
            await harness.run(server, job(harness, "streets"), shard=Shard(1, 2))
        assert server.billed == TASKS
        await harness.run(server, job(harness, "whole"), pay_again=True)
        with pytest.raises(errors.PaidElsewhere, match=r"-o \S+/out/whole +without --shard"):
            await harness.run(server, job(harness, "fourth"), shard=Shard(1, 4))


async def test_another_folder_with_o_is_compared_with_the_manifests_own(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "streets"))
        aside = harness.folder / "aside" / "mine"
        found = outlook(job(harness, "streets"), aside, origin=server.url)
        assert "12 of 12" in found.warnings[0]


async def test_a_long_plan_asks_a_sample_and_counts_all_only_where_that_is_promising(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batcher.ledger import other_ledgers

    monkeypatch.setattr(other_ledgers, "SAMPLE", 20)
    asked: list[int] = []
    paid = other_ledgers._paid

    def counted(keys: Any, *ledgers: Any) -> tuple[int, int]:
        listed = list(keys)
        asked.append(len(listed))
        return paid(listed, *ledgers)

    monkeypatch.setattr(other_ledgers, "_paid", counted)
    async with sandbox(service=2) as server:
        await harness.run(server, job(harness, "streets", 40))
        origin = server.url
    assert not outlook(job(harness, "far", 400), harness.output, origin=origin).warnings
    assert asked == [20]
    asked.clear()
    assert outlook(job(harness, "near", 60), harness.output, origin=origin).warnings
    assert asked == [20, 60]


def test_an_output_folders_neighbours(tmp_path: Path) -> None:
    for name in ("a", "b/shard-1-of-2", "b/shard-2-of-2", "b/shard-1-of-3", "c/inner"):
        ledger = layout.ledger_path(tmp_path / name)
        ledger.parent.mkdir(parents=True)
        ledger.touch()
    expected = [("a", ["a"]), ("b", ["shard-1-of-2", "shard-2-of-2"]), ("b", ["shard-1-of-3"])]
    for output in ("new", "a", "b/shard-1-of-2", "b"):
        found = layout.neighbour_outputs(tmp_path / output)
        assert [(one.folder.name, [each.name for each in one.outputs]) for one in found] == expected


async def test_an_output_folder_behind_a_link_that_leads_nowhere_is_told_and_nothing_is_made(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    """It leads onto a disk that is not mounted tonight."""
    link = harness.folder / "out"
    link.symlink_to(harness.folder / "disk" / "out")
    async with sandbox(service=2) as server:
        with pytest.raises(errors.DiskError, match=r"out is a link to .*disk/out, which is not there"):
            await harness.run(server, job(harness, "streets"))
        assert not server.billed
        (harness.folder / "disk" / "out").mkdir(parents=True)
        assert (await harness.run(server, job(harness, "streets"))).images == TASKS
