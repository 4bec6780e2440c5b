"""Two clocks: the record's hour and the file's week. Nothing paid is lost, and every state has an end."""

from __future__ import annotations

import anyio
from PIL import Image

from batcher.progress import Event, Finished
from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


async def test_a_status_that_never_changes_is_given_up_at_its_deadline_and_resubmitted_once(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.Stuck(calls=[1])])) as server:
        began = harness.now()
        report = await harness.run(server, harness.manifest(2))
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 2)
        assert harness.outcomes() == {"completed": 2, "lost": 1}
        assert report.cost["lost"] == 0.01
        # Its hour, and the ten minutes for which the history says that it goes on.
        assert 4200 <= harness.now() - began < 4300


async def test_what_expires_again_in_the_same_run_fails(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, faults=Faults([faults.Stuck()])) as server:
        report = await harness.run(server, harness.manifest(2, result_ttl="10m"))
        assert (report.exit_code, report.counts["failed"]) == (3, 2)
        assert len(server.jobs) == 4
        assert all(reason.startswith("EXPIRED: ") for reason in report.failures)


async def test_an_expired_task_fails_when_the_manifest_says_so(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.Stuck(calls=[1])])) as server:
        report = await harness.run(server, harness.manifest(2, retry={"expired": "fail"}))
        assert (report.exit_code, report.counts["failed"], len(server.jobs)) == (3, 1, 2)


async def test_a_queue_slower_than_the_records_life_loses_nothing(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=0.4, sigma=0.2, workers=4, ttl=8) as server:
        began = harness.now()
        report = await harness.run(
            server, harness.manifest(200, result_ttl="8s", poll={"delay": "0.2s"}, limits={"rpm": "none"})
        )
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 200, 200)
        assert harness.outcomes()["lost"] == 0
        assert harness.now() - began <= 1.15 * 200 * 0.4 / 4 + 3


async def test_downloads_as_the_bottleneck_cost_no_result(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=1, ttl=20, faults=Faults([faults.SlowBody()])) as server:
        report = await harness.run(
            server, harness.manifest(30, result_ttl="20s", limits={"rpm": "none", "downloads": 1})
        )
        harness.check(report)
        assert (report.exit_code, report.counts["done"], harness.outcomes()["lost"]) == (0, 30, 0)


async def test_a_dead_link_is_asked_for_again_through_the_result(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.DeadLink(first=2)])) as server:
        report = await harness.run(server, harness.manifest(3))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)
        assert report.calls["result"] > 3


async def test_files_that_cannot_be_had_now_wait_as_ready_for_the_next_run(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.NotAnImage(first=10)])) as server:
        manifest = harness.manifest(2, retry={"attempts": 3})
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["ready"]) == (5, 2)
        report = await harness.run(server, harness.manifest(2, retry={"attempts": 5}))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)


async def test_files_that_no_host_has_any_more_are_told_with_what_brings_them_and_no_other(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    told: list[Event] = []
    script = Faults([faults.NotAnImage(first=6)])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(3, retry={"attempts": 2})
        report = await harness.run(server, manifest, told.append)
        assert (report.exit_code, report.counts["ready"]) == (5, 3)
        assert [event.results_gone for event in told if isinstance(event, Finished)] == [0]
        await anyio.sleep(8 * 86_400)
        report = await harness.run(server, harness.manifest(4, retry={"attempts": 2}), told.append)
        harness.check(report)
        assert (report.exit_code, report.counts["ready"], report.counts["done"]) == (5, 3, 1)
        assert [event.results_gone for event in told if isinstance(event, Finished)] == [0, 3]
        # What left the manifest is owed by nobody's run.
        report = await harness.run(server, harness.manifest(2, retry={"attempts": 2}), told.append)
        assert [event.results_gone for event in told if isinstance(event, Finished)] == [0, 3, 2]


async def test_truncated_empty_and_foreign_bytes_are_never_delivered(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [
            faults.Truncated(calls=[1]),
            faults.Empty(calls=[2]),
            faults.NotAnImage(calls=[3]),
            faults.Short(calls=[4]),
        ]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(4))
        harness.check(report)
        assert (report.exit_code, report.images, server.billed) == (0, 4, 4)
        assert report.calls["download"] == 8


async def test_a_picture_whose_url_has_died_is_uploaded_again_and_its_tasks_with_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    Image.new("RGB", (8, 8), "teal").save(harness.folder / "one.png")
    params = {"image": str(harness.folder / "one.png")}
    async with sandbox(service=5, file_ttl=5000) as server:
        await harness.run(server, harness.manifest(2, params=params))
        await anyio.sleep(6000)
        report = await harness.run(server, harness.manifest(5, params=params))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 5, 5)
        assert server.counts["upload"] == 2
        assert harness.outcomes() == {"completed": 5, "failed": 3}


async def test_a_picture_that_the_model_refuses_is_not_uploaded_for_ever(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    Image.new("RGB", (8, 8), "teal").save(harness.folder / "one.png")
    script = Faults([faults.Failed(error="could not load the image from its URL")])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(3, params={"image": str(harness.folder / "one.png")}, limits={"rpm": 1})
        report = await harness.run(server, manifest)
        assert (report.exit_code, report.counts["failed"]) == (3, 3)
        assert len(server.jobs) <= 6
