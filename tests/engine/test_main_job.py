"""The main job: a manifest becomes pictures, once, and can be run again."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from batcher.engine import outlook
from batcher.errors import ManifestError, UsageError
from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


async def test_every_task_is_submitted_once_and_delivered(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        report = await harness.run(server, harness.manifest(20))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.images) == (0, 20, 20)
        assert server.billed == 20 == report.calls["submit"]
        assert report.cost["spent"] == round(server.spent, 6)
        assert server.keys_seen_at_files == []


async def test_a_second_run_calls_nothing_but_the_balance(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(5)
        first = await harness.run(server, manifest)
        second = await harness.run(server, manifest)
        assert second.calls == first.calls
        assert second.counts == first.counts
        assert server.billed == 5


async def test_a_folder_that_lost_its_ledger_is_refused_before_all_is_paid_for_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    state, copy = harness.output / ".batcher", harness.folder / "copy"
    async with sandbox(service=5) as server:
        manifest = harness.manifest(3)
        await harness.run(server, manifest)
        state.rename(copy)
        calls = dict(server.counts)
        with pytest.raises(
            UsageError, match=r"every picture would be paid for again\. Bring .*/\.batcher back"
        ):
            await harness.run(server, manifest)
        assert not state.exists()
        (told,) = outlook(manifest, harness.output).warnings
        assert "every picture would be paid for again; `run` refuses that" in told
        assert outlook(manifest, harness.output, sandbox=True).warnings == ()
        assert dict(server.counts) == calls
        copy.rename(state)
        assert (await harness.run(server, manifest)).images == server.billed == 3
        harness.output.rename(copy)
        (harness.output / ".batcher").mkdir(parents=True)  # as a first run leaves it that is killed at once
        (harness.output / "metadata.jsonl").touch()
        assert (await harness.run(server, manifest, pay_again=True)).images == 3
        assert server.billed == 6


async def test_editing_the_manifest_runs_only_what_is_new(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(5))
        report = await harness.run(server, harness.manifest(8))
        assert (report.total, report.counts["done"], server.billed) == (8, 8, 8)
        fewer = await harness.run(server, harness.manifest(3))
        assert (fewer.total, fewer.counts["done"], fewer.images, server.billed) == (3, 3, 8, 8)


async def test_v1_answers_are_the_result(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        report = await harness.run(server, harness.manifest(6, api="v1"))
        harness.check(report)
        assert (report.exit_code, report.images, server.billed) == (0, 6, 6)
        assert report.calls["sync"] == 6
        assert report.calls["submit"] == report.calls["status"] == report.calls["result"] == 0


async def test_several_pictures_of_one_request_are_numbered(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(
            1, model="sd1.5-inpainting",
            params={"image": "https://a.example/a.png", "mask": "https://a.example/m.png", "samples": 4},
        )  # fmt: skip
        report = await harness.run(server, manifest)
        harness.check(report)
        assert [name.rpartition(".")[0] for name in harness.pictures()] == [f"place 0-{n}" for n in range(4)]


async def test_throttling_gateway_errors_and_cut_lines_lose_nothing(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [
            faults.Throttle(route=["submit", "status", "result"], rate=0.1, reset_in=3),
            faults.Status(route=["submit", "status", "result"], code=502, rate=0.05),
            faults.Status(route=["submit", "status", "result"], code=504, rate=0.05),
            faults.Cut(route=["submit", "status", "result"], rate=0.05),
            faults.Cut(route=["submit", "status", "result"], accepted=True, rate=0.05),
            faults.Short(rate=0.1),
        ],
        seed=3,
    )
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(120))
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 120)
        assert report.calls["throttled"] > 0
        doubtful = harness.outcomes()["doubtful"] + harness.outcomes()["gateway"]
        assert 120 <= server.billed <= 120 + doubtful


async def test_plan_tells_the_names_that_a_run_gives_beside_what_is_paid_for(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(1, output={"name": "street"}))
        more = harness.manifest(2, output={"name": "street"})
        told = outlook(more, harness.output)
        assert (told.total, told.new, told.done) == (2, 1, 1)
        await harness.run(server, more)
    names = [sample["name"] for sample in told.sample]
    assert names == [name for (name,) in harness.rows("SELECT name FROM tasks ORDER BY id")]
    assert names[0] == "street"
    assert names[1].startswith("street-")
    assert any(names[1] in warning for warning in told.warnings)
    with pytest.raises(ManifestError, match="would be named 'street'"):
        outlook(more, harness.output / "elsewhere")


async def test_a_run_leaves_a_log_of_what_was_told(harness: Harness, sandbox: MakeSandbox) -> None:
    script = Faults([faults.Failed(error="CUDA out of memory", calls=[2])])
    async with sandbox(service=5, rpm=30, faults=script) as server:
        await harness.run(server, harness.manifest(60, limits={"rpm": 30}))
    log = (harness.output / ".batcher" / "log.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in log]
    assert (told[0]["event"], told[-1]["event"], told[-1]["exit_code"]) == ("started", "finished", 3)
    failed = [line["reason"] for line in told if line["event"] == "state_changed"]
    assert failed == ["FAILED: CUDA out of memory"]
    assert 3 <= sum(line["event"] == "snapshot" for line in told) <= 4, "one a minute"


async def test_what_missing_skip_allows_is_noted_and_no_failure(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    for name in ("a.png", "b.png", "mask-a.png"):
        Image.new("RGB", (8, 8)).save(harness.folder / name)
    inputs = [{"images": "?.png", "companions": {"mask": "mask-{{ stem }}.png"}, "missing": "skip"}]
    params = {"image": "{{ image }}", "mask": "{{ mask }}", "prompt": "a street"}
    async with sandbox(service=5) as server:
        manifest = harness.manifest(
            model="sd1.5-inpainting", inputs=inputs, params=params, output={"name": "{{ stem }}"}
        )
        report = await harness.run(server, manifest)
    assert (report.exit_code, report.counts["done"]) == (0, 1)
    (line,) = harness.lines("errors.jsonl")
    assert line["state"] == "passed_over"
    assert "b.png has no mask" in line["reason"]
