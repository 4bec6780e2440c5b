"""A thousand tasks with every fault of the sandbox on at once: all ends well or for a stated reason, and
counts and credits reconcile to the last one."""

from __future__ import annotations

import pytest

from batcher.sandbox import Faults, faults
from conftest import MakeSandbox
from engine.bench import Bench

CHAOS = [
    faults.throttle("submit", rate=0.02, reset_in=3),
    faults.throttle(["submit", "status", "result"], rate=0.01, reset_in=None),
    faults.throttle("status", rate=0.01, reset_in=None, retry_after="7.5"),
    faults.status(["submit", "status", "result", "upload"], 502, rate=0.02),
    faults.status(["submit", "status", "result"], 504, page=True, rate=0.02),
    faults.status(["status", "result"], 500, rate=0.02),
    faults.html(["status", "result"], rate=0.02),
    faults.cut(["submit", "status", "result"], rate=0.02),
    faults.cut("submit", accepted=True, rate=0.02),
    faults.hang("submit", rate=0.005),
    faults.half_json(["submit", "status", "result"], rate=0.01),
    faults.not_json("submit", rate=0.005),
    faults.failed("CUDA out of memory", rate=0.02),
    faults.failed("blocked by RAI policy", rate=0.01),
    faults.stuck(rate=0.005),
    faults.hidden(2.0, rate=0.05),
    faults.dead_link(rate=0.02),
    faults.truncated(rate=0.02),
    faults.empty(rate=0.02),
    faults.not_an_image(rate=0.02),
    faults.short(rate=0.02),
    faults.slow_body(rate=0.01),
    faults.slow(["submit", "status", "result"], rate=0.02),
]


@pytest.mark.parametrize("tasks", [1000])
async def test_everything_goes_wrong_at_once_and_every_credit_is_accounted_for(
    bench: Bench, sandbox: MakeSandbox, tasks: int
) -> None:
    async with sandbox(service=5, price=0.01, faults=Faults(CHAOS, seed=7)) as server:
        manifest = bench.manifest(tasks, retry={"attempts": 12}, limits={"rpm": 3000, "downloads": 32})
        report = await bench.run(server, manifest)
        while report.counts["ready"]:
            report = await bench.run(server, manifest)
        bench.check(report)
        counts, outcomes = report.counts, bench.outcomes()
        assert counts["done"] + counts["failed"] == tasks
        assert {reason.split(":")[0] for reason in report.failures} <= {"FAILED", "EXPIRED"}
        paid = {job.request_id for job in server.jobs.values() if job.state == "COMPLETED"}
        known = {one for (one,) in bench.rows("SELECT request_id FROM submissions WHERE request_id NOT NULL")}
        paid_unknown = len(paid - known)
        assert paid_unknown <= outcomes["doubtful"], "paid twice: only where an answer was really lost"
        assert outcomes["completed"] == counts["done"] == report.images
        lost = {one for (one,) in bench.rows("SELECT request_id FROM submissions WHERE outcome = 'lost'")}
        assert server.billed == outcomes["completed"] + paid_unknown + len(paid & lost)
        assert report.cost["spent"] == pytest.approx(outcomes["completed"] * 0.01)
        assert report.cost["doubtful"] == pytest.approx((outcomes["doubtful"] + outcomes["gateway"]) * 0.01)
        assert report.cost["reserved"] == 0
        assert report.audit is not None
        assert report.audit["difference"] == pytest.approx((paid_unknown + len(paid & lost)) * 0.01)
        assert sum(outcomes.values()) == report.calls["submit"]
