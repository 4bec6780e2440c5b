"""Shares of a plan, each on its own, and what they are together: the single run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batcher import errors, lock, place, verify
from batcher.export import Wishes as Exporting
from batcher.export import export
from batcher.ledger import groups
from batcher.merge import Merged, merge
from batcher.report import Report
from batcher.run import outlook, running
from batcher.sandbox import Faults, Sandbox, faults
from batcher.shard import Shard
from buckets import Bucket
from conftest import MakeSandbox
from engine.bench import Bench
from engine.crashing import Points, mortal
from engine.test_killpoints import dies

TASKS = 24
SHARES = 3


def shards(of: int = SHARES) -> Iterator[Shard]:
    return (Shard(index, of) for index in range(1, of + 1))


def bench_of(bench: Bench, shard: Shard) -> Bench:
    """The share's folder as a bench of its own."""
    other = Bench(bench.folder, bench.now)
    other.output = bench.output / shard.folder
    return other


async def run_shares(bench: Bench, server: Sandbox, tasks: int = TASKS, **changes: Any) -> list[Report]:
    manifest = bench.manifest(tasks, **changes)
    return [await bench.run(server, manifest, shard=shard) for shard in shards()]


def merged(bench: Bench, into: str = "whole") -> tuple[Bench, Merged]:
    """All shares together, as a bench."""
    whole = Bench(bench.folder, bench.now)
    whole.output = bench.folder / into
    found = merge([bench.output / shard.folder for shard in shards()], whole.output, now=bench.now)
    return whole, found


