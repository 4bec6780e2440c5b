"""Nothing is submitted for a task outside the present plan: a row that left the manifest while its job was in
flight, a replacement whose picture was taken back. What is in flight is still fetched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.in_flight import left_in_flight
from tests.support.redrawn import DRAWN, PARAMS, said
from tests.support.sandboxes import MakeSandbox

OTHER: dict[str, Any] = {"inputs": [{"rows": [{"place": "place 7"}]}]}
TASKS = "SELECT name, state FROM tasks ORDER BY id"
SENT = "SELECT t.name, s.outcome FROM submissions s JOIN tasks t ON t.id = s.task ORDER BY s.id"
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
