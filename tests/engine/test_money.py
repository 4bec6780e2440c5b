"""Money: reserved before it is spent, never more than allowed, accounted for to the last credit."""

from __future__ import annotations

import pytest

from batcher import errors
from batcher.progress import Event, Finished, Noted, Snapshot
from batcher.report import Report, of_folder
from batcher.run import outlook
from batcher.sandbox import Faults, faults
from batcher.task import State
from conftest import MakeSandbox
from engine.bench import Bench


@pytest.mark.parametrize("told", [0.01, 0.001, None])
async def test_max_cost_is_never_exceeded_whatever_the_price_was_said_to_be(
    bench: Bench, sandbox: MakeSandbox, told: float | None
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        manifest = bench.manifest(40, limits={"max_cost": 0.155}, **({} if told is None else {"price": told}))
        if told is None:
            manifest = bench.manifest(40, limits={"max_cost": 0.155}, price=0)
        report = await bench.run(server, manifest)
        bench.check(report)
        assert report.exit_code == 4
        assert server.spent == pytest.approx(0.15)
        assert (report.counts["done"], report.counts["planned"]) == (15, 25)


async def test_the_budget_holds_across_resumes_and_a_higher_one_goes_on(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        assert (await bench.run(server, bench.manifest(10, limits={"max_cost": 0.05}))).exit_code == 4
        again = await bench.run(server, bench.manifest(10, limits={"max_cost": 0.05}))
        assert (again.exit_code, server.billed) == (4, 5)
        report = await bench.run(server, bench.manifest(10, limits={"max_cost": 0.10}))
        assert (report.exit_code, server.billed) == (0, 10)


async def test_what_perhaps_was_paid_counts_against_the_budget(bench: Bench, sandbox: MakeSandbox) -> None:
    script = Faults([faults.cut("submit", accepted=True, calls=[3, 5])])
    async with sandbox(service=5, price=0.01, faults=script) as server:
        report = await bench.run(server, bench.manifest(20, limits={"max_cost": 0.10}))
        assert report.exit_code == 4
        assert server.spent <= 0.10 + 1e-9
        assert report.cost["spent"] + report.cost["doubtful"] == pytest.approx(0.10)


async def test_failed_jobs_free_their_reservation(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(
        service=5, price=0.01, faults=Faults([faults.failed("oh", calls=[2, 4, 6])])
    ) as server:
        report = await bench.run(server, bench.manifest(20, limits={"max_cost": 0.10}))
        assert (report.exit_code, report.counts["done"], report.counts["failed"]) == (4, 10, 3)


async def test_credits_that_run_out_stop_the_run_and_a_top_up_goes_on(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01, credits=0.055) as server:
        manifest = bench.manifest(10)
        report = await bench.run(server, manifest)
        assert (report.exit_code, report.counts["done"], report.counts["planned"]) == (4, 5, 5)
        assert "Insufficient credits" in " ".join(report.causes)


async def test_the_balance_is_audited_and_told_where_it_does_not_add_up(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5, price=0.01) as server:
        report = await bench.run(server, bench.manifest(4), heard.append)
        assert report.audit == {"opening": 1000.0, "spent": 0.04, "closing": 999.96, "difference": 0.0}
        assert not any(isinstance(event, Noted) for event in heard)
    bench.output = bench.folder / "second"
    script = Faults([faults.cut("submit", accepted=True, calls=[1])])
    async with sandbox(service=5, price=0.01, faults=script) as server:
        report = await bench.run(server, bench.manifest(4), heard.append)
        assert report.audit is not None
        assert report.audit["difference"] == 0.01
        assert any(isinstance(event, Noted) and "+0.01 credits" in event.text for event in heard)


async def test_a_run_that_waits_for_its_budget_or_its_places_says_so(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    said: set[str] = set()

    def hear(event: Event) -> None:
        if isinstance(event, Snapshot):
            said.add(event.waiting)

    async with sandbox(service=5, price=0.01) as server:
        await bench.run(server, bench.manifest(6, limits={"max_cost": 0.04}), hear)
        assert "waiting for bills: the rest of max_cost is reserved" in said
        said.clear()
        await bench.run(server, bench.manifest(9, limits={"in_flight": 2}), hear)
        assert "waiting for results: 2 tasks are in flight, as many as may be" in said


async def test_a_later_report_tells_how_the_run_ended_and_a_run_that_goes_on_has_not(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    later: list[Report] = []

    def look(event: Event) -> None:
        if isinstance(event, Snapshot):
            later.append(of_folder(bench.output, now=bench.now()))

    async with sandbox(service=5, price=0.01) as server:
        ended = await bench.run(server, bench.manifest(4, limits={"max_cost": 0.02}), look)
        assert ended.exit_code == 4
        assert ended.causes
        assert ended.audit is not None
        told = of_folder(bench.output, now=bench.now())
        assert (told.exit_code, told.causes, told.audit) == (4, ended.causes, ended.audit)
        later.clear()
        await bench.run(server, bench.manifest(4), look)
        # The first look may come before the first commit.
        assert len(later) > 1
        assert all((report.exit_code, report.causes, report.audit) == (0, (), None) for report in later[1:])


async def test_the_slowest_tasks_of_the_run_are_told_at_its_end(bench: Bench, sandbox: MakeSandbox) -> None:
    heard: list[Event] = []
    async with sandbox(service=5, sigma=1) as server:
        await bench.run(server, bench.manifest(6), heard.append)
    finished = heard[-1]
    assert isinstance(finished, Finished)
    took = dict(bench.rows("SELECT name, total_time FROM submissions s JOIN tasks t ON t.id = s.task"))
    by_length = sorted(took, key=lambda name: -took[name])
    assert list(finished.slowest.items()) == [(name, took[name]) for name in by_length[:3]]


async def test_a_run_that_was_not_confirmed_submits_nothing(bench: Bench, sandbox: MakeSandbox) -> None:
    asked: list[tuple[float, int]] = []

    def no(cost: float, tasks: int) -> bool:
        asked.append((cost, tasks))
        return False

    async with sandbox(service=5) as server:
        with pytest.raises(errors.UsageError, match="not confirmed"):
            await bench.run(server, bench.manifest(4), confirm=no)
        assert asked == [(0.04, 4)]
        assert not server.jobs


@pytest.mark.parametrize("told", [0.0, 5.0])
async def test_an_estimate_goes_by_real_costs_once_they_are_known(
    bench: Bench, sandbox: MakeSandbox, told: float
) -> None:
    asked: list[float] = []

    def yes(cost: float, _tasks: int) -> bool:
        asked.append(cost)
        return True

    async with sandbox(service=5, price=0.02) as server:
        first, more = (bench.manifest(tasks, price=told) for tasks in (4, 10))
        assert outlook(first, bench.output).cost == 4 * told
        await bench.run(server, first, confirm=yes)
        assert outlook(more, bench.output).cost == 0.12
        await bench.run(server, more, confirm=yes)
    assert asked == ([4 * told] if told else []) + [0.12]


async def test_what_all_will_have_cost_counts_no_picture_twice(bench: Bench, sandbox: MakeSandbox) -> None:
    heard: list[Event] = []
    trickle = Faults([faults.slow_body(delay=10)])
    async with sandbox(service=5, sigma=0, price=0.01, faults=trickle) as server:
        await bench.run(server, bench.manifest(6), heard.append)
    snapshots = [event for event in heard if isinstance(event, Snapshot)]
    assert any(snapshot.counts[State.READY] for snapshot in snapshots)
    assert {snapshot.projected for snapshot in snapshots} == {0.06}


async def test_every_line_of_metadata_has_its_request_and_its_cost(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        report = await bench.run(server, bench.manifest(4))
        lines = bench.lines("metadata.jsonl")
        assert {line["request_id"] for line in lines} == set(server.jobs)
        assert sum(line["cost"] for line in lines) == pytest.approx(report.cost["spent"])


async def test_a_held_doubt_leaves_no_run_open_so_that_each_night_has_its_budget(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    async with sandbox(price=0.01, faults=Faults([faults.cut("submit", accepted=True, calls=[1])])) as server:
        for night in range(1, 6):
            terms = {"limits": {"max_cost": 0.04, "in_flight": 1}, "retry": {"doubtful": "hold"}}
            report = await bench.run(server, bench.manifest(2 * night, **terms))
            assert (report.exit_code, report.counts["doubtful"], report.counts["planned"]) == (3, 1, 0)
        assert bench.rows("SELECT count(*) FROM runs") == [(5,)]
