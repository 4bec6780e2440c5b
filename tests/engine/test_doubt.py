"""A POST whose answer was lost: the one window that cannot be closed, counted and settled by policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from batcher.account import Account
from batcher.client import Endpoints
from batcher.progress import Event, Noted
from batcher.run import run
from batcher.sandbox import Faults, faults
from batcher.sandbox.faults import Route
from conftest import MakeSandbox
from engine.bench import KEY, Bench


@asynccontextmanager
async def history_of(statuses: Iterator[int]) -> AsyncIterator[str]:
    """A request history that has no rows, and answers with these statuses; where it is."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response([], status=next(statuses))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_by_default_it_is_submitted_again_and_valued_as_perhaps_paid(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(
        service=5, price=0.02, faults=Faults([faults.cut("submit", accepted=True, calls=[2])])
    ) as server:
        report = await bench.run(server, bench.manifest(4))
        bench.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 5)
        assert bench.outcomes() == {"completed": 4, "doubtful": 1}
        assert report.cost["doubtful"] == 0.02
        assert report.cost["spent"] == 0.08


async def test_gateway_answers_are_submitted_again_and_kept_as_perhaps_paid(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.status("submit", 502, calls=[1]), faults.status("submit", 504, calls=[2])])
    async with sandbox(service=5, price=0.02, faults=script) as server:
        report = await bench.run(server, bench.manifest(4))
        assert (report.exit_code, server.billed) == (0, 4)
        assert bench.outcomes() == {"completed": 4, "gateway": 2}
        assert report.cost["doubtful"] == 0.04


@pytest.mark.parametrize(
    "fault",
    [
        faults.half_json("submit", calls=[1]),
        faults.not_json("submit", calls=[1]),
        faults.hang("submit", calls=[1]),
    ],
)
async def test_held_it_waits_and_the_run_says_so(
    bench: Bench, sandbox: MakeSandbox, fault: faults.Fault
) -> None:
    async with sandbox(service=5, faults=Faults([fault])) as server:
        manifest = bench.manifest(3, retry={"doubtful": "hold"})
        report = await bench.run(server, manifest)
        bench.check(report)
        assert (report.exit_code, report.counts["doubtful"], report.counts["done"]) == (3, 1, 2)
        again = await bench.run(server, manifest)
        assert (again.counts["doubtful"], len(server.jobs)) == (1, 3)


async def test_the_history_names_the_job_and_it_is_adopted_not_paid_again(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.cut("submit", accepted=True, calls=[1, 3])])
    async with sandbox(service=30, faults=script) as server:
        report = await bench.run(server, bench.manifest(4, retry={"doubtful": "reconcile"}))
        bench.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 4)
        assert report.cost["doubtful"] == 0


async def test_a_job_that_ended_meanwhile_is_taken_from_the_history_even_after_its_record(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(
        service=1, ttl=2, faults=Faults([faults.cut("submit", accepted=True, calls=[1])])
    ) as server:
        report = await bench.run(server, bench.manifest(1, retry={"doubtful": "reconcile"}))
        assert (report.exit_code, report.images, server.billed) == (0, 1, 1)
        assert report.cost["spent"] == round(server.spent, 6)


async def test_what_the_history_does_not_know_is_submitted_again(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, faults=Faults([faults.cut("submit", calls=[1])])) as server:
        report = await bench.run(server, bench.manifest(2, retry={"doubtful": "reconcile"}))
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)


async def test_without_a_history_it_is_held_and_said(bench: Bench, sandbox: MakeSandbox) -> None:
    heard: list[Event] = []
    script = Faults([faults.cut("submit", accepted=True, calls=[1]), faults.status("history", 404)])
    async with sandbox(service=5, faults=script) as server:
        report = await bench.run(server, bench.manifest(3, retry={"doubtful": "reconcile"}), heard.append)
        assert (report.exit_code, report.counts["doubtful"], len(server.jobs)) == (3, 1, 3)
        assert any(isinstance(event, Noted) and "batcher retry --doubtful" in event.text for event in heard)


async def test_two_tasks_with_one_body_are_never_given_one_job(bench: Bench, sandbox: MakeSandbox) -> None:
    script = Faults([faults.cut("submit", accepted=True, calls=[1, 2])])
    async with sandbox(service=30, faults=script) as server:
        manifest = bench.manifest(
            2, params={"prompt": "the same"}, retry={"doubtful": "reconcile"}, output={"name": "{{ place }}"}
        )
        report = await bench.run(server, manifest)
        ids = bench.rows("SELECT request_id FROM submissions WHERE outcome = 'completed'")
        assert len(set(ids)) == 2
        assert (report.counts["done"], server.billed) == (2, 2)


async def test_v1_gateway_answers_timeouts_and_cuts_are_doubt(bench: Bench, sandbox: MakeSandbox) -> None:
    script = Faults(
        [
            faults.status("sync", 504, calls=[1]),
            faults.cut("sync", accepted=True, calls=[2]),
            faults.hang("sync", calls=[3]),
        ]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await bench.run(server, bench.manifest(3, api="v1"))
        bench.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 3)
        assert bench.outcomes() == {"completed": 3, "doubtful": 3}


async def test_that_there_is_no_job_is_not_believed_of_an_early_look_when_the_later_ones_fail(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    def early() -> Iterator[int]:
        yield 200
        while True:
            yield 503

    script = Faults([faults.cut("submit", accepted=True, calls=[1])])
    async with sandbox(service=5, faults=script) as server, history_of(early()) as elsewhere:
        report = await run(
            bench.manifest(1, retry={"doubtful": "reconcile"}),
            account=Account(Endpoints(server.url, server.url, elsewhere), KEY),
            now=bench.now,
        )
        bench.check(report)
        assert (report.exit_code, report.counts["doubtful"], len(server.jobs)) == (3, 1, 1)


async def test_an_api_that_is_down_for_minutes_holds_nobody_whose_job_the_history_will_know(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.down(since=10, until=190)])
    async with sandbox(service=5, faults=script) as server:
        manifest = bench.manifest(40, limits={"rpm": 60}, retry={"doubtful": "reconcile"})
        report = await bench.run(server, manifest)
        bench.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 40, 40)


async def test_a_history_that_refuses_the_key_is_not_asked_again(bench: Bench, sandbox: MakeSandbox) -> None:
    script = Faults([faults.cut("submit", accepted=True, calls=[1]), faults.status("history", 401)])
    async with sandbox(service=5, faults=script) as server:
        report = await bench.run(server, bench.manifest(3, retry={"doubtful": "reconcile"}))
        assert (report.exit_code, report.counts["doubtful"], report.counts["done"]) == (3, 1, 2)
        assert server.counts[Route.HISTORY] == 1


async def test_a_job_whose_own_answer_is_still_to_come_is_not_given_to_a_twin(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.cut("submit", calls=[1]), faults.slow("submit", delay=50, calls=[2])])
    async with sandbox(service=5, faults=script) as server:
        manifest = bench.manifest(2, params={"prompt": "the same"}, retry={"doubtful": "reconcile"})
        report = await bench.run(server, manifest)
        bench.check(report)
        ids = bench.rows("SELECT request_id FROM submissions WHERE outcome = 'completed'")
        assert (report.counts["done"], len(set(ids)), server.billed) == (2, 2, 2)
