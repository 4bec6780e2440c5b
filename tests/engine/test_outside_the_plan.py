"""Nothing is submitted for a task outside the present plan: a row that left the manifest while its job was in
flight, a replacement whose picture was taken back. What is in flight is still fetched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from batcher.engine.lifecycle import Lifecycle
from batcher.job.manifest import Manifest
from batcher.ledger.entries import TaskEntry
from batcher.sandbox import Faults, Sandbox, faults
from tests.support.awaits import AwaitPoints, watched
from tests.support.harness import Harness
from tests.support.in_flight import left_in_flight
from tests.support.redrawn import DRAWN, PARAMS, said
from tests.support.sandboxes import MakeSandbox

OTHER: dict[str, Any] = {"inputs": [{"rows": [{"place": "place 7"}]}]}
TASKS = "SELECT name, state FROM tasks ORDER BY id"
SENT = "SELECT t.name, s.outcome FROM submissions s JOIN tasks t ON t.id = s.task ORDER BY s.id"
REPLACEMENT_SENT = "SELECT s.id FROM submissions s JOIN tasks t ON t.id = s.task WHERE t.redo = 1"
REPLACEMENT = "SELECT plan, state FROM tasks WHERE redo = 1"


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        await anyio.sleep(0.5)
        if holds():
            return
    raise AssertionError("it never came to that")


@pytest.mark.parametrize("accept", [{}, {"accept": {"count": 1, "per": "place"}}], ids=["all", "accept"])
async def test_what_failed_after_its_row_was_taken_out_is_not_submitted_again(
    harness: Harness, sandbox: MakeSandbox, accept: dict[str, Any]
) -> None:
    script = Faults([faults.Failed(calls=[1, 2])])
    async with sandbox(service=50, pictures=True, faults=script) as server:
        asked = accept | {"seed": 42, "params": PARAMS, "retry": {"failed": 2}}
        await left_in_flight(harness, server, 2, **asked)
        report = await harness.run(server, harness.manifest(1, **asked | OTHER))
        assert (report.exit_code, report.total, report.counts["done"]) == (0, 1, 1)
        assert harness.rows(TASKS) == [("place 0", "planned"), ("place 1", "planned"), ("place 7", "done")]
        assert (len(server.jobs), server.billed) == (3, 1)
        # The rows are back: now they are asked for.
        report = await harness.run(server, harness.manifest(2, **asked))
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 3)


async def test_what_expired_after_its_row_was_taken_out_is_not_submitted_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Status(route="history", code=404)])
    async with sandbox(service=30, faults=script) as server:
        await left_in_flight(harness, server, 2)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, harness.manifest(1, **OTHER, retry={"expired": "resubmit"}))
        assert (report.exit_code, report.total, report.counts["done"]) == (0, 1, 1)
        assert harness.rows(SENT) == [("place 0", "lost"), ("place 1", "lost"), ("place 7", "completed")]
        assert harness.states() == {"planned": 2, "done": 1}


@pytest.mark.parametrize("ends", ["failed", "completed"])
async def test_what_an_earlier_run_left_in_flight_makes_no_room_in_a_later_runs_budget(
    harness: Harness, sandbox: MakeSandbox, ends: str
) -> None:
    """Its run was closed when its plan was dropped: what becomes of it is that run's money."""

    def job(*places: str, **limits: Any) -> Manifest:
        return harness.manifest(0, inputs=[{"rows": [{"place": place} for place in places]}], limits=limits)

    script = Faults([faults.Failed(calls=[2, 3])] if ends == "failed" else [])
    async with sandbox(service=200, sigma=0, price=0.01, faults=script) as server:
        await harness.run(server, job("a"))
        async with anyio.create_task_group() as process:
            process.start_soon(harness.run, server, job("a", "b", "c"))
            await until(lambda: harness.states().get("submitted") == 2)
            process.cancel_scope.cancel()
        report = await harness.run(server, job("a", max_duration="2s"), grace=1)
        assert harness.rows("SELECT count(*) FROM runs WHERE finished_at IS NULL") == [(0,)]
        report = await harness.run(server, job("a", *"defghi", max_cost=0.03))
        assert (report.exit_code, report.counts["done"], report.counts["planned"]) == (4, 4, 3)
        run, sent = harness.rows("SELECT run, count(*) FROM submissions GROUP BY run ORDER BY run")[-1]
        assert (run, sent) == (3, 3)