def as_made(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Metadata without what every run has of its own."""
    own = {"request_id", "submitted_at", "queue_time", "inference_time", "total_time"}
    return [{key: value for key, value in line.items() if key not in own} for line in lines]


# --- shares


async def test_shares_are_disjoint_complete_and_each_has_its_part_of_rate_and_budget(
    bench: Bench, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Any] = []
    wired = running.wired

    def looked(job: Any, **more: Any) -> Any:
        limits.append(job.limits)
        return wired(job, **more)

    monkeypatch.setattr(running, "wired", looked)
    async with sandbox(service=2, credits=10) as server:
        reports = await run_shares(bench, server, limits={"rpm": 900, "max_cost": 1.0})
        assert server.billed == TASKS
    assert all(report.exit_code == 0 and report.total == len(keys_of(report)) for report in reports)
    assert sum(report.total for report in reports) == TASKS
    assert len(set().union(*map(keys_of, reports))) == TASKS
    assert [(found.rpm, found.max_cost) for found in limits] == [(300.0, 0.333333)] * SHARES
    assert [report.output for report in reports] == [bench.output / shard.folder for shard in shards()]


def keys_of(report: Report) -> set[str]:
    lines = (report.output / "metadata.jsonl").read_text().splitlines()
    return {json.loads(line)["key"] for line in lines}


async def test_an_unpaced_job_has_unpaced_shares_and_one_share_may_be_empty(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        reports = await run_shares(bench, server, tasks=1, limits={"rpm": "none"})
    assert sorted(report.total for report in reports) == [0, 0, 1]
    assert [(report.exit_code, report.state) for report in reports] == [(0, "finished")] * SHARES
    _, found = merged(bench)
    assert (found.report.total, found.report.images, found.exit_code) == (1, 1, 0)


async def test_new_rows_move_no_task_to_another_share_and_the_same_plan_is_not_made_again(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        before = await run_shares(bench, server)
        again = await run_shares(bench, server)
        assert server.billed == TASKS
        more = await run_shares(bench, server, TASKS + 6)
        assert server.billed == TASKS + 6
    assert [report.images for report in before] == [report.images for report in again]
    for one, other in zip(before, more, strict=True):
        assert keys_of(one) <= keys_of(other)
    whole, _ = merged(bench)
    assert [line["place"] for line in whole.lines("metadata.jsonl")] == [
        f"place {n}" for n in range(TASKS + 6)
    ]


async def test_a_share_looked_at_before_it_runs_says_what_is_its_own(bench: Bench) -> None:
    manifest = bench.manifest(TASKS, limits={"rpm": 60})
    found = [outlook(manifest, bench.output / shard.folder, shard=shard) for shard in shards()]
    assert sum(one.total for one in found) == TASKS
    assert all(one.seconds > 60 * one.total * SHARES / 60 for one in found)
    assert not bench.output.exists()


async def test_one_name_in_two_shares_is_an_error_in_each_of_them_before_anything_is_sent(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    manifest = bench.manifest(TASKS, output={"name": "always"})
    async with sandbox() as server:
        for shard in shards(12):
            with pytest.raises(errors.ManifestError, match="several tasks of the whole plan would be named"):
                await bench.run(server, manifest, shard=shard)
        assert not server.jobs
    assert not bench.output.exists()


async def test_a_folder_keeps_to_its_share(bench: Bench, sandbox: MakeSandbox) -> None:
    one, other = Shard(1, 3), Shard(2, 3)
    async with sandbox(service=2) as server:
        await bench.run(server, bench.manifest(TASKS), shard=one)
        billed = server.billed
        bench_of(bench, one)
        inside = bench.manifest(TASKS, output={"dir": str(bench.output / one.folder)})
        with pytest.raises(errors.UsageError, match="holds share 1/3, this run asks for the whole"):
            await bench.run(server, inside)
        os.rename(bench.output / one.folder, bench.output / other.folder)
        with pytest.raises(errors.UsageError, match="holds share 1/3, this run asks for share 2/3"):
            await bench.run(server, bench.manifest(TASKS), shard=other)
        assert server.billed == billed


# --- together


async def test_three_shares_one_killed_and_rerun_are_the_single_run(
    bench: Bench, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = {"params": {"image": "https://photos.example/one.png", "prompt": "{{ place }}", "seed": 7}}
    async with sandbox(service=2, pictures=True) as server:
        manifest = bench.manifest(TASKS, **prepared)
        first, second, third = shards()
        await bench.run(server, manifest, shard=first)
        points = Points(60)
        with monkeypatch.context() as patch:
            patch.setattr(groups, "GroupCommit", mortal(points))
            try:
                await bench.run(server, manifest, shard=second)
            except BaseException as error:
                if not dies(error):
                    raise
        assert points.dead
        await bench.run(server, manifest, shard=third)
        with pytest.raises(errors.Incomplete, match="share 2/3 is not finished"):
            merged(bench)
        doubted = bench_of(bench, second).states()["submitting"]
        await bench.run(server, manifest, shard=second)
        assert TASKS <= server.billed <= TASKS + doubted
    whole, found = merged(bench)
    reports = [running.report.of_folder(bench.output / shard.folder, now=0) for shard in shards()]

    single = Bench(bench.folder, bench.now)
    single.output = bench.folder / "single"
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


async def test_the_merged_folder_is_one_as_any_other(
    bench: Bench, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
        whole, found = merged(bench)
        assert found.report.state == "finished"
        assert (await verify.look(whole.output)).findings == ()
        exported = export(whole.output, Exporting(to="imagefolder", into=bench.folder / "dataset"))
        assert exported.pictures == TASKS
        again = await whole.run(server, whole.manifest(TASKS, output={"dir": str(whole.output)}))
        whole.check(again)
        assert (again.counts["done"], server.billed) == (TASKS, TASKS)
        more = await whole.run(server, whole.manifest(TASKS + 2, output={"dir": str(whole.output)}))
        whole.check(more)
        assert (more.counts["done"], server.billed) == (TASKS + 2, TASKS + 2)


async def test_a_merge_done_again_leaves_all_as_it_is(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
    whole, first = merged(bench)
    pictures = whole.output / "images"
    inodes = {path.name: path.stat().st_ino for path in pictures.iterdir()}
    ledger = place.ledger_of(whole.output).read_bytes()
    _, second = merged(bench)
    assert second == first
    assert {path.name: path.stat().st_ino for path in pictures.iterdir()} == inodes
    assert place.ledger_of(whole.output).read_bytes() == ledger


@pytest.mark.parametrize("after", [0, 1, 5, TASKS - 1, TASKS])
async def test_a_merge_that_was_cut_off_is_done_again(
    bench: Bench, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
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
            patch.setattr("batcher.merge.sync_folder", lambda path: killed(path, path))
        with pytest.raises(KeyboardInterrupt):
            merged(bench)
    assert not place.ledger_of(bench.folder / "whole").exists()
    whole, found = merged(bench)
    whole.check(found.report)
    assert found.report.images == TASKS
    assert sorted(os.listdir(whole.output / ".batcher")) == [
        "ledger.sqlite", "lock", "manifest.yaml", "parts", "spool", "thumbs",
    ]  # fmt: skip


async def test_where_no_link_can_be_made_pictures_are_copied(
    bench: Bench, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)

    def refused(*paths: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    whole, found = merged(bench)
    whole.check(found.report)
    assert all(path.stat().st_nlink == 1 for path in (whole.output / "images").iterdir())
    _, again = merged(bench)
    assert again == found


async def test_failed_tasks_come_along_and_are_told(bench: Bench, sandbox: MakeSandbox) -> None:
    script = Faults([faults.failed("node died", calls=[1, 4])])
    async with sandbox(service=2, faults=script) as server:
        reports = await run_shares(bench, server)
        whole, found = merged(bench)
        assert found.exit_code == 3
        assert found.report.failures == {"FAILED: node died": 2}
        assert sum(report.counts["failed"] for report in reports) == 2
        whole.check(found.report)
        manifest = whole.manifest(TASKS, output={"dir": str(whole.output)})
        again = await whole.run(server, manifest, retry_failed=True)
        assert (again.exit_code, again.counts["done"], server.billed) == (0, TASKS, TASKS)


async def test_two_pictures_of_one_name_both_stand(bench: Bench, sandbox: MakeSandbox) -> None:
    """A share does not know what another delivered under a name that a later plan gives away."""
    async with sandbox(service=2) as server:
        await run_shares(bench, server, 6, params={"prompt": "winter in {{ place }}"})
        await run_shares(bench, server, 6, params={"prompt": "summer in {{ place }}"})
        assert server.billed == 12
    whole, found = merged(bench)
    assert len(whole.pictures()) == 12
    assert len(found.renamed) == len({new for _, new in found.renamed}) > 0
    lines = whole.lines("metadata.jsonl")
    assert sorted(line["file_name"] for line in lines) == [f"images/{name}" for name in whole.pictures()]
    for _, new in found.renamed:
        (line,) = (line for line in lines if line["file_name"] == f"images/{new}")
        assert line["key"][:8] in new
    assert found.report.total == 6


async def test_pictures_of_shares_in_a_store_come_to_the_merged_folder(
    bench: Bench, sandbox: MakeSandbox, bucket: Bucket
) -> None:
    bench.output = bench.folder / "out" / "job"
    async with sandbox(service=2) as server:
        await run_shares(bench, server, 6, output={"dir": f"{bucket}/streets"})
    found = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    images = {one["Key"].rpartition("/")[0] for one in found if "/images/" in one["Key"]}
    assert images == {f"streets/{shard.folder}/images" for shard in shards()}
    whole, together = merged(bench)
    whole.check(together.report)
    assert together.report.images == 6


# --- what is refused


async def test_what_are_not_all_shares_of_one_plan_is_refused_in_a_sentence(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    first, second, third = (bench.output / shard.folder for shard in shards())
    into = bench.folder / "whole"
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
        await bench.run(server, bench.manifest(TASKS), shard=Shard(1, 2))
        other = Bench(bench.folder, bench.now)
        other.output = bench.folder / "other"
        await other.run(server, other.manifest(2, output={"dir": str(other.output)}))
    cases = [
        ([first, third], errors.Incomplete, "share 2/3 is missing"),
        ([first, first], errors.Incomplete, "share 3/3 is missing"),
        ([first, second, bench.output / "shard-1-of-2"], errors.UsageError, "is share 1/2"),
        ([first, second, third, other.output], errors.UsageError, "is no share of a plan"),
        ([first, second, bench.folder / "nothing"], errors.UsageError, "nothing was run yet"),
    ]
    for outputs, kind, why in cases:
        with pytest.raises(kind, match=why):
            merge(outputs, into, now=bench.now)
    with pytest.raises(errors.UsageError, match="is one of the shares"):
        merge([first, second, third], first, now=bench.now)
    with pytest.raises(errors.UsageError, match="holds a job of its own"):
        merge([first, second, third], other.output, now=bench.now)
    shutil.copytree(second, bench.folder / "copy")
    with pytest.raises(errors.UsageError, match="are both share 2/3"):
        merge([first, second, third, bench.folder / "copy"], into, now=bench.now)
    assert not into.exists()


async def test_shares_of_two_plans_are_refused_until_all_have_the_present_one(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
        await bench.run(server, bench.manifest(TASKS + 1), shard=Shard(1, 3))
        with pytest.raises(errors.UsageError, match="shares of two plans"):
            merged(bench)
        await run_shares(bench, server, TASKS + 1)
    whole, found = merged(bench)
    whole.check(found.report)
    assert found.report.total == TASKS + 1


async def test_a_run_in_a_share_or_in_the_whole_keeps_the_merge_out(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
    with lock.held(place.lock_of(bench.output / "shard-2-of-3"), since="now"), pytest.raises(errors.Locked):
        merged(bench)
    (bench.folder / "whole" / ".batcher").mkdir(parents=True)
    with lock.held(place.lock_of(bench.folder / "whole"), since="now"), pytest.raises(errors.Locked):
        merged(bench)
    merged(bench)


async def test_a_picture_that_is_missing_or_another_one_keeps_the_merge_from_being(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
    one, other, *_ = sorted((bench.output / "shard-1-of-3" / "images").iterdir())
    kept = one.read_bytes()
    one.unlink()
    other.write_bytes(b"something else")
    with pytest.raises(errors.Incomplete) as refused:
        merged(bench)
    assert str(one) in str(refused.value)
    assert "is another picture than was delivered" in str(refused.value)
    assert not place.ledger_of(bench.folder / "whole").exists()
    one.write_bytes(kept)
    other.write_bytes(kept)
    _, found = merged(bench)
    assert found.report.images == TASKS


async def test_shares_that_went_on_are_not_laid_over_an_earlier_merge(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
        merged(bench)
        await run_shares(bench, server, TASKS + 3)
    with pytest.raises(errors.UsageError, match="an earlier state of these shares"):
        merged(bench)
    _, found = merged(bench, "another")
    assert found.report.images == TASKS + 3


async def test_a_foreign_file_of_that_name_is_left_alone(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        await run_shares(bench, server)
    name = sorted((bench.output / "shard-1-of-3" / "images").iterdir())[0].name
    foreign = bench.folder / "whole" / "images" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    _, found = merged(bench)
    assert [old for old, _ in found.renamed] == [f"shard-1-of-3/{name}"]
    assert foreign.read_bytes() == b"mine"


async def test_what_a_share_resolves_is_the_whole_manifest(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        (report, *_) = await run_shares(bench, server, limits={"rpm": 900})
    resolved = running.yaml.safe_load((report.output / ".batcher" / "manifest.yaml").read_text())
    assert resolved["limits"]["rpm"] == 900, (
        "the whole's: a repair divides it again, the merged folder does not"
    )


def test_whose_folder_a_path_is(tmp_path: Path) -> None:
    shard = Shard(2, 3)
    folder = tmp_path / "out"
    share = folder / shard.folder
    assert place.output_in(folder, shard=shard) == share
    assert place.output_in(folder, shard=shard, sandbox=True) == tmp_path / "out-sandbox" / shard.folder
    assert place.output_in(folder, shard=shard, output=tmp_path / "x") == tmp_path / "x"
    for one in (folder, share):
        assert place.before_sandbox(place.output_in(one, sandbox=True)) == one
    (share / ".batcher").mkdir(parents=True)
    assert place.output_of(folder, shard=shard) == share
    assert place.output_of(share, shard=shard) == share
    assert place.output_of(share) == share
    with pytest.raises(errors.UsageError, match="its shares have: `--shard I/N` names one"):
        place.output_of(folder)
