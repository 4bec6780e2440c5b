"""`retry.doubtful: reconcile` never guesses: what the history tells is adopted when it is ours, and believed
to be nothing only when that is proven."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import anyio
import pytest

from batcher.api.wire import HistoryRow
from batcher.engine.calibration import KnownJob, calibrated
from batcher.progress import Event, Message
from batcher.sandbox import Faults, Sandbox, faults
from batcher.sandbox.faults import Fault, Route
from tests.support.crashing import dying
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

RECONCILE = {"doubtful": "reconcile"}

HISTORIES: dict[str, list[Fault]] = {
    "as it is": [],
    "repr": [faults.RequestBodies(form="repr")],
    "json": [faults.RequestBodies(form="json")],
    "mixed": [faults.RequestBodies(form="mixed")],
    "5000 newer": [faults.NoiseRows(rows=5000, until=400)],
    "late by a minute": [faults.LateRows(delay=60)],
    "nine seconds off": [faults.SkewedStamps(by=9)],
    "nine seconds behind": [faults.SkewedStamps(by=-9)],
    "local time": [faults.SkewedStamps(by=330 * 60, zone=False)],
    "teammates": [faults.TeammateRows(count=2)],
    "defaults": [faults.RequestBodies(defaults=True)],
    "floats": [faults.RequestBodies(floats=True, form="repr")],
    "wrapped": [faults.RequestBodies(wrapped="input", form="json")],
    "filled in late": [faults.RequestBodies(delay=40)],
    "titles": [faults.ModelTitles()],
    "capped pages": [faults.PageCap(rows=3)],
    "all at once": [
        faults.RequestBodies(form="repr", defaults=True, wrapped="input"),
        faults.TeammateRows(),
        faults.SkewedStamps(by=-90),
        faults.PageCap(rows=7),
        faults.LateRows(delay=45),
    ],
}
EMPTY: dict[str, list[Fault]] = {
    "absent": [faults.Status(route="history", code=404)],
    "a page": [faults.Html(route="history")],
    "forbidden": [faults.Status(route="history", code=403)],
    "nonsense": [faults.NonsenseRows()],
    "foreign ids": [faults.NonsenseRows(what=["other_ids"])],
    "empty": [faults.LateRows(delay=1e6)],
    "silent": [faults.Status(route="history", code=503)],
}


KILLED = [*(name for name in HISTORIES if name != "5000 newer"), "silent", "absent"]


@pytest.mark.parametrize("name", [*HISTORIES, *EMPTY])
async def test_of_lost_answers_nothing_is_paid_twice_whatever_the_history_is_like(
    harness: Harness, sandbox: MakeSandbox, name: str
) -> None:
    """One was accepted, another was not; both answers are lost."""
    history = HISTORIES.get(name) or EMPTY.get(name) or []
    script = [
        faults.Cut(route="submit", accepted=True, calls=[2]),
        faults.Cut(route="submit", calls=[4]),
        *history,
    ]
    async with sandbox(service=30, faults=Faults(script)) as server:
        params = {"prompt": "a street, isn't it, in {{ place }}", "strength": 1}
        manifest = harness.manifest(6, params=params, retry=RECONCILE)
        report = await harness.run(server, manifest)
        harness.check(report)
        assert len(server.jobs) == server.billed
        if name in EMPTY:
            assert (report.exit_code, report.counts["doubtful"], report.counts["done"]) == (3, 2, 4)
            assert server.billed == 5
        else:
            assert (report.exit_code, report.counts["done"], server.billed) == (0, 6, 6)
            assert report.cost["spent"] == round(server.spent, 6)


async def test_what_was_held_is_looked_for_again_by_the_next_run(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    script = [
        faults.Cut(route="submit", accepted=True, calls=[1]),
        faults.Cut(route="submit", calls=[2]),
        faults.Status(route="history", code=503, until=5000),
    ]
    async with sandbox(service=30, faults=Faults(script)) as server:
        manifest = harness.manifest(4, retry=RECONCILE)
        report = await harness.run(server, manifest, heard.append)
        assert (report.exit_code, report.counts["doubtful"]) == (3, 2)
        await anyio.sleep(6000)
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 4)


@pytest.mark.parametrize("by", [-7200, -240, -9, 9, 240, 7200])
async def test_a_clock_that_is_set_between_two_processes_has_nothing_paid_twice(
    harness: Harness, sandbox: MakeSandbox, now: Callable[[], float], by: float
) -> None:
    """What the first left in doubt was stamped by the clock as it was; the jobs that the second makes by the
    clock as it is now calibrate another skew."""
    script = [
        faults.Cut(route="submit", accepted=True, calls=[1, 4]),
        faults.Cut(route="submit", calls=[2]),
        faults.Status(route="history", code=503, until=5000),
    ]
    async with sandbox(service=30, faults=Faults(script)) as server:
        report = await harness.run(server, harness.manifest(4, retry=RECONCILE))
        assert (report.exit_code, report.counts["doubtful"]) == (3, 3)
        await anyio.sleep(6000)
        harness.now = lambda: now() + by
        for _ in range(2):
            report = await harness.run(server, harness.manifest(6, retry=RECONCILE))
            harness.check(report)
            assert len({job.body["prompt"] for job in server.jobs.values()}) == len(server.jobs)
            assert report.counts["done"] + report.counts["doubtful"] == 6
        assert report.counts["done"] >= 3
        assert report.cost["spent"] == round(0.01 * report.counts["done"], 6)


async def test_without_a_job_that_the_ledger_knows_nothing_is_proven_and_that_is_told(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5, faults=Faults([faults.Cut(route="submit", calls=[1])])) as server:
        manifest = harness.manifest(1, retry=RECONCILE)
        report = await harness.run(server, manifest, heard.append)
        assert (report.exit_code, report.counts["doubtful"], len(server.jobs)) == (3, 1, 0)
        said = [event.text for event in heard if isinstance(event, Message) and "prove" in event.text]
        assert len(said) == 1


async def test_a_job_of_a_teammate_is_not_adopted(harness: Harness, sandbox: MakeSandbox) -> None:
    """A teammate sends the very same body; ours was never accepted."""
    script = [faults.Cut(route="submit", calls=[1])]
    async with sandbox(service=5, faults=Faults(script)) as server:
        manifest = harness.manifest(3, retry=RECONCILE)
        async with anyio.create_task_group() as beside:
            beside.start_soon(_teammate, server)
            report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 4)


async def _teammate(server: Sandbox) -> None:
    await anyio.sleep(1)
    body = {"image": "https://photos.example/one.png", "prompt": "a street in place 0"}
    async with aiohttp.ClientSession(headers={"x-api-key": "SG_ffffffffffffffff"}) as session:
        await session.post(f"{server.url}/v2/sd1.5-outpaint", json=body)


@pytest.mark.parametrize(("number", "name"), [*enumerate(KILLED)])
async def test_a_process_killed_anywhere_and_resumed_after_the_hour_pays_nothing_twice_under_any_history(
    harness: Harness, sandbox: MakeSandbox, number: int, name: str
) -> None:
    script = HISTORIES.get(name) or EMPTY.get(name) or []
    async with sandbox(service=30, faults=Faults(script)) as server:
        manifest = harness.manifest(8, retry={**RECONCILE, "expired": "fail"})
        await _killed(harness, server, 20 + 4 * number)
        await anyio.sleep(2 * 3600)
        report = await harness.run(server, manifest)
        harness.check(report)
        assert len({job.body["prompt"] for job in server.jobs.values()}) == len(server.jobs) <= 8
        if name not in EMPTY:
            assert (report.exit_code, report.counts["done"], server.billed) == (0, 8, 8)
            assert report.cost["lost"] == 0


async def _killed(harness: Harness, server: Sandbox, at: int) -> None:
    with dying(at) as points:
        await harness.run(server, harness.manifest(8, retry=RECONCILE))
    assert points.dead


async def test_doubts_that_wait_for_the_same_days_share_one_reading(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = [faults.Cut(route="submit", accepted=True, calls=[2, 3, 5, 6, 8, 9, 11, 12])]
    async with sandbox(service=30, faults=Faults(script)) as server:
        report = await harness.run(server, harness.manifest(14, retry=RECONCILE))
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 14, 14)
        assert server.counts[Route.HISTORY] <= 8 + 4


# --- what a known job teaches, without a server


def known(told: Any, sent: dict[str, Any], *, model: str = "m", late: float = 0.0) -> KnownJob:
    return KnownJob(HistoryRow("r", model, "COMPLETED", told, 1000.0 + late), sent, 1000.0)


def row(body: Any, *, model: str = "m", at: float | None = 1000.0) -> HistoryRow:
    return HistoryRow("x", model, "COMPLETED", body, at)


def test_added_parameters_wrappers_titles_and_clocks_are_learned() -> None:
    sent = {"prompt": "a", "steps": 20}
    calibration = calibrated(
        "m", [known({"input": {"prompt": "a", "steps": 20.0, "cfg": 7}}, sent, model="M", late=90)]
    )
    assert calibration is not None
    told = row({"input": {"prompt": "b", "steps": 20, "cfg": 9}}, model="M", at=1090.0)
    assert calibration.matches(told, {"prompt": "b", "steps": 20}) is True
    assert calibration.matches(told, {"prompt": "c", "steps": 20}) is False
    assert calibration.matches(row({"input": {"prompt": "b", "other": 1}}), {"prompt": "b"}) is False
    assert calibration.matches(row({"prompt": "b"}), {"prompt": "b"}) is None
    assert calibration.matches(row(None), {"prompt": "b"}) is None
    assert calibration.may_be(told, 1000.0)
    assert not calibration.may_be(row({}, model="other", at=1090.0), 1000.0)
    assert not calibration.may_be(row({}, at=1020.0), 1000.0)


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        [known(None, {"a": 1})],
        [known({"a": 2}, {"a": 1})],
        [known({"a": 1}, {"a": 1}), known({"a": 9}, {"a": 2})],
        [known({"a": True}, {"a": 1})],
        [known({"a": "1"}, {"a": 1})],
    ],
)
def test_a_history_that_does_not_tell_a_known_job_as_it_was_sent_teaches_nothing(
    jobs: Sequence[KnownJob],
) -> None:
    assert calibrated("m", jobs) is None
