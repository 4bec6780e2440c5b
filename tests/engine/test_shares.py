"""Shares of a plan, each on its own, and what they are together: the single run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from batcher import errors
from batcher.engine import outlook, runner
from batcher.job.output import resolve_output
from batcher.results import verify
from batcher.results.export import ExportOptions as Exporting
from batcher.results.export import export
from batcher.results.merge import MergeResult, merge
from batcher.results.report import Report, of_folder
from batcher.sandbox import Faults, Sandbox, faults
from batcher.shard import Shard
from batcher.storage import layout, lock
from tests.support.buckets import Bucket
from tests.support.crashing import dying
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

TASKS = 24
SHARES = 3


def shards(of: int = SHARES) -> Iterator[Shard]:
    return (Shard(index, of) for index in range(1, of + 1))


def bench_of(harness: Harness, shard: Shard) -> Harness:
    """The share's folder as a harness of its own."""
    other = Harness(harness.folder, harness.now)
    other.output = harness.output / shard.folder
    return other


async def run_shares(harness: Harness, server: Sandbox, tasks: int = TASKS, **changes: Any) -> list[Report]:
    manifest = harness.manifest(tasks, **changes)
    return [await harness.run(server, manifest, shard=shard) for shard in shards()]


def merged(harness: Harness, into: str = "whole") -> tuple[Harness, MergeResult]:
    """All shares together, as a harness."""
    whole = Harness(harness.folder, harness.now)
    whole.output = harness.folder / into
    found = merge([harness.output / shard.folder for shard in shards()], whole.output, now=harness.now)
    return whole, found


