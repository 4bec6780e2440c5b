"""Two clocks: the record's hour and the file's week. Nothing paid is lost, and every state has an end."""

from __future__ import annotations

import anyio
from PIL import Image

from batcher.progress import Event, Finished
from batcher.sandbox import Faults, faults
from conftest import MakeSandbox
from engine.bench import Bench


async def test_a_status_that_never_changes_is_given_up_at_its_deadline_and_resubmitted_once(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.stuck(calls=[1])])) as server:
        began = bench.now()
        report = await bench.run(server, bench.manifest(2))
        bench.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 2)
        assert bench.outcomes() == {"completed": 2, "lost": 1}
        assert report.cost["lost"] == 0.01
        assert 3600 <= bench.now() - began < 3700


async def test_what_expires_again_in_the_same_run_fails(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, faults=Faults([faults.stuck()])) as server:
        report = await bench.run(server, bench.manifest(2, result_ttl="10m"))
        assert (report.exit_code, report.counts["failed"]) == (3, 2)
        assert len(server.jobs) == 4
        assert all(reason.startswith("EXPIRED: ") for reason in report.failures)


async def test_an_expired_task_fails_when_the_manifest_says_so(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, faults=Faults([faults.stuck(calls=[1])])) as server:
        report = await bench.run(server, bench.manifest(2, retry={"expired": "fail"}))
        assert (report.exit_code, report.counts["failed"], len(server.jobs)) == (3, 1, 2)


async def test_a_queue_slower_than_the_records_life_loses_nothing(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=0.4, sigma=0.2, workers=4, ttl=8) as server:
        began = bench.now()
        report = await bench.run(
            server, bench.manifest(200, result_ttl="8s", poll={"delay": "0.2s"}, limits={"rpm": "none"})
        )
        bench.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 200, 200)
        assert bench.outcomes()["lost"] == 0
        assert bench.now() - began <= 1.15 * 200 * 0.4 / 4 + 3


async def test_downloads_as_the_bottleneck_cost_no_result(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=1, ttl=20, faults=Faults([faults.slow_body()])) as server:
        report = await bench.run(
            server, bench.manifest(30, result_ttl="20s", limits={"rpm": "none", "downloads": 1})
        )
        bench.check(report)
        assert (report.exit_code, report.counts["done"], bench.outcomes()["lost"]) == (0, 30, 0)


async def test_a_dead_link_is_asked_for_again_through_the_result(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, faults=Faults([faults.dead_link(first=2)])) as server:
        report = await bench.run(server, bench.manifest(3))
        bench.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)
        assert report.calls["result"] > 3


async def test_files_that_cannot_be_had_now_wait_as_ready_for_the_next_run(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.not_an_image(first=10)])) as server:
        manifest = bench.manifest(2, retry={"attempts": 3})
        report = await bench.run(server, manifest)
        bench.check(report)
        assert (report.exit_code, report.counts["ready"]) == (5, 2)
        report = await bench.run(server, bench.manifest(2, retry={"attempts": 5}))
        bench.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)


async def test_files_that_no_host_has_any_more_are_told_with_what_brings_them_and_no_other(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    told: list[Event] = []
    script = Faults([faults.not_an_image(first=6)])
    async with sandbox(service=5, faults=script) as server:
        manifest = bench.manifest(3, retry={"attempts": 2})
        report = await bench.run(server, manifest, told.append)
        assert (report.exit_code, report.counts["ready"]) == (5, 3)
        assert [event.gone for event in told if isinstance(event, Finished)] == [0]
        await anyio.sleep(8 * 86_400)
        report = await bench.run(server, bench.manifest(4, retry={"attempts": 2}), told.append)
        bench.check(report)
        assert (report.exit_code, report.counts["ready"], report.counts["done"]) == (5, 3, 1)
        assert [event.gone for event in told if isinstance(event, Finished)] == [0, 3]
        # What left the manifest is owed by nobody's run.
        report = await bench.run(server, bench.manifest(2, retry={"attempts": 2}), told.append)
        assert [event.gone for event in told if isinstance(event, Finished)] == [0, 3, 2]


async def test_truncated_empty_and_foreign_bytes_are_never_delivered(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [
            faults.truncated(calls=[1]),
            faults.empty(calls=[2]),
            faults.not_an_image(calls=[3]),
            faults.short(calls=[4]),
        ]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await bench.run(server, bench.manifest(4))
        bench.check(report)
        assert (report.exit_code, report.images, server.billed) == (0, 4, 4)
        assert report.calls["download"] == 8


async def test_a_picture_whose_url_has_died_is_uploaded_again_and_its_tasks_with_it(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    Image.new("RGB", (8, 8), "teal").save(bench.folder / "one.png")
    params = {"image": str(bench.folder / "one.png")}
    async with sandbox(service=5, file_ttl=5000) as server:
        await bench.run(server, bench.manifest(2, params=params))
        await anyio.sleep(6000)
        report = await bench.run(server, bench.manifest(5, params=params))
        bench.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 5, 5)
        assert server.counts["upload"] == 2
        assert bench.outcomes() == {"completed": 5, "failed": 3}


async def test_a_picture_that_the_model_refuses_is_not_uploaded_for_ever(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    Image.new("RGB", (8, 8), "teal").save(bench.folder / "one.png")
    script = Faults([faults.failed("could not load the image from its URL")])
    async with sandbox(service=5, faults=script) as server:
        manifest = bench.manifest(3, params={"image": str(bench.folder / "one.png")}, limits={"rpm": 1})
        report = await bench.run(server, manifest)
        assert (report.exit_code, report.counts["failed"]) == (3, 3)
        assert len(server.jobs) <= 6
