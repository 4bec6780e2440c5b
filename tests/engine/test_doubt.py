"""A POST whose answer was lost: the one window that cannot be closed, counted and settled by policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import run
from batcher.progress import Event, Message
from batcher.sandbox import Faults, faults
from batcher.sandbox.faults import Route
from tests.support.harness import KEY, Harness
from tests.support.request_history import history_that
from tests.support.sandboxes import MakeSandbox


def with_statuses(statuses: Iterator[int]) -> Callable[[web.Request], web.Response]:
    """The answers of a request history that has no rows, with these statuses."""
    return lambda _: web.json_response([], status=next(statuses))


async def test_by_default_it_is_submitted_again_and_valued_as_perhaps_paid(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(
        service=5, price=0.02, faults=Faults([faults.Cut(route="submit", accepted=True, calls=[2])])
    ) as server:
        report = await harness.run(server, harness.manifest(4))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 5)
        assert harness.outcomes() == {"completed": 4, "doubtful": 1}
        assert report.cost["doubtful"] == 0.02
        assert report.cost["spent"] == 0.08


async def test_gateway_answers_are_submitted_again_and_kept_as_perhaps_paid(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [
            faults.Status(route="submit", code=502, calls=[1]),
            faults.Status(route="submit", code=504, calls=[2]),
        ]
    )
    async with sandbox(service=5, price=0.02, faults=script) as server:
        report = await harness.run(server, harness.manifest(4))
        assert (report.exit_code, server.billed) == (0, 4)
        assert harness.outcomes() == {"completed": 4, "gateway": 2}
        assert report.cost["doubtful"] == 0.04


@pytest.mark.parametrize("code", [520, 522, 524, 530, 599])
async def test_any_word_of_a_proxy_is_a_gateways(harness: Harness, sandbox: MakeSandbox, code: int) -> None:
    script = Faults([faults.Status(route="submit", code=code, page=True, accepted=True, calls=[1])])
    async with sandbox(service=5, price=0.02, faults=script) as server:
        report = await harness.run(server, harness.manifest(3))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 4)
        assert harness.outcomes() == {"completed": 3, "gateway": 1}
        assert report.cost["doubtful"] == 0.02


@pytest.mark.parametrize("code", [500, 501, 507])
async def test_a_server_error_fails_its_task_and_is_perhaps_paid(
    harness: Harness, sandbox: MakeSandbox, code: int
) -> None:
    script = Faults([faults.Status(route="submit", code=code, accepted=True, calls=[2])])
    async with sandbox(service=5, price=0.02, faults=script) as server:
        report = await harness.run(server, harness.manifest(3))
        harness.check(report)
        assert (report.exit_code, report.counts["failed"], server.billed) == (3, 1, 3)
        assert harness.outcomes() == {"completed": 2, "gateway": 1}
        assert report.cost["doubtful"] == 0.02
        (line,) = harness.lines("errors.jsonl")
        assert line["cost"]["doubtful"] == 0.02


@pytest.mark.parametrize(
    "fault",
    [
        faults.HalfJson(route="submit", share=0.1, calls=[1]),
        faults.NotJson(route="submit", calls=[1]),
        faults.Hang(route="submit", calls=[1]),
    ],
)
async def test_held_it_waits_and_the_run_says_so(
    harness: Harness, sandbox: MakeSandbox, fault: faults.Fault
) -> None:
    async with sandbox(service=5, faults=Faults([fault])) as server:
        manifest = harness.manifest(3, retry={"doubtful": "hold"})
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["doubtful"], report.counts["done"]) == (3, 1, 2)
        again = await harness.run(server, manifest)
        assert (again.counts["doubtful"], len(server.jobs)) == (1, 3)


async def test_the_history_names_the_job_and_it_is_adopted_not_paid_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Cut(route="submit", accepted=True, calls=[1, 3])])
    async with sandbox(service=30, faults=script) as server:
        report = await harness.run(server, harness.manifest(4, retry={"doubtful": "reconcile"}))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 4)
        assert report.cost["doubtful"] == 0


async def test_a_job_that_ended_meanwhile_is_taken_from_the_history_even_after_its_record(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(
        service=1, ttl=2, faults=Faults([faults.Cut(route="submit", accepted=True, calls=[1])])
    ) as server:
        report = await harness.run(server, harness.manifest(1, retry={"doubtful": "reconcile"}))
        assert (report.exit_code, report.images, server.billed) == (0, 1, 1)
        assert report.cost["spent"] == round(server.spent, 6)


async def test_what_the_history_does_not_know_is_submitted_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.Cut(route="submit", calls=[1])])) as server:
        report = await harness.run(server, harness.manifest(2, retry={"doubtful": "reconcile"}))
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)


async def test_without_a_history_it_is_held_and_said(harness: Harness, sandbox: MakeSandbox) -> None:
    heard: list[Event] = []
    script = Faults(
        [faults.Cut(route="submit", accepted=True, calls=[1]), faults.Status(route="history", code=404)]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(3, retry={"doubtful": "reconcile"}), heard.append)
        assert (report.exit_code, report.counts["doubtful"], len(server.jobs)) == (3, 1, 3)
        hint = f"`batcher retry {harness.output} --doubtful`"
        assert any(isinstance(event, Message) and hint in event.text for event in heard)


async def test_two_tasks_with_one_body_are_never_given_one_job(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Cut(route="submit", accepted=True, calls=[1, 2])])
    async with sandbox(service=30, faults=script) as server:
        manifest = harness.manifest(
            2, params={"prompt": "the same"}, retry={"doubtful": "reconcile"}, output={"name": "{{ place }}"}
        )
        report = await harness.run(server, manifest)
        ids = harness.rows("SELECT request_id FROM submissions WHERE outcome = 'completed'")
        assert len(set(ids)) == 2
        assert (report.counts["done"], server.billed) == (2, 2)


async def test_v1_gateway_answers_timeouts_and_cuts_are_doubt(harness: Harness, sandbox: MakeSandbox) -> None:
    script = Faults(
        [
            faults.Status(route="sync", code=504, calls=[1]),
            faults.Cut(route="sync", accepted=True, calls=[2]),
            faults.Hang(route="sync", calls=[3]),
        ]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(3, api="v1"))
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 3)
        assert harness.outcomes() == {"completed": 3, "doubtful": 3}


async def test_that_there_is_no_job_is_not_believed_of_an_early_look_when_the_later_ones_fail(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    def early() -> Iterator[int]:
        yield 200
        while True:
            yield 503

    script = Faults([faults.Cut(route="submit", accepted=True, calls=[1])])
    async with sandbox(service=5, faults=script) as server, history_that(with_statuses(early())) as elsewhere:
        report = await run(
            harness.manifest(1, retry={"doubtful": "reconcile"}),
            account=Account(Endpoints(server.url, server.url, elsewhere), KEY),
            now=harness.now,
        )
        harness.check(report)
        assert (report.exit_code, report.counts["doubtful"], len(server.jobs)) == (3, 1, 1)


async def test_an_api_that_is_down_for_minutes_holds_nobody_whose_job_the_history_will_know(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Down(since=10, until=190)])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(40, limits={"rpm": 60}, retry={"doubtful": "reconcile"})
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 40, 40)


async def test_a_history_that_refuses_the_key_is_not_asked_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [faults.Cut(route="submit", accepted=True, calls=[1]), faults.Status(route="history", code=401)]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(3, retry={"doubtful": "reconcile"}))
        assert (report.exit_code, report.counts["doubtful"], report.counts["done"]) == (3, 1, 2)
        assert server.counts[Route.HISTORY] == 1


async def test_a_job_whose_own_answer_is_still_to_come_is_not_given_to_a_twin(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Cut(route="submit", calls=[1]), faults.Slow(route="submit", delay=50, calls=[2])])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(2, params={"prompt": "the same"}, retry={"doubtful": "reconcile"})
        report = await harness.run(server, manifest)
        harness.check(report)
        ids = harness.rows("SELECT request_id FROM submissions WHERE outcome = 'completed'")
        assert (report.counts["done"], len(set(ids)), server.billed) == (2, 2, 2)