async def test_a_replacement_that_is_withdrawn_at_the_gate_is_not_sent(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    """Its reservation goes back: who waits for room in max_cost has it."""
    script = Faults([faults.BlackPicture(calls=[1])])
    async with sandbox(service=5, sigma=0, pictures=True, price=0.01, faults=script) as server:
        reports = []

        async def running() -> None:
            limits = {"rpm": 2, "max_cost": 0.06}
            reports.append(await harness.run(server, harness.manifest(6, **DRAWN, limits=limits)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await until(lambda: harness.output.exists() and bool(harness.states().get("rejected")))
            await anyio.sleep(3)
            assert harness.rows(REPLACEMENT) == [(1, "planned")]
            assert await said("keep", str(harness.output), "place 0") == 0
        (report,) = reports
        assert (report.exit_code, report.total, report.counts["done"], server.billed) == (0, 6, 6, 6)
        assert harness.rows(REPLACEMENT) == [(0, "planned")]
        assert harness.pictures() == [f"place {n}.jpg" for n in range(6)]
        assert harness.outcomes() == {"completed": 6}


async def test_a_replacement_that_is_withdrawn_while_it_waits_for_room_in_max_cost_ends_no_run(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.BlackPicture(calls=[1])])
    async with sandbox(service=30, sigma=0, pictures=True, price=0.01, faults=script) as server:
        reports = []

        async def running() -> None:
            job = harness.manifest(2, **DRAWN, limits={"max_cost": 0.02})
            reports.append(await harness.run(server, job))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await until(lambda: harness.output.exists() and bool(harness.states().get("rejected")))
            await anyio.sleep(3)
            assert harness.states() == {"rejected": 1, "submitted": 1, "planned": 1}
            assert await said("keep", str(harness.output), "place 0") == 0
        assert (reports[0].exit_code, reports[0].counts["done"], server.billed) == (0, 2, 2)
        assert harness.rows(REPLACEMENT) == [(0, "planned")]


async def kept_at(points: AwaitPoints, harness: Harness, server: Sandbox, story: str) -> tuple[bool, int]:
    """A run with one rejected picture, which is kept at that await of its replacement's way: whether it got
    there, and how many requests were sent."""
    asked = anyio.Event()
    points.befalls = asked.set

    async def keep() -> None:
        await asked.wait()
        while not harness.states()["rejected"]:
            await anyio.sleep(0.002)  # until its group is on disk
        assert await said("keep", str(harness.output), "rejected/place 0.jpg") == 0, story

    async with anyio.create_task_group() as group:
        group.start_soon(keep)
        limits = {"rpm": 2, "max_cost": 0.03}
        report = await harness.run(server, harness.manifest(2, **DRAWN, limits=limits))
        reached = asked.is_set()
        if not reached:
            group.cancel_scope.cancel()
    sent = len(server.jobs)
    assert sent == server.billed == 2 + len(harness.rows(REPLACEMENT_SENT)), story
    assert report.cost["reserved"] == 0, story
    assert harness.states()["done"] == len(harness.pictures()) >= 2, story
    return reached, sent


async def test_a_replacement_that_is_withdrawn_at_any_await_is_never_sent_afterwards(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keep` comes at each moment at which it waits. What becomes of it is one of two: withdrawn and not
    paid, or on its way before, and delivered beside."""
    at, advance = 0, Lifecycle.advance
    numbers = []

    def of_replacements(points: AwaitPoints) -> Callable[..., Awaitable[TaskEntry]]:
        counted = watched(advance, points)
        return lambda lifecycle, entry: (counted if entry.task.redo else advance)(lifecycle, entry)

    while True:
        harness.move_to(f"out-{at}")
        points = AwaitPoints(at, lambda: None)
        script = Faults([faults.BlackPicture(calls=[1])])
        async with sandbox(service=5, sigma=0, pictures=True, price=0.01, faults=script) as server:
            with monkeypatch.context() as patch:
                patch.setattr(Lifecycle, "advance", of_replacements(points))
                reached, sent = await kept_at(points, harness, server, f"kept at await {at}")
        if not reached:
            break
        numbers.append(sent)
        at += 1
    assert len(numbers) > 6
    assert set(numbers) == {2, 3}, numbers


async def test_a_replacement_that_is_withdrawn_before_its_next_try_ends_the_wait_for_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.BlackPicture(calls=[1]), faults.Failed(calls=list(range(2, 9)))])
    async with sandbox(service=5, sigma=0, pictures=True, faults=script) as server:
        reports = []

        async def running() -> None:
            job = harness.manifest(1, **DRAWN, retry={"failed": 9})
            reports.append(await harness.run(server, job, jitter=lambda: 1.0))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await until(lambda: harness.output.exists() and harness.outcomes().get("failed", 0) == 7)
            at = harness.now()
            assert await said("keep", str(harness.output), "place 0") == 0
        assert harness.now() - at < 10  # its next try was a minute away
        assert (reports[0].exit_code, reports[0].counts["done"], server.billed) == (0, 1, 1)
        assert len(server.jobs) == 8
        assert harness.rows(REPLACEMENT) == [(0, "planned")]


async def test_what_is_rejected_beside_a_run_and_kept_again_is_not_made_anew(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(
        service=5, sigma=0, pictures=True, faults=Faults([faults.SlowBody(delay=400, calls=[3])])
    ) as server:
        reports = []

        async def running() -> None:
            reports.append(await harness.run(server, harness.manifest(3, **DRAWN, limits={"rpm": 2})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await until(lambda: harness.output.exists() and harness.states().get("done", 0) >= 2)
            name = harness.rows("SELECT name FROM tasks WHERE state = 'done'")[0][0]
            assert await said("reject", str(harness.output), name, "--redo") == 0
            await until(lambda: harness.rows(REPLACEMENT) == [(1, "planned")])
            await anyio.sleep(4)
            assert await said("keep", str(harness.output), name) == 0
        (report,) = reports
        assert (report.exit_code, report.total, report.counts["done"], server.billed) == (0, 3, 3, 3)
        assert harness.rows(REPLACEMENT) == [(0, "planned")]


GOES_BACK: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "failed": ([faults.Failed(calls=[2])], {"retry": {"failed": 2}}, "failed"),
    "no answer": ([faults.Hang(route="submit", calls=[2])], {}, "doubtful"),
    "expired": (
        [faults.Stuck(calls=[2]), faults.Status(route="history", code=404)],
        {"retry": {"expired": "resubmit"}, "result_ttl": "3m"},
        "lost",
    ),
}


@pytest.mark.parametrize("accept", [{}, {"accept": {"count": 1, "per": "place"}}], ids=["all", "accept"])
@pytest.mark.parametrize("way", GOES_BACK)
async def test_a_replacement_in_flight_whose_picture_is_kept_meanwhile_is_not_bought_again(
    harness: Harness, sandbox: MakeSandbox, way: str, accept: dict[str, Any]
) -> None:
    """What is in flight is fetched; what comes to nothing is not needed any more."""
    script, asked, outcome = GOES_BACK[way]
    faulty = Faults([faults.BlackPicture(calls=[1]), *script])
    async with sandbox(service=20, sigma=0, pictures=True, price=0.01, faults=faulty) as server:
        reports = []

        async def running() -> None:
            reports.append(await harness.run(server, harness.manifest(1, **DRAWN | asked | accept)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await until(lambda: harness.output.exists() and bool(harness.rows(REPLACEMENT_SENT)))
            assert await said("keep", str(harness.output), "place 0") == 0
        (report,) = reports
        assert harness.outcomes() == {"completed": 1, outcome: 1}
        assert (report.exit_code, report.total, report.counts["done"]) == (0, 1, 1)
        assert harness.rows(REPLACEMENT) == [(0, "planned")]
        # Rejected again, it is the one that is due.
        assert await said("reject", str(harness.output), "place 0", "--redo") == 0
        report = await harness.run(server, harness.manifest(1, **DRAWN | asked | accept))
        assert (report.counts["done"], report.counts["rejected"]) == (1, 1)
        assert len(harness.rows(REPLACEMENT)) == 1
