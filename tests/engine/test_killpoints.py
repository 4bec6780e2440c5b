"""A crash before and after every ledger write, then the same command: nothing lost, nothing paid twice
beyond the answers that were lost."""

from __future__ import annotations

import pytest

from batcher.ledger import groups, store, writer
from batcher.sandbox import Sandbox
from conftest import MakeSandbox
from engine.bench import Bench
from engine.crashing import Crash, Points, mortal

TASKS = 3


async def crashed(
    bench: Bench, server: Sandbox, at: int | None, monkeypatch: pytest.MonkeyPatch, api: str
) -> Points:
    """One run that dies at point `at`, if it gets that far."""
    points = Points(at)
    with monkeypatch.context() as patch:
        patch.setattr(groups, "GroupCommit", mortal(points))
        try:
            await bench.run(server, bench.manifest(TASKS, api=api))
        except BaseException as error:
            if not dies(error):
                raise
    return points


def dies(error: BaseException) -> bool:
    """Whether this is the crash, alone or in groups."""
    if isinstance(error, BaseExceptionGroup):
        return all(dies(inner) for inner in error.exceptions)
    return isinstance(error, Crash)


@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("offset", range(4))
async def test_a_crash_anywhere_loses_nothing_and_pays_nothing_twice_but_lost_answers(
    bench: Bench, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, api: str, offset: int
) -> None:
    """Each offset takes every fourth point, so that the sweep is spread over four tests."""
    at = offset
    while True:
        bench.output = bench.folder / f"out-{at}"
        async with sandbox(service=5) as server:
            points = await crashed(bench, server, at, monkeypatch, api)
            if not points.dead:
                break
            doubted = (
                bench.states()["submitting"] if (bench.output / ".batcher" / "ledger.sqlite").exists() else 0
            )
            report = await bench.run(server, bench.manifest(TASKS, api=api))
            bench.check(report)
            story = f"killed at point {at} with {doubted} in the air"
            assert (report.exit_code, report.counts["done"]) == (0, TASKS), story
            assert TASKS <= server.billed <= TASKS + doubted, story
            assert len(server.jobs) <= TASKS + doubted, story
            assert report.calls["submit"] + report.calls["sync"] <= len(server.jobs) + doubted, story
            assert report.images == TASKS, story
        at += 4
    assert at > 20


async def test_the_run_that_survives_is_the_same_as_one_without_the_points(
    bench: Bench, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=5) as server:
        points = await crashed(bench, server, None, monkeypatch, "v2")
        assert points.passed > 30
        assert server.billed == TASKS
    assert writer.store is store


@pytest.mark.parametrize("doubtful", ["resubmit", "hold", "reconcile"])
async def test_bytes_that_an_answer_brought_before_a_crash_are_delivered_and_not_paid_for_again(
    bench: Bench, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, doubtful: str
) -> None:
    def died(*_: object) -> None:
        raise Crash

    async with sandbox(service=5, price=0.01) as server:
        manifest = bench.manifest(1, api="v1", retry={"doubtful": doubtful})
        with monkeypatch.context() as patch:
            patch.setattr(writer.Ledger, "ready", died)
            with pytest.raises(BaseExceptionGroup) as caught:
                await bench.run(server, manifest)
        assert dies(caught.value)
        assert bench.states() == {"submitting": 1}
        report = await bench.run(server, manifest)
        bench.check(report)
        assert (report.exit_code, report.images, server.billed, len(server.jobs)) == (0, 1, 1, 1)
        assert (report.cost["spent"], report.cost["doubtful"]) == (0.01, 0)
        assert not list((bench.output / ".batcher" / "spool").iterdir())
