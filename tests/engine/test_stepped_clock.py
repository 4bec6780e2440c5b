"""The wall clock is set while a run goes on: nothing is paid for it, nothing is lost, and nothing waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batcher.results.report import Report
from batcher.sandbox import Faults, Sandbox, faults
from batcher.sandbox.faults import Fault
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

HOUR = 3600.0
TROUBLES: dict[str, list[Fault]] = {
    "no history": [faults.Status(route="history", code=404), faults.Hidden(delay=5.0)],
    "retries": [
        faults.Status(route=["submit", "upload"], code=502, every=3),
        faults.Status(route="status", code=503, every=4),
    ],
    "throttled": [faults.Throttle(route="submit", calls=[3, 7], reset_in=20)],
}


class SetClock:
    """A wall clock that is set by `by` seconds, `at` seconds after the run began."""

    def __init__(self, now: Callable[[], float], at: float, by: float) -> None:
        self._now = now
        self._at = now() + at
        self._by = by

    def __call__(self) -> float:
        now = self._now()
        return now + self._by if now >= self._at else now


async def ran(
    harness: Harness, server: Sandbox, now: Callable[[], float], **retry: str
) -> tuple[Report, float]:
    began = now()
    report = await harness.run(server, harness.manifest(8, limits={"rpm": 120}, retry=retry))
    return report, now() - began


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("by", [2 * HOUR, -2 * HOUR])
@pytest.mark.parametrize("at", [0.3, 1.7, 3.1, 9.0, 31.0])
async def test_a_clock_that_is_set_at_any_moment_neither_pays_nor_loses_nor_delays(
    harness: Harness, sandbox: MakeSandbox, now: Callable[[], float], trouble: str, by: float, at: float
) -> None:
    async with sandbox(service=30, sigma=0.2, faults=Faults(TROUBLES[trouble], seed=3)) as server:
        harness.now = SetClock(now, at, by)
        report, seconds = await ran(harness, server, now)
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 8)
        assert (server.billed, len(server.jobs), report.cost["lost"]) == (8, 8, 0)
        assert seconds < 200


@pytest.mark.parametrize("by", [2 * HOUR, -2 * HOUR])
@pytest.mark.parametrize("at", [0.6, 2.6, 20.0])
async def test_under_reconcile_a_clock_that_is_set_pays_nothing_twice(
    harness: Harness, sandbox: MakeSandbox, now: Callable[[], float], by: float, at: float
) -> None:
    script = [
        faults.Cut(route="submit", accepted=True, calls=[2, 6]),
        faults.Cut(route="submit", calls=[4]),
        faults.LateRows(delay=60),
    ]
    async with sandbox(service=30, sigma=0.2, faults=Faults(script)) as server:
        harness.now = SetClock(now, at, by)
        report, _ = await ran(harness, server, now, doubtful="reconcile")
        harness.check(report)
        assert report.counts["done"] + report.counts["doubtful"] == 8
        assert len({job.body["prompt"] for job in server.jobs.values()}) == len(server.jobs)


async def test_a_record_that_is_gone_before_its_hour_is_had_from_the_history(
    harness: Harness, sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    """This machine slept, or the provider keeps records for less than was said: the loop's clock says that
    the record lives, and it is asked for in vain."""
    async with sandbox(service=30, sigma=0, ttl=25) as server:
        report, seconds = await ran(harness, server, now)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 8, 8)
        assert seconds < 300
