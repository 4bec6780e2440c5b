"""`limits.in_flight: auto`: the rate is used up, whatever jobs take and nobody having said a number."""

from __future__ import annotations

import re
import statistics

import anyio
import pytest
from PIL import Image

from batcher.cli import text_tables
from batcher.progress import Event, Snapshot
from batcher.results import report
from batcher.sandbox import Faults, Sandbox, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

TRAVEL = 0.08
"""Seconds of a round trip that are simulated."""
FAR_AWAY = faults.Slow(route=["submit", "status", "result"], delay=TRAVEL)


class Watch:
    """A listener that keeps what snapshots say of the jobs in flight."""

    def __init__(self) -> None:
        self.limits: list[int] = []
        self.in_flight: list[int] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Snapshot):
            self.limits.append(event.in_flight_limit)
            self.in_flight.append(event.in_flight)


def makespan(server: Sandbox) -> float:
    """Seconds from the first submit to the last job's end."""
    jobs = server.jobs.values()
    return max(job.finished_at or 0.0 for job in jobs) - min(job.submitted_at for job in jobs)


@pytest.mark.parametrize(
    ("rpm", "service", "tasks"),
    [(500, 15, 200), (500, 25, 250), (1000, 5, 200), (1000, 25, 400), (1200, 10, 250)],
)
async def test_the_rate_is_used_up_with_no_in_flight_said(
    harness: Harness, sandbox: MakeSandbox, rpm: int, service: float, tasks: int
) -> None:
    async with sandbox(
        service=service, sigma=0.05, rpm=rpm, workers=2000, pictures=False, faults=Faults([FAR_AWAY])
    ) as server:
        watch = Watch()
        # What the guard of expiry holds back at the start of an hour's life is not the matter here.
        report = await harness.run(
            server, harness.manifest(tasks, limits={"rpm": rpm}, result_ttl="3h"), watch
        )
        assert (report.exit_code, report.counts["done"]) == (0, tasks)
        ideal = 60 * (tasks - 1) / rpm + service
        assert makespan(server) <= 1.2 * ideal
        assert max(watch.in_flight) <= 1.1 * rpm / 60 * (service + 3)


async def test_a_rate_that_falls_takes_the_jobs_in_flight_down_with_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=10, sigma=0.1, rpm=600, workers=2000, pictures=False) as server:

        async def fall() -> None:
            while len(server.jobs) < 120:
                await anyio.sleep(0.5)
            server.allow(60)

        watch = Watch()
        async with anyio.create_task_group() as beside:
            beside.start_soon(fall)
            report = await harness.run(server, harness.manifest(260, limits={"rpm": 600}), watch)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 260, 260)
        assert max(watch.in_flight) >= 90
        assert statistics.median(watch.limits[-40:]) <= 45


async def test_a_model_that_slows_down_tenfold_is_followed_before_its_first_slow_job_ends(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=3, sigma=0.1, rpm=300, workers=2000, pictures=False) as server:

        async def slow_down() -> None:
            while len(server.jobs) < 100:
                await anyio.sleep(0.5)
            server.serve_in(30)

        watch = Watch()
        async with anyio.create_task_group() as beside:
            beside.start_soon(slow_down)
            report = await harness.run(server, harness.manifest(260, limits={"rpm": 300}), watch)
        assert (report.exit_code, report.counts["done"]) == (0, 260)
        assert makespan(server) <= 1.2 * (260 / 5 + 30)


async def test_no_more_are_in_flight_than_max_cost_has_room_for(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, sigma=0.1, price=0.01, workers=2000, pictures=False) as server:
        watch = Watch()
        limits = {"rpm": 600, "max_cost": 0.03}
        report = await harness.run(server, harness.manifest(20, limits=limits), watch)
        assert (report.exit_code, report.counts["done"], server.billed) == (4, 3, 3)
        assert max(watch.limits) <= 3


async def test_pictures_are_uploaded_ahead_of_their_turn_as_far_as_the_rate_needs(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    rows = []
    for number in range(60):
        path = harness.folder / f"{number}.png"
        Image.new("RGB", (32, 32), (number, 0, 0)).save(path)
        rows.append({"place": f"place {number}", "picture": str(path)})
    slow = faults.Slow(route="upload", delay=3)
    async with sandbox(
        service=5, sigma=0.1, rpm=600, workers=2000, pictures=False, faults=Faults([slow])
    ) as server:
        job = harness.manifest(
            60, inputs=[{"rows": rows}], params={"image": "{{ picture }}"}, limits={"rpm": 600}
        )
        report = await harness.run(server, job)
        assert (report.exit_code, report.counts["done"]) == (0, 60)
        submitted = [arrival.at for arrival in server.arrivals if arrival.kind == "submit"]
        assert max(submitted) - min(submitted) <= 60 / 10 + 5


@pytest.mark.parametrize(
    ("in_flight", "words"),
    [
        (
            "auto",
            r"in flight +(\d+) now; (\d+) allowed at the moment \(auto\), 2,000 at the most; \1 requ",
        ),
        (7, r"in flight +7 now; 7 allowed; 7 requ"),
    ],
)
async def test_who_looks_from_outside_sees_how_many_may_be_in_flight(
    harness: Harness,
    sandbox: MakeSandbox,
    in_flight: int | str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[report.Report] = []

    async def looked_at() -> None:
        await anyio.sleep(8)
        seen.append(report.of_folder(harness.output, now=harness.now()))

    async with sandbox(service=20, rpm=600, workers=500) as server, anyio.create_task_group() as beside:
        beside.start_soon(looked_at)
        await harness.run(server, harness.manifest(60, limits={"rpm": 600, "in_flight": in_flight}))
    (during,) = seen
    text_tables.status_table(during)
    assert re.search(words, capsys.readouterr().out)
    assert during.in_flight is not None
    assert (during.in_flight.auto, during.in_flight.most) == (
        (True, 2000) if in_flight == "auto" else (False, 7)
    )
    assert during.counts["submitted"] <= during.in_flight.size
    after = report.of_folder(harness.output, now=harness.now())
    assert after.in_flight is None, "nothing is in flight where nothing runs"
