"""A cold v1 model: one call goes first, and the others follow its answer."""

from __future__ import annotations

from collections.abc import Callable

from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


async def test_the_first_v1_call_goes_alone_and_the_others_follow_its_answer(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=20, sigma=0) as server:
        report = await harness.run(server, harness.manifest(8, api="v1"))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 8, 8)
        first, *others = sorted(job.submitted_at for job in server.jobs.values())
        assert others[0] >= first + 20
        assert others[-1] < others[0] + 20


async def test_the_time_limit_of_a_cold_model_is_met_by_one_call_at_a_time(
    harness: Harness, sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    """Its first call hangs for longer than a call may take."""
    async with sandbox(service=5, faults=Faults([faults.Hang(route="sync", calls=[1])])) as server:
        report = await harness.run(server, harness.manifest(6, api="v1"))
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 6)
        assert harness.outcomes()["doubtful"] == 1
        assert server.billed <= 7


async def test_a_v2_model_need_not_be_warm(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=20, sigma=0) as server:
        await harness.run(server, harness.manifest(4))
        submitted = [job.submitted_at for job in server.jobs.values()]
        assert max(submitted) < min(submitted) + 10
