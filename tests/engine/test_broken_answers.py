"""v1 answers that break off: the job is paid for, its headers name it, and the history has its link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher import errors
from batcher.api import client
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import audit
from batcher.sandbox import Faults, faults
from batcher.storage.download import OutputFolder
from tests.support.crashing import dying
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox
from tests.support.scripted_api import Api, Whole


@pytest.mark.parametrize("policy", ["resubmit", "hold", "reconcile"])
@pytest.mark.parametrize("late", [0, 40])
@pytest.mark.parametrize(
    "fault",
    [
        faults.Short(route="sync", calls=[2]),
        faults.Truncated(route="sync", calls=[2]),
        faults.Empty(route="sync", calls=[2]),
    ],
)
async def test_a_picture_that_breaks_off_is_had_from_the_history(
    harness: Harness, sandbox: MakeSandbox, fault: faults.Fault, late: float, policy: str
) -> None:
    script = Faults([fault, faults.LateRows(delay=late)])
    async with sandbox(service=5, price=0.01, faults=script) as server:
        report = await harness.run(server, harness.manifest(4, api="v1", retry={"doubtful": policy}))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 4)
        assert report.cost == {"spent": 0.04, "reserved": 0, "doubtful": 0, "lost": 0}
        assert not list((harness.output / ".batcher" / "spool").iterdir())


async def test_a_picture_that_is_larger_than_any_answer_may_be_is_had_from_the_history(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them stop the run all the same: nobody knows what comes next."""
    async with sandbox(service=5, price=0.01) as server:
        manifest = harness.manifest(3, api="v1")
        with monkeypatch.context() as patched:
            patched.setattr(client, "LARGEST_OF_ALL", 64)
            report = await harness.run(server, manifest)
            assert (report.exit_code, report.counts["done"], server.billed) == (5, 1, 2)
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)
        assert report.cost == {"spent": 0.03, "reserved": 0, "doubtful": 0, "lost": 0}


async def test_a_result_that_is_larger_than_any_answer_may_be_is_not_read_again_for_an_hour(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a minute is over, the history has its link."""
    monkeypatch.setattr(client, "LARGEST_OF_ALL", 64)
    async with sandbox(service=5, price=0.01) as server:
        report = await harness.run(server, harness.manifest(2))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)
        assert report.calls["result"] <= 2 * 12


@pytest.mark.parametrize("history", [faults.Status(route="history", code=404), faults.LateRows(delay=1e6)])
async def test_without_a_row_in_the_history_it_is_doubt_as_any_lost_answer(
    harness: Harness, sandbox: MakeSandbox, history: faults.Fault
) -> None:
    script = Faults([faults.Short(route="sync", calls=[2]), history])
    async with sandbox(service=5, price=0.01, faults=script) as server:
        report = await harness.run(server, harness.manifest(4, api="v1"))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 5)
        assert harness.outcomes() == {"completed": 4, "doubtful": 1}


async def test_while_the_history_does_not_answer_what_broke_off_is_held_and_not_paid_for_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [faults.Short(route="sync", calls=[2]), faults.Status(route="history", code=503, until=3000)]
    )
    async with sandbox(service=5, price=0.01, faults=script) as server:
        manifest = harness.manifest(3, api="v1")
        report = await harness.run(server, manifest)
        assert (report.exit_code, report.counts["doubtful"], server.billed) == (3, 1, 3)
        await anyio.sleep(3600)
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)


async def test_what_broke_off_in_one_run_is_had_by_the_next_or_by_the_audit(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [faults.Short(route="sync", calls=[2]), faults.Status(route="history", code=503, until=300)]
    )
    async with sandbox(service=5, price=0.01, faults=script) as server:
        held = harness.manifest(4, api="v1", retry={"doubtful": "hold"})
        report = await harness.run(server, held)
        assert (report.exit_code, report.counts["doubtful"], server.billed) == (3, 1, 4)
        await anyio.sleep(3600)
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        found, _ = await audit(harness.output, warn=lambda text: None, account=account, now=harness.now)
        assert ([orphan.cost for orphan in found.orphans], found.unexplained) == ([10_000], 0)
        report = await harness.run(server, held)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 4)


@pytest.mark.parametrize("offset", range(3))
async def test_a_crash_anywhere_on_the_way_from_a_broken_answer_to_the_history_pays_nothing_twice(
    harness: Harness, sandbox: MakeSandbox, offset: int
) -> None:
    """Each offset takes every third point. What was in the air when the process died may be paid for again;
    what was recorded as broken off may not."""
    at = offset
    while True:
        harness.move_to(f"out-{at}")
        script = Faults([faults.Short(route="sync", calls=[1]), faults.LateRows(delay=20)])
        async with sandbox(service=5, price=0.01, faults=script) as server:
            manifest = harness.manifest(2, api="v1")
            with dying(at) as points:
                await harness.run(server, manifest)
            if not points.dead:
                break
            planned = (harness.output / ".batcher" / "ledger.sqlite").exists()
            in_the_air = harness.states()["submitting"] if planned else 0
            report = await harness.run(server, manifest)
            harness.check(report)
            story = f"killed at point {at} with {in_the_air} in the air"
            assert (report.exit_code, report.counts["done"]) == (0, 2), story
            assert 2 <= server.billed <= 2 + in_the_air, story
        at += 3
    assert at > 15


@pytest.mark.parametrize("late", [0, 40])
async def test_an_answer_whose_bytes_the_disk_refuses_is_paid_for_and_had_from_the_history(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    def full(self: OutputFolder, data: bytes, target: Path) -> None:
        raise errors.DiskError(f"{target}: No space left on device")

    async with sandbox(service=5, price=0.01, faults=Faults([faults.LateRows(delay=late)])) as server:
        manifest = harness.manifest(3, api="v1", limits={"in_flight": 1})
        with monkeypatch.context() as patch:
            patch.setattr(OutputFolder, "_keep", full)
            report = await harness.run(server, manifest)
        assert report.exit_code == 5
        assert harness.states() == {"ready": 1, "planned": 2}
        assert server.billed == 1
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)
        assert report.cost == {"spent": 0.03, "reserved": 0, "doubtful": 0, "lost": 0}


async def test_several_pictures_of_one_answer_that_the_disk_refuses_are_had_from_the_history(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: OutputFolder, data: bytes, target: Path) -> None:
        raise errors.DiskError(f"{target}: No space left on device")

    params = {"image": "https://photos.example/one.png", "prompt": "{{ place }}", "samples": 2}
    async with sandbox(service=5) as server:
        manifest = harness.manifest(2, api="v1", model="sd1.5-img2img", params=params)
        with monkeypatch.context() as patch:
            patch.setattr(OutputFolder, "_keep", full)
            await harness.run(server, manifest)
        billed = server.billed
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.images) == (0, 2, 4)
        assert billed >= 1
        assert len({job.body["prompt"] for job in server.jobs.values()}) == len(server.jobs) == 2


async def test_an_id_that_every_answer_repeats_is_nobodys(harness: Harness) -> None:
    """The history would name one job for all of them."""

    class Repeating(Api):
        def submitted(self, number: int) -> Any:
            return Whole(b"HTTP/1.1 200 OK\r\nx-request-id: same\r\n", b"upstream connect: ok")

    api = Repeating()
    (report,) = await api.serve(harness, 6, api="v1", limits={"in_flight": 1})
    assert (report.exit_code, api.submits) == (5, 2)
    assert harness.rows("SELECT count(*) FROM submissions WHERE request_id = 'same'") == [(1,)]
