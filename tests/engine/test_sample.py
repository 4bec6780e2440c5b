"""run --sample N: tasks that stand for the plan, the same each time."""

from __future__ import annotations

from typing import Any

import pytest

from batcher import errors
from batcher.engine import outlook
from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

SEASONS = ["winter", "summer"]


def seasons(harness: Harness, places: int = 6, **changes: Any) -> Any:
    job = {
        "matrix": {"season": SEASONS},
        "params": {"prompt": "{{ place }} in {{ season }}"},
        "output": {"name": "{{ place }} {{ season }}"},
    }
    return harness.manifest(places, **(job | changes))


async def test_a_sample_is_spread_and_the_whole_goes_on_from_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        job = seasons(harness)
        report = await harness.run(server, job, sample=4)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.counts["planned"]) == (0, 4, 8)
        assert (server.billed, report.cost["spent"]) == (4, 0.04)
        first = harness.pictures()
        assert sorted(name.split()[-1] for name in first) == ["summer.png"] * 2 + ["winter.png"] * 2
        assert len({name.rsplit(" ", 1)[0] for name in first}) == 4
        again = await harness.run(server, job, sample=4)
        assert (again.exit_code, server.billed, harness.pictures()) == (0, 4, first)
        more = await harness.run(server, job, sample=6)
        harness.check(more)
        assert (more.counts["done"], server.billed) == (6, 6)
        assert set(first) < set(harness.pictures())
        whole = await harness.run(server, job)
        assert (whole.exit_code, whole.counts["done"], server.billed) == (0, 12, 12)


async def test_a_sample_of_more_than_there_is_is_the_whole(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        report = await harness.run(server, seasons(harness, 2), sample=100)
        assert (report.exit_code, report.counts["done"]) == (0, 4)


async def test_a_limit_bounds_a_sample_too(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        job = seasons(harness)
        await harness.run(server, job, sample=4, limit=1)
        assert server.billed == 1
        await harness.run(server, job, sample=4)
        assert server.billed == 4


async def test_what_of_a_sample_is_to_be_sent_again_is_sent_in_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Status(code=503, route="submit", calls=[1, 3])])
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, seasons(harness), sample=4)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.counts["planned"]) == (0, 4, 8)


async def test_a_sample_is_the_same_whatever_is_rejected_of_it_and_its_replacements_are_made(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    params = {"prompt": "{{ place }} in {{ season }}", "seed": "{{ seed }}"}
    job = seasons(harness, params=params, seed=7, checks={"blank": "reject"}, redo=1)
    script = Faults([faults.BlackPicture(calls=[1, 3])])
    async with sandbox(service=5, pictures=True, faults=script) as server:
        report = await harness.run(server, job, sample=4)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.counts["rejected"]) == (0, 4, 2)
        again = await harness.run(server, job, sample=4)
        assert (again.counts, server.billed) == (report.counts, 6)
        assert outlook(job, harness.output, sample=4).counts.submits == 0


async def test_max_cost_bounds_a_sample(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, price=0.01) as server:
        report = await harness.run(server, seasons(harness, limits={"max_cost": 0.035}), sample=5)
        assert (report.exit_code, report.counts["done"], server.spent) == (4, 3, pytest.approx(0.03))


async def test_the_question_and_the_plan_count_the_sample_alone(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    asked: list[tuple[float | None, int]] = []

    def confirm(cost: float | None, tasks: int) -> bool:
        asked.append((cost, tasks))
        return False

    job = seasons(harness)
    found = outlook(job, harness.output, sample=4)
    assert (found.total, found.new, found.counts.submits, found.cost) == (12, 12, 4, 0.04)
    assert len({task["params"]["prompt"].split()[-1] for task in found.sample}) == 2
    async with sandbox(service=5, price=0.01) as server:
        with pytest.raises(errors.UsageError):
            await harness.run(server, job, sample=4, confirm=confirm)
        assert asked == [(0.04, 4)]
        await harness.run(server, job, sample=3)
        assert outlook(job, harness.output, sample=4).counts.submits == 1
        assert outlook(job, harness.output, sample=4, limit=0).counts.submits == 0


async def test_the_plan_shows_the_tasks_that_the_run_sends(harness: Harness, sandbox: MakeSandbox) -> None:
    job = seasons(harness)
    shown = {task["name"] for task in outlook(job, harness.output, sample=3).sample}
    async with sandbox(service=5) as server:
        await harness.run(server, job, sample=3)
    assert {name for (name,) in harness.rows("SELECT name FROM tasks WHERE state = 'done'")} == shown