def as_made(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Metadata without what every run has of its own."""
    own = {"request_id", "submitted_at", "queue_time", "inference_time", "total_time"}
    return [{key: value for key, value in line.items() if key not in own} for line in lines]


# --- shares


async def test_shares_are_disjoint_complete_and_each_has_its_part_of_rate_and_budget(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Any] = []
    wire = runner.wire

    def looked(prepared: Any, *more: Any) -> Any:
        limits.append(prepared.context.job.limits)
        return wire(prepared, *more)

    monkeypatch.setattr(runner, "wire", looked)
    async with sandbox(service=2, credits=10) as server:
        reports = await run_shares(harness, server, limits={"rpm": 900, "max_cost": 1.0})
        assert server.billed == TASKS
    assert all(report.exit_code == 0 and report.total == len(keys_of(report)) for report in reports)
    assert sum(report.total for report in reports) == TASKS
    assert len(set().union(*map(keys_of, reports))) == TASKS
    assert [(found.rpm, found.max_cost) for found in limits] == [(300.0, 0.333333)] * SHARES
    assert [report.output for report in reports] == [harness.output / shard.folder for shard in shards()]


def keys_of(report: Report) -> set[str]:
    lines = (report.output / "metadata.jsonl").read_text().splitlines()
    return {json.loads(line)["key"] for line in lines}


async def test_an_unpaced_job_has_unpaced_shares_and_one_share_may_be_empty(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        reports = await run_shares(harness, server, tasks=1, limits={"rpm": "none"})
    assert sorted(report.total for report in reports) == [0, 0, 1]
    assert [(report.exit_code, report.state) for report in reports] == [(0, "finished")] * SHARES
    _, found = merged(harness)
    assert (found.report.total, found.report.images, found.exit_code) == (1, 1, 0)


async def test_new_rows_move_no_task_to_another_share_and_the_same_plan_is_not_made_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        before = await run_shares(harness, server)
        again = await run_shares(harness, server)
        assert server.billed == TASKS
        more = await run_shares(harness, server, TASKS + 6)
        assert server.billed == TASKS + 6
    assert [report.images for report in before] == [report.images for report in again]
    for one, other in zip(before, more, strict=True):
        assert keys_of(one) <= keys_of(other)
    whole, _ = merged(harness)
    assert [line["place"] for line in whole.lines("metadata.jsonl")] == [
        f"place {n}" for n in range(TASKS + 6)
    ]


async def test_a_share_looked_at_before_it_runs_says_what_is_its_own(harness: Harness) -> None:
    manifest = harness.manifest(TASKS, limits={"rpm": 60})
    found = [outlook(manifest, harness.output / shard.folder, shard=shard) for shard in shards()]
    assert sum(one.total for one in found) == TASKS
    assert all(one.seconds > 60 * one.total * SHARES / 60 for one in found)
    assert not harness.output.exists()


async def test_one_name_in_two_shares_is_an_error_in_each_of_them_before_anything_is_sent(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    manifest = harness.manifest(TASKS, output={"name": "always"})
    async with sandbox() as server:
        for shard in shards(12):
            with pytest.raises(errors.ManifestError, match="several tasks of the whole plan would be named"):
                await harness.run(server, manifest, shard=shard)
        assert not server.jobs
    assert not harness.output.exists()


async def test_a_folder_keeps_to_its_share(harness: Harness, sandbox: MakeSandbox) -> None:
    one, other = Shard(1, 3), Shard(2, 3)
    async with sandbox(service=2) as server:
        await harness.run(server, harness.manifest(TASKS), shard=one)
        billed = server.billed
        bench_of(harness, one)
        inside = harness.manifest(TASKS, output={"dir": str(harness.output / one.folder)})
        with pytest.raises(errors.UsageError, match="holds share 1/3, this run asks for the whole"):
            await harness.run(server, inside)
        os.rename(harness.output / one.folder, harness.output / other.folder)
        with pytest.raises(errors.UsageError, match="holds share 1/3, this run asks for share 2/3"):
            await harness.run(server, harness.manifest(TASKS), shard=other)
        assert server.billed == billed


# --- together


async def test_three_shares_one_killed_and_rerun_are_the_single_run(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    prepared = {
        "params": {"image": "https://photos.example/one.png", "prompt": "{{ place }}", "seed": 7},
        # Which of two that are alike is the earlier one is each run's own.
        "checks": {"duplicate": "off"},
    }
    async with sandbox(service=2, pictures=True) as server:
        manifest = harness.manifest(TASKS, **prepared)
        first, second, third = shards()
        await harness.run(server, manifest, shard=first)
        with dying(60) as points:
            await harness.run(server, manifest, shard=second)
        assert points.dead
        await harness.run(server, manifest, shard=third)
        with pytest.raises(errors.Incomplete, match="share 2/3 is not finished"):
            merged(harness)
        doubted = bench_of(harness, second).states()["submitting"]
        await harness.run(server, manifest, shard=second)
        assert TASKS <= server.billed <= TASKS + doubted
    whole, found = merged(harness)
    reports = [of_folder(harness.output / shard.folder, now=0) for shard in shards()]

    single = Harness(harness.folder, harness.now)
    single.output = harness.folder / "single"
    async with sandbox(service=2, pictures=True) as server:
        alone = await single.run(
            server, single.manifest(TASKS, output={"dir": str(single.output)}, **prepared)
        )

    whole.check(found.report)
    assert whole.pictures() == single.pictures()
    assert as_made(whole.lines("metadata.jsonl")) == as_made(single.lines("metadata.jsonl"))
    assert (found.report.total, found.report.counts) == (alone.total, alone.counts)
    assert found.report.images == alone.images == TASKS
    assert found.report.cost["spent"] == alone.cost["spent"] == pytest.approx(TASKS * 0.01)
    for kind, number in found.report.calls.items():
        assert number == sum(report.calls[kind] for report in reports)
    for kind, value in found.report.cost.items():
        assert value == pytest.approx(sum(report.cost[kind] for report in reports))
    assert found.renamed == ()


async def test_the_merged_folder_is_one_as_any_other(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
        whole, found = merged(harness)
        assert found.report.state == "finished"
        assert (await verify.check_output(whole.output)).findings == ()
        exported = export(whole.output, Exporting(to="imagefolder", into=harness.folder / "dataset"))
        assert exported.pictures == TASKS
        again = await whole.run(server, whole.manifest(TASKS, output={"dir": str(whole.output)}))
        whole.check(again)
        assert (again.counts["done"], server.billed) == (TASKS, TASKS)
        more = await whole.run(server, whole.manifest(TASKS + 2, output={"dir": str(whole.output)}))
        whole.check(more)
        assert (more.counts["done"], server.billed) == (TASKS + 2, TASKS + 2)


async def test_a_merge_done_again_leaves_all_as_it_is(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
    whole, first = merged(harness)
    pictures = whole.output / "images"
    inodes = {path.name: path.stat().st_ino for path in pictures.iterdir()}
    ledger = layout.ledger_path(whole.output).read_bytes()
    _, second = merged(harness)
    assert second == first
    assert {path.name: path.stat().st_ino for path in pictures.iterdir()} == inodes
    assert layout.ledger_path(whole.output).read_bytes() == ledger


@pytest.mark.parametrize("after", [0, 1, 5, TASKS - 1, TASKS])
async def test_a_merge_that_was_cut_off_is_done_again(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
    link, links = os.link, 0

    def killed(*paths: Any) -> None:
        nonlocal links
        if links == after:
            raise KeyboardInterrupt
        links += 1
        link(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", killed)
        if after == TASKS:
            patch.setattr("batcher.results.merge.sync_folder", lambda path: killed(path, path))
        with pytest.raises(KeyboardInterrupt):
            merged(harness)
    assert not layout.ledger_path(harness.folder / "whole").exists()
    whole, found = merged(harness)
    whole.check(found.report)
    assert found.report.images == TASKS
    assert sorted(os.listdir(whole.output / ".batcher")) == [
        "ledger.sqlite", "lock", "manifest.yaml", "parts", "spool", "thumbs",
    ]  # fmt: skip


async def test_where_no_link_can_be_made_pictures_are_copied(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)

    def refused(*paths: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    whole, found = merged(harness)
    whole.check(found.report)
    assert all(path.stat().st_nlink == 1 for path in (whole.output / "images").iterdir())
    _, again = merged(harness)
    assert again == found


async def test_failed_tasks_come_along_and_are_told(harness: Harness, sandbox: MakeSandbox) -> None:
    script = Faults([faults.Failed(error="node died", calls=[1, 4])])
    async with sandbox(service=2, faults=script) as server:
        reports = await run_shares(harness, server)
        whole, found = merged(harness)
        assert found.exit_code == 3
        assert found.report.failures == {"FAILED: node died": 2}
        assert sum(report.counts["failed"] for report in reports) == 2
        whole.check(found.report)
        manifest = whole.manifest(TASKS, output={"dir": str(whole.output)})
        again = await whole.run(server, manifest, retry_failed=True)
        assert (again.exit_code, again.counts["done"], server.billed) == (0, TASKS, TASKS)


async def test_two_pictures_of_one_name_both_stand(harness: Harness, sandbox: MakeSandbox) -> None:
    """A share does not know what another delivered under a name that a later plan gives away."""
    async with sandbox(service=2) as server:
        await run_shares(harness, server, 6, params={"prompt": "winter in {{ place }}"})
        await run_shares(harness, server, 6, params={"prompt": "summer in {{ place }}"})
        assert server.billed == 12
    whole, found = merged(harness)
    assert len(whole.pictures()) == 12
    assert len(found.renamed) == len({new for _, new in found.renamed}) > 0
    lines = whole.lines("metadata.jsonl")
    assert sorted(line["file_name"] for line in lines) == [f"images/{name}" for name in whole.pictures()]
    for _, new in found.renamed:
        (line,) = (line for line in lines if line["file_name"] == f"images/{new}")
        assert line["key"][:8] in new
    assert found.report.total == 6


async def test_pictures_of_shares_in_a_store_come_to_the_merged_folder(
    harness: Harness, sandbox: MakeSandbox, bucket: Bucket
) -> None:
    harness.output = harness.folder / "out" / "job"
    async with sandbox(service=2) as server:
        await run_shares(harness, server, 6, output={"dir": f"{bucket}/streets"})
    found = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    images = {one["Key"].rpartition("/")[0] for one in found if "/images/" in one["Key"]}
    assert images == {f"streets/{shard.folder}/images" for shard in shards()}
    whole, together = merged(harness)
    whole.check(together.report)
    assert together.report.images == 6


# --- what is refused


async def test_what_are_not_all_shares_of_one_plan_is_refused_in_a_sentence(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    first, second, third = (harness.output / shard.folder for shard in shards())
    into = harness.folder / "whole"
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
        await harness.run(server, harness.manifest(TASKS), shard=Shard(1, 2), pay_again=True)
        other = Harness(harness.folder, harness.now)
        other.output = harness.folder / "other"
        await other.run(server, other.manifest(2, output={"dir": str(other.output)}), pay_again=True)
    cases = [
        ([first, third], errors.Incomplete, "share 2/3 is missing"),
        ([first, first], errors.Incomplete, "share 3/3 is missing"),
        ([first, second, harness.output / "shard-1-of-2"], errors.UsageError, "is share 1/2"),
        ([first, second, third, other.output], errors.UsageError, "is no share of a plan"),
        ([first, second, harness.folder / "nothing"], errors.UsageError, "nothing was run yet"),
    ]
    for outputs, kind, why in cases:
        with pytest.raises(kind, match=why):
            merge(outputs, into, now=harness.now)
    with pytest.raises(errors.UsageError, match="is one of the shares"):
        merge([first, second, third], first, now=harness.now)
    with pytest.raises(errors.UsageError, match="holds a job of its own"):
        merge([first, second, third], other.output, now=harness.now)
    shutil.copytree(second, harness.folder / "copy")
    with pytest.raises(errors.UsageError, match="are both share 2/3"):
        merge([first, second, third, harness.folder / "copy"], into, now=harness.now)
    assert not into.exists()


async def test_shares_of_two_plans_are_refused_until_all_have_the_present_one(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
        await harness.run(server, harness.manifest(TASKS + 1), shard=Shard(1, 3))
        with pytest.raises(errors.UsageError, match="shares of two plans"):
            merged(harness)
        await run_shares(harness, server, TASKS + 1)
    whole, found = merged(harness)
    whole.check(found.report)
    assert found.report.total == TASKS + 1


async def test_a_run_in_a_share_or_in_the_whole_keeps_the_merge_out(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
    with (
        lock.hold(layout.lock_path(harness.output / "shard-2-of-3"), since="now"),
        pytest.raises(errors.Locked),
    ):
        merged(harness)
    (harness.folder / "whole" / ".batcher").mkdir(parents=True)
    with lock.hold(layout.lock_path(harness.folder / "whole"), since="now"), pytest.raises(errors.Locked):
        merged(harness)
    merged(harness)


async def test_a_picture_that_is_missing_or_another_one_keeps_the_merge_from_being(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
    one, other, *_ = sorted((harness.output / "shard-1-of-3" / "images").iterdir())
    kept = one.read_bytes()
    one.unlink()
    other.write_bytes(b"something else")
    with pytest.raises(errors.Incomplete) as refused:
        merged(harness)
    assert str(one) in str(refused.value)
    assert "is another picture than was delivered" in str(refused.value)
    assert not layout.ledger_path(harness.folder / "whole").exists()
    one.write_bytes(kept)
    other.write_bytes(kept)
    _, found = merged(harness)
    assert found.report.images == TASKS


async def test_shares_that_went_on_are_not_laid_over_an_earlier_merge(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
        merged(harness)
        await run_shares(harness, server, TASKS + 3)
    with pytest.raises(errors.UsageError, match="an earlier state of these shares"):
        merged(harness)
    _, found = merged(harness, "another")
    assert found.report.images == TASKS + 3


async def test_a_foreign_file_of_that_name_is_left_alone(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        await run_shares(harness, server)
    name = sorted((harness.output / "shard-1-of-3" / "images").iterdir())[0].name
    foreign = harness.folder / "whole" / "images" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    _, found = merged(harness)
    assert [old for old, _ in found.renamed] == [f"shard-1-of-3/{name}"]
    assert foreign.read_bytes() == b"mine"


async def test_what_a_share_resolves_is_the_whole_manifest(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        (report, *_) = await run_shares(harness, server, limits={"rpm": 900})
    resolved = yaml.safe_load((report.output / ".batcher" / "manifest.yaml").read_text())
    assert resolved["limits"]["rpm"] == 900, (
        "the whole's: a repair divides it again, the merged folder does not"
    )


def test_whose_folder_a_path_is(tmp_path: Path) -> None:
    shard = Shard(2, 3)
    folder = tmp_path / "out"
    share = folder / shard.folder
    assert layout.output_folder(folder, shard=shard) == share
    assert layout.output_folder(folder, shard=shard, sandbox=True) == tmp_path / "out-sandbox" / shard.folder
    assert layout.output_folder(folder, shard=shard, output=tmp_path / "x") == tmp_path / "x"
    for one in (folder, share):
        assert layout.before_sandbox(layout.output_folder(one, sandbox=True)) == one
    (share / ".batcher").mkdir(parents=True)
    assert resolve_output(folder, shard=shard) == share
    assert resolve_output(share, shard=shard) == share
    assert resolve_output(share) == share
    with pytest.raises(errors.UsageError, match="its shares have: `--shard I/N` names one"):
        resolve_output(folder)
