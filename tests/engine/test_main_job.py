"""The main job: a manifest becomes pictures, once, and can be run again."""

from __future__ import annotations

from batcher.sandbox import Faults, faults
from conftest import MakeSandbox
from engine.bench import Bench


async def test_every_task_is_submitted_once_and_delivered(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        report = await bench.run(server, bench.manifest(20))
        bench.check(report)
        assert (report.exit_code, report.counts["done"], report.images) == (0, 20, 20)
        assert server.billed == 20 == report.calls["submit"]
        assert report.cost["spent"] == round(server.spent, 6)
        assert server.keys_seen_at_files == []


async def test_a_second_run_calls_nothing_but_the_balance(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        manifest = bench.manifest(5)
        first = await bench.run(server, manifest)
        second = await bench.run(server, manifest)
        assert second.calls == first.calls
        assert second.counts == first.counts
        assert server.billed == 5


async def test_editing_the_manifest_runs_only_what_is_new(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        await bench.run(server, bench.manifest(5))
        report = await bench.run(server, bench.manifest(8))
        assert (report.total, report.counts["done"], server.billed) == (8, 8, 8)
        fewer = await bench.run(server, bench.manifest(3))
        assert (fewer.total, fewer.counts["done"], fewer.images, server.billed) == (3, 3, 8, 8)


async def test_v1_answers_are_the_result(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        report = await bench.run(server, bench.manifest(6, api="v1"))
        bench.check(report)
        assert (report.exit_code, report.images, server.billed) == (0, 6, 6)
        assert report.calls["sync"] == 6
        assert report.calls["submit"] == report.calls["status"] == report.calls["result"] == 0


async def test_several_pictures_of_one_request_are_numbered(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        manifest = bench.manifest(
            1, model="sd1.5-inpainting",
            params={"image": "https://a.example/a.png", "mask": "https://a.example/m.png", "samples": 4},
        )  # fmt: skip
        report = await bench.run(server, manifest)
        bench.check(report)
        assert [name.rpartition(".")[0] for name in bench.pictures()] == [f"place 0-{n}" for n in range(4)]


async def test_throttling_gateway_errors_and_cut_lines_lose_nothing(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [
            faults.throttle(["submit", "status", "result"], rate=0.1, reset_in=3),
            faults.status(["submit", "status", "result"], 502, rate=0.05),
            faults.status(["submit", "status", "result"], 504, rate=0.05),
            faults.cut(["submit", "status", "result"], rate=0.05),
            faults.cut(["submit", "status", "result"], accepted=True, rate=0.05),
            faults.short(rate=0.1),
        ],
        seed=3,
    )
    async with sandbox(service=5, faults=script) as server:
        report = await bench.run(server, bench.manifest(120))
        bench.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 120)
        assert report.calls["throttled"] > 0
        doubtful = bench.outcomes()["doubtful"] + bench.outcomes()["gateway"]
        assert 120 <= server.billed <= 120 + doubtful
