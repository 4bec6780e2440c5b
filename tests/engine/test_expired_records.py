"""Expiry is another door: what a record does not tell any more, the request history does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from aiohttp import web

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import run
from batcher.progress import Event, Message
from batcher.results.report import Report
from batcher.sandbox import Faults, Sandbox, faults
from batcher.sandbox.faults import Route
from tests.support.harness import KEY, Harness
from tests.support.in_flight import left_in_flight
from tests.support.request_history import history_that
from tests.support.sandboxes import MakeSandbox

GONE = faults.Status(route="history", code=404)


def warnings(heard: list[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Message) and "history" in event.text]


async def run_with_history(
    harness: Harness, server: Sandbox, history: str, tasks: int, heard: list[Event], **changes: Any
) -> Report:
    return await run(
        harness.manifest(tasks, **changes),
        account=Account(Endpoints(server.url, server.url, history), KEY),
        listener=heard.append,
        now=harness.now,
    )


async def test_a_run_killed_with_twenty_in_flight_and_resumed_after_the_hour_pays_nothing_twice(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=30, price=0.02) as server:
        await left_in_flight(harness, server, 20)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, harness.manifest(20))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 20, 20)
        assert harness.outcomes() == {"completed": 20}
        assert (report.cost["lost"], report.cost["spent"]) == (0, round(server.spent, 6))
        assert report.calls["history"] == 20
        # Each was asked about once behind its deadline: a clock that was set is no proof.
        assert server.counts[Route.STATUS] >= 20


async def test_without_a_history_they_are_lost_and_that_is_told_once(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=30, faults=Faults([GONE])) as server:
        await left_in_flight(harness, server, 5)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, harness.manifest(5), heard.append)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 5, 10)
        assert harness.outcomes() == {"completed": 5, "lost": 5}
        assert report.cost["lost"] == 0.05
        assert len(warnings(heard)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.Status(route="history", code=404, page=True),
        faults.Html(route="history"),
        faults.Status(route="history", code=403),
        faults.Redirect(route="history", to="http://127.0.0.1:9"),
        faults.NonsenseRows(),
        faults.NonsenseRows(what=["other_ids"]),
        faults.NonsenseRows(what=["missing_keys"]),
        faults.NonsenseRows(what=["negative_costs"]),
    ],
    ids=lambda fault: repr(fault)[:60],
)
async def test_a_history_that_is_none_or_makes_no_sense_changes_no_row_and_is_told_once(
    harness: Harness, sandbox: MakeSandbox, fault: faults.Fault
) -> None:
    heard: list[Event] = []
    async with sandbox(service=30, faults=Faults([fault])) as server:
        await left_in_flight(harness, server, 3)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, harness.manifest(3, retry={"expired": "fail"}), heard.append)
        assert (report.exit_code, report.counts["failed"], server.billed) == (3, 3, 3)
        assert harness.outcomes() == {"lost": 3}
        assert harness.rows("SELECT count(*) FROM submissions WHERE cost IS NOT NULL") == [(0,)]
        assert len(warnings(heard)) == 1


def row_of(request: web.Request, **changes: Any) -> dict[str, Any]:
    return {
        "request_id": request.path.rpartition("/")[2],
        "model_name": "sd1.5-outpaint",
        "model_status": "COMPLETED",
        "credits_deduction": 0.01,
        "request_body": "{}",
        "generation_url": "https://images.example/a.png",
        "model_created": "2026-01-05T12:00:00Z",
    } | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"credits_deduction": "NaN"},
        {"credits_deduction": float("nan")},
        {"credits_deduction": 1e300},
        {"credits_deduction": 2e4},
        {"credits_deduction": True},
        {"credits_deduction": [0.01]},
        {"generation_url": "file:///etc/passwd"},
        {"generation_url": "ftp://files.example/a.png"},
        {"generation_url": "https://user:word@files.example/a.png"},
        {"generation_url": "http://[x"},
        {"generation_url": ["https://images.example/a.png"]},
        {"request_id": 7},
        {"model_status": None},
        {"request_body": "x" * 10_000_000},
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
async def test_a_row_that_cannot_be_true_is_believed_in_nothing(
    harness: Harness, sandbox: MakeSandbox, changes: dict[str, Any]
) -> None:
    heard: list[Event] = []

    def answer(request: web.Request) -> web.Response:
        return web.json_response(row_of(request, **changes))

    async with sandbox(service=30) as server, history_that(answer) as history:
        await left_in_flight(harness, server, 2)
        await anyio.sleep(2 * 3600)
        report = await run_with_history(harness, server, history, 2, heard, retry={"expired": "fail"})
        assert (report.counts["failed"], harness.outcomes()) == (2, {"lost": 2})
        assert harness.rows("SELECT count(*) FROM files") == [(0,)]
        assert len(warnings(heard)) == 1


async def test_a_relative_url_is_taken_from_the_address_of_the_answer(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    def answer(request: web.Request) -> web.Response:
        return web.json_response({"data": [row_of(request, generation_url="/files/a.png")]})

    async with sandbox(service=30) as server, history_that(answer) as history:
        await left_in_flight(harness, server, 1)
        await anyio.sleep(2 * 3600)
        await run_with_history(harness, server, history, 1, [], retry={"attempts": 1})
        assert harness.rows("SELECT url FROM files") == [(f"{history}/files/a.png",)]


async def test_what_failed_meanwhile_is_failed_and_not_billed(harness: Harness, sandbox: MakeSandbox) -> None:
    script = Faults([faults.Failed(error="CUDA out of memory")])
    async with sandbox(service=30, faults=script) as server:
        await left_in_flight(harness, server, 2)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, harness.manifest(2))
        assert (report.exit_code, report.counts["failed"], len(server.jobs)) == (3, 2, 2)
        assert harness.outcomes() == {"failed": 2}
        assert dict(report.failures) == {"FAILED: CUDA out of memory": 2}


async def test_what_goes_on_behind_its_hour_is_asked_about_until_it_ends(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=700, ttl=600) as server:
        report = await harness.run(server, harness.manifest(2, result_ttl="10m"))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)


async def test_a_history_that_does_not_answer_now_leaves_the_task_to_the_next_run(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Status(route="history", code=503, until=10_000)])
    async with sandbox(service=30, faults=script) as server:
        await left_in_flight(harness, server, 2)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, harness.manifest(2))
        assert (report.exit_code, report.counts["submitted"], len(server.jobs)) == (5, 2, 2)
        await anyio.sleep(3600)
        report = await harness.run(server, harness.manifest(2))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)


async def test_several_outputs_come_from_the_list_of_that_day(harness: Harness, sandbox: MakeSandbox) -> None:
    script = Faults([faults.PageCap(rows=3), faults.TeammateRows()])
    async with sandbox(service=30, faults=script) as server:
        params = {"image": "https://photos.example/one.png", "prompt": "{{ place }}", "samples": 3}
        params |= {"mask": "https://photos.example/mask.png"}
        changes: dict[str, Any] = {"model": "sd1.5-inpainting", "params": params}
        await left_in_flight(harness, server, 2, **changes)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, harness.manifest(2, **changes))
        harness.check(report)
        assert (report.exit_code, report.images, server.billed) == (0, 6, 2)
        assert report.cost["spent"] == round(server.spent, 6)


async def test_a_dead_link_behind_the_hour_is_had_from_the_history(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.DeadLink(), faults.Status(route="download", code=403, until=60)])
    async with sandbox(service=5, ttl=30, faults=script) as server:
        manifest = harness.manifest(3, result_ttl="30s", retry={"attempts": 1})
        report = await harness.run(server, manifest)
        assert (report.exit_code, report.counts["ready"]) == (5, 3)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, harness.manifest(3, retry={"attempts": 2}))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)


async def test_a_clock_that_is_set_two_hours_on_pays_for_nothing(
    harness: Harness, sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    steps = 0.0
    harness.now = lambda: now() + steps
    async with sandbox(service=60, sigma=0) as server:
        manifest = harness.manifest(12)
        async with anyio.create_task_group() as beside:
            reports: list[Report] = []

            async def running() -> None:
                reports.append(await harness.run(server, manifest))

            beside.start_soon(running)
            while not harness.output.exists() or harness.states().get("submitted", 0) < 12:
                await anyio.sleep(0.1)
            steps = 2 * 3600.0
        assert (reports[0].exit_code, reports[0].counts["done"], server.billed) == (0, 12, 12)
        assert (reports[0].calls["history"], server.counts[Route.HISTORY]) == (0, 0)


async def test_a_resumed_task_whose_record_answers_behind_the_wall_clocks_hour_is_waited_for(
    harness: Harness, sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    async with sandbox(service=1500, sigma=0) as server:
        await left_in_flight(harness, server, 3)
        harness.now = lambda: now() + 2 * 3600.0
        report = await harness.run(server, harness.manifest(3))
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)


async def test_a_clock_that_is_set_back_delays_nothing(
    harness: Harness, sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    async with sandbox(service=60, sigma=0) as server:
        await left_in_flight(harness, server, 3)
        harness.now = lambda: now() - 2 * 3600.0
        began = now()
        report = await harness.run(server, harness.manifest(3))
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)
        assert now() - began < 120
