"""A review and the runs of its job: what is to be made anew is, and what is kept stands beside it."""

from __future__ import annotations

import asyncio

from batcher.results import report
from batcher.results.review import ReviewSession
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

DRAWING = {
    "seed": 7,
    "params": {"image": "https://photos.example/one.png", "prompt": "{{ place }}", "seed": "{{ seed }}"},
}


async def test_what_is_rejected_to_be_made_anew_is_made_by_the_next_run_and_can_stand_beside_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        job = harness.manifest(3, **DRAWING)
        await harness.run(server, job)
        session = ReviewSession(harness.output, now=harness.now)
        (one, two, _) = (task for (task,) in harness.rows("SELECT id FROM tasks ORDER BY id"))
        await asyncio.to_thread(session.decide, one, "redo", "dark")
        await asyncio.to_thread(session.decide, two, "redo", "dark")
        taken = await asyncio.to_thread(session.take_back)
        assert (taken.status.task, taken.has_another) == (two, False)
        told = await harness.run(server, job)
        harness.check(told)
        assert (told.counts["done"], told.counts["rejected"], server.billed) == (3, 1, 4)
        kept = await asyncio.to_thread(session.decide, one, "keep")
        assert (kept.status.state, kept.has_another) == ("done", True)
        assert await asyncio.to_thread(session.write_records)
        harness.check(report.of_folder(harness.output, now=harness.now()))
        told = await harness.run(server, job)
        assert (told.counts["done"], server.billed) == (4, 4)


async def test_beside_a_run_decisions_hold_and_the_run_writes_the_records(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        job = harness.manifest(20, limits={"in_flight": 2}, **DRAWING)
        sessions = []

        async def review() -> None:
            await asyncio.sleep(20)
            session = ReviewSession(harness.output, now=harness.now)
            done = harness.rows("SELECT id FROM tasks WHERE state = 'done' ORDER BY id LIMIT 3")
            for (task,), verdict in zip(done, ("keep", "reject", "redo"), strict=True):
                await asyncio.to_thread(session.decide, task, verdict)
            assert not await asyncio.to_thread(session.write_records), "a run goes on"
            sessions.append(session)

        async with asyncio.TaskGroup() as beside:
            beside.create_task(review())
            told = await harness.run(server, job)
        harness.check(told)
        assert (told.counts["done"], told.counts["rejected"], server.billed) == (19, 2, 21)
        assert not sessions[0].records_are_stale()
        assert sessions[0].progress().looked_at == 3
