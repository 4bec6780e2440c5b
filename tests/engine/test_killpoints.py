"""A crash before and after every ledger write, then the same command: nothing lost, nothing paid twice
beyond the answers that were lost."""

from __future__ import annotations

import pytest

from batcher.ledger import database, ledger
from batcher.sandbox import Sandbox
from tests.support.crashing import Crash, Points, dies, dying
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

TASKS = 3


async def crashed(
    harness: Harness,
    server: Sandbox,
    at: int | None,
    api: str,
    doubtful: str = "resubmit",
) -> Points:
    """One run that dies at point `at`, if it gets that far."""
    manifest = harness.manifest(TASKS, api=api, retry={"doubtful": doubtful})
    with dying(at) as points:
        await harness.run(server, manifest)
    return points


@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("offset", range(4))
async def test_a_crash_anywhere_loses_nothing_and_pays_nothing_twice_but_lost_answers(
    harness: Harness, sandbox: MakeSandbox, api: str, offset: int
) -> None:
    """Each offset takes every fourth point, so that the sweep is spread over four tests."""
    at = offset
    while True:
        harness.move_to(f"out-{at}")
        async with sandbox(service=5) as server:
            points = await crashed(harness, server, at, api)
            if not points.dead:
                break
            doubted = (
                harness.states()["submitting"]
                if (harness.output / ".batcher" / "ledger.sqlite").exists()
                else 0
            )
            report = await harness.run(server, harness.manifest(TASKS, api=api))
            harness.check(report)
            story = f"killed at point {at} with {doubted} in the air"
            assert (report.exit_code, report.counts["done"]) == (0, TASKS), story
            assert TASKS <= server.billed <= TASKS + doubted, story
            assert len(server.jobs) <= TASKS + doubted, story
            assert report.calls["submit"] + report.calls["sync"] <= len(server.jobs) + doubted, story
            assert report.images == TASKS, story
        at += 4
    assert at > 20


@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("offset", range(4))
async def test_under_reconcile_a_crash_anywhere_pays_nothing_twice_at_all(
    harness: Harness, sandbox: MakeSandbox, api: str, offset: int
) -> None:
    """What cannot be proven is held: where no job is known of which the history could tell, or where a v1
    answer is the only one that told its picture."""
    at = offset
    while True:
        harness.move_to(f"out-{at}")
        async with sandbox(service=5) as server:
            points = await crashed(harness, server, at, api, "reconcile")
            if not points.dead:
                break
            manifest = harness.manifest(TASKS, api=api, retry={"doubtful": "reconcile"})
            report = await harness.run(server, manifest)
            harness.check(report)
            story = f"killed at point {at}: {report.counts}"
            bodies = [job.body["prompt"] for job in server.jobs.values()]
            assert len(set(bodies)) == len(bodies), story
            assert report.counts["done"] + report.counts["doubtful"] == TASKS, story
            assert report.exit_code == (3 if report.counts["doubtful"] else 0), story
            assert report.images == report.counts["done"], story
            if report.counts["doubtful"]:
                # The jobs that are known by now prove it to the next run.
                report = await harness.run(server, manifest)
                assert len(server.jobs) == len({job.body["prompt"] for job in server.jobs.values()}), story
        at += 4
    assert at > 20


async def test_the_run_that_survives_is_the_same_as_one_without_the_points(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        points = await crashed(harness, server, None, "v2")
        assert points.passed > 30
        assert server.billed == TASKS
    assert ledger.database is database


@pytest.mark.parametrize("doubtful", ["resubmit", "hold", "reconcile"])
async def test_bytes_that_an_answer_brought_before_a_crash_are_delivered_and_not_paid_for_again(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, doubtful: str
) -> None:
    def died(*_: object) -> None:
        raise Crash

    async with sandbox(service=5, price=0.01) as server:
        manifest = harness.manifest(1, api="v1", retry={"doubtful": doubtful})
        with monkeypatch.context() as patch:
            patch.setattr(ledger.Ledger, "ready", died)
            with pytest.raises(BaseExceptionGroup) as caught:
                await harness.run(server, manifest)
        assert dies(caught.value)
        assert harness.states() == {"submitting": 1}
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.images, server.billed, len(server.jobs)) == (0, 1, 1, 1)
        assert (report.cost["spent"], report.cost["doubtful"]) == (0.01, 0)
        assert not list((harness.output / ".batcher" / "spool").iterdir())
