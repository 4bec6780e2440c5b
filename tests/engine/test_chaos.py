"""A thousand tasks with every fault of the sandbox on at once: all ends well or for a stated reason, and
counts and credits reconcile to the last one."""

from __future__ import annotations

import anyio
import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import audit
from batcher.sandbox import Faults, faults
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox

CHAOS = [
    faults.Throttle(route="submit", rate=0.02, reset_in=3),
    faults.Throttle(route=["submit", "status", "result"], rate=0.01, reset_in=None),
    faults.Throttle(route="status", rate=0.01, reset_in=None, retry_after="7.5"),
    faults.Status(route=["submit", "status", "result", "upload"], code=502, rate=0.02),
    faults.Status(route=["submit", "status", "result"], code=504, page=True, rate=0.02),
    faults.Status(route=["status", "result"], code=500, rate=0.02),
    faults.Html(route=["status", "result"], rate=0.02),
    faults.Cut(route=["submit", "status", "result"], rate=0.02),
    faults.Cut(route="submit", accepted=True, rate=0.02),
    faults.Hang(route="submit", rate=0.005),
    faults.HalfJson(route=["submit", "status", "result"], rate=0.01),
    faults.NotJson(route="submit", rate=0.005),
    faults.Failed(error="CUDA out of memory", rate=0.02),
    faults.Failed(error="blocked by RAI policy", rate=0.01),
    faults.Stuck(rate=0.005),
    faults.Hidden(delay=2.0, rate=0.05),
    faults.DeadLink(rate=0.02),
    faults.Truncated(rate=0.02),
    faults.Empty(rate=0.02),
    faults.NotAnImage(rate=0.02),
    faults.Short(rate=0.02),
    faults.SlowBody(rate=0.01),
    faults.Slow(route=["submit", "status", "result"], rate=0.02),
]


@pytest.mark.parametrize("tasks", [1000])
async def test_everything_goes_wrong_at_once_and_every_credit_is_accounted_for(
    harness: Harness, sandbox: MakeSandbox, tasks: int
) -> None:
    async with sandbox(service=5, price=0.01, faults=Faults(CHAOS, seed=7)) as server:
        manifest = harness.manifest(tasks, retry={"attempts": 12}, limits={"rpm": 3000, "downloads": 32})
        reports = [await harness.run(server, manifest)]
        while reports[-1].counts["ready"] or reports[-1].counts["planned"]:
            reports.append(await harness.run(server, manifest))
        report = reports[-1]
        harness.check(report)
        counts, outcomes = report.counts, harness.outcomes()
        held = harness.rows(
            "SELECT detail FROM submissions WHERE outcome = 'doubtful' AND detail LIKE 'NOT_%'"
        )
        assert 0 < counts["doubtful"] == len(held), (
            "answers that are not understood are held, and nothing else"
        )
        assert counts["done"] + counts["failed"] + counts["doubtful"] == tasks
        assert {reason.split(":")[0] for reason in report.failures} <= {"FAILED", "EXPIRED"}
        paid = {job.request_id for job in server.jobs.values() if job.state == "COMPLETED"}
        known = {
            one for (one,) in harness.rows("SELECT request_id FROM submissions WHERE request_id NOT NULL")
        }
        paid_unknown = len(paid - known)
        assert paid_unknown <= outcomes["doubtful"], "paid twice: only where an answer was really lost"
        assert outcomes["completed"] == counts["done"] == report.images
        lost = {one for (one,) in harness.rows("SELECT request_id FROM submissions WHERE outcome = 'lost'")}
        assert server.billed == outcomes["completed"] + paid_unknown + len(paid & lost)
        assert report.cost["spent"] == pytest.approx(outcomes["completed"] * 0.01)
        assert report.cost["doubtful"] == pytest.approx((outcomes["doubtful"] + outcomes["gateway"]) * 0.01)
        assert report.cost["reserved"] == 0
        if len(reports) == 1 and report.balance is not None:  # each run compares its own; chaos may refuse it
            assert report.balance["difference"] == pytest.approx((paid_unknown + len(paid & lost)) * 0.01)
        assert sum(outcomes.values()) == report.calls["submit"]


HISTORIES: dict[str, list[faults.Fault]] = {
    "told as it is": [],
    "told oddly": [
        faults.RequestBodies(form="mixed", defaults=True),
        faults.TeammateRows(),
        faults.LateRows(delay=20),
        faults.SkewedStamps(by=9),
    ],
    "failing": [
        faults.Status(route="history", code=503, rate=0.2),
        faults.Cut(route="history", rate=0.1),
        faults.HalfJson(route="history", rate=0.05),
    ],
    "absent": [faults.Status(route="history", code=404)],
}


@pytest.mark.parametrize("history", HISTORIES)
async def test_under_reconcile_chaos_pays_nothing_twice_and_the_audit_explains_every_credit(
    harness: Harness, sandbox: MakeSandbox, history: str
) -> None:
    """But for what a gateway answered, which is submitted again as the provider says; and for the records
    that ended where there is no history."""
    tasks = 80
    script = Faults([*CHAOS, faults.Stuck(rate=0.02), *HISTORIES[history]], seed=11)
    async with sandbox(service=5, price=0.01, faults=script) as server:
        retry = {"attempts": 12, "doubtful": "reconcile"}
        manifest = harness.manifest(tasks, retry=retry, limits={"rpm": 3000, "downloads": 32})
        report = await harness.run(server, manifest)
        runs = 1
        while report.exit_code != 0 and runs < 6 and (report.counts["ready"] or report.counts["planned"]):
            report = await harness.run(server, manifest)
            runs += 1
        harness.check(report)
        again = harness.rows(
            "SELECT count(*) FROM submissions WHERE outcome IN ('gateway', 'failed', 'lost')"
        )
        paid = [job for job in server.jobs.values() if job.state == "COMPLETED"]
        twice = len(paid) - len({str(job.body["prompt"]) for job in paid})
        assert twice <= again[0][0]
        if history == "absent":
            return
        await anyio.sleep(3600)
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        found, _ = await audit(harness.output, warn=lambda text: None, account=account, now=harness.now)
        assert found.unexplained == 0
        assert found.statement.micro == round(server.spent * 1_000_000)
        explained = (found.delivered, found.rejected, found.failed, found.in_flight, found.lost)
        orphans = sum(orphan.cost for orphan in found.orphans)
        assert sum(bucket.micro for bucket in explained) + orphans == found.statement.micro
