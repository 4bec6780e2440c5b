"""The limit is kept, and used up: asserted on the arrival times that the sandbox saw."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import pytest

from batcher.sandbox import Arrival, Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

COUNTED = ("submit", "status", "result")


def busiest(arrivals: Iterable[Arrival], kinds: tuple[str, ...], seconds: float = 60.0) -> int:
    """The most calls of these kinds that fell into any stretch of so many seconds."""
    times = [arrival.at for arrival in arrivals if arrival.kind in kinds]
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


async def test_told_right_no_minute_holds_more_than_the_limit_and_nothing_is_throttled(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=3, sigma=0.5, rpm=120) as server:
        began = harness.now()
        report = await harness.run(server, harness.manifest(300, limits={"rpm": 120}))
        assert (report.exit_code, report.counts["done"], report.calls["throttled"]) == (0, 300, 0)
        assert busiest(server.arrivals, ("submit",)) <= 120
        assert harness.now() - began <= 1.03 * 300 / 2 + 10


async def test_told_ten_times_too_much_the_real_limit_is_found_at_the_price_of_a_few_429s(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=3, sigma=0.5, rpm=60) as server:
        began = harness.now()
        report = await harness.run(server, harness.manifest(300, limits={"rpm": 600}))
        assert (report.exit_code, report.counts["done"]) == (0, 300)
        assert report.calls["throttled"] <= 0.015 * 300
        assert harness.now() - began <= 1.05 * 300 + 10


@pytest.mark.parametrize("rpm", [60, 120])
async def test_where_every_call_counts_and_nobody_said_so_three_calls_make_a_picture(
    harness: Harness, sandbox: MakeSandbox, rpm: int
) -> None:
    async with sandbox(service=15, rpm=rpm, metered="all", workers=64) as server:
        report = await harness.run(server, harness.manifest(150, limits={"rpm": rpm}))
        assert (report.exit_code, report.counts["done"]) == (0, 150)
        calls = sum(report.calls[kind] for kind in COUNTED)
        assert calls / 150 <= 3.7
        assert report.calls["throttled"] <= 12


@pytest.mark.parametrize("seed", range(4))
async def test_the_last_picture_of_a_run_is_noticed_sooner_where_asking_proved_to_cost_nothing(
    harness: Harness, sandbox: MakeSandbox, seed: int
) -> None:
    async with sandbox(service=15, sigma=0.5, rpm=120, seed=seed) as server:
        await harness.run(server, harness.manifest(100, limits={"rpm": 120}, poll={"delay": "2s"}))
        last = max(job.finished_at or 0.0 for job in server.jobs.values())
        assert harness.now() - last <= 1.1


async def test_a_small_run_asks_no_oftener_at_its_end_since_all_calls_may_count(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    asked = {}
    for metered in ("auto", "submits"):
        async with sandbox(service=15, rpm=60, seed=1) as server:
            job = harness.manifest(3, limits={"rpm": 60, "metered": metered}, output={"dir": metered})
            asked[metered] = (await harness.run(server, job)).calls["status"]
    assert asked["auto"] <= 0.7 * asked["submits"]


@pytest.mark.parametrize(
    ("told", "later", "ttl", "metered"),
    [(600, 12, 600, "auto"), (600, 12, 600, "all"), (300, 30, 600, "all"), (60, 6, 1200, "auto")],
)
async def test_a_rate_that_falls_hard_while_many_are_in_flight_costs_no_result(
    harness: Harness, sandbox: MakeSandbox, told: int, later: int, ttl: int, metered: str
) -> None:
    tasks = 80
    async with sandbox(service=15, sigma=0.5, rpm=told, metered="all", workers=64, ttl=ttl) as server:

        async def fall() -> None:
            while len(server.jobs) < 50:
                await anyio.sleep(0.5)
            server.allow(later)

        manifest = harness.manifest(tasks, limits={"rpm": told, "metered": metered}, result_ttl=f"{ttl}s")
        async with anyio.create_task_group() as beside:
            beside.start_soon(fall)
            report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, tasks, tasks)
        assert harness.outcomes()["lost"] == 0
        assert report.calls["throttled"] <= 12


@pytest.mark.parametrize("reset_in", [3, 20, 60])
async def test_429s_that_come_at_every_rate_pause_the_calls_but_do_not_wear_the_rate_down(
    harness: Harness, sandbox: MakeSandbox, reset_in: int
) -> None:
    stray = faults.Throttle(route=["submit", "status", "result"], rate=0.1, reset_in=reset_in)
    async with sandbox(service=5, faults=Faults([stray], seed=3)) as server:
        began = harness.now()
        report = await harness.run(server, harness.manifest(120, limits={"rpm": 600}))
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 120, 120)
        assert harness.outcomes()["lost"] == 0
        paused = report.calls["throttled"] * reset_in
        assert harness.now() - began <= 1.2 * paused + 120
