"""Money: reserved before it is spent, never more than allowed, accounted for to the last credit."""

from __future__ import annotations

import sqlite3
from functools import partial

import anyio
import pytest

from batcher import errors
from batcher.engine import outlook
from batcher.progress import Event, Finished, Message, Snapshot
from batcher.results.report import Report, of_folder
from batcher.sandbox import Faults, faults
from batcher.shard import Shard
from batcher.task import State
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


@pytest.mark.parametrize("told", [0.01, 0.001, None])
async def test_max_cost_is_never_exceeded_whatever_the_price_was_said_to_be(
    harness: Harness, sandbox: MakeSandbox, told: float | None
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        manifest = harness.manifest(
            40, limits={"max_cost": 0.155}, **({} if told is None else {"price": told})
        )
        if told is None:
            manifest = harness.manifest(40, limits={"max_cost": 0.155}, price=0)
        report = await harness.run(server, manifest)
        harness.check(report)
        assert report.exit_code == 4
        assert server.spent == pytest.approx(0.15)
        assert (report.counts["done"], report.counts["planned"]) == (15, 25)


async def test_the_budget_holds_across_resumes_and_a_higher_one_goes_on(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        assert (await harness.run(server, harness.manifest(10, limits={"max_cost": 0.05}))).exit_code == 4
        again = await harness.run(server, harness.manifest(10, limits={"max_cost": 0.05}))
        assert (again.exit_code, server.billed) == (4, 5)
        report = await harness.run(server, harness.manifest(10, limits={"max_cost": 0.10}))
        assert (report.exit_code, server.billed) == (0, 10)


async def test_what_perhaps_was_paid_counts_against_the_budget(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Cut(route="submit", accepted=True, calls=[3, 5])])
    async with sandbox(service=5, price=0.01, faults=script) as server:
        report = await harness.run(server, harness.manifest(20, limits={"max_cost": 0.10}))
        assert report.exit_code == 4
        assert server.spent <= 0.10 + 1e-9
        assert report.cost["spent"] + report.cost["doubtful"] == pytest.approx(0.10)


async def test_failed_jobs_free_their_reservation(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(
        service=5, price=0.01, faults=Faults([faults.Failed(error="oh", calls=[2, 4, 6])])
    ) as server:
        report = await harness.run(server, harness.manifest(20, limits={"max_cost": 0.10}))
        assert (report.exit_code, report.counts["done"], report.counts["failed"]) == (4, 10, 3)


async def test_credits_that_run_out_stop_the_run_and_a_top_up_goes_on(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01, credits=0.055) as server:
        manifest = harness.manifest(10)
        report = await harness.run(server, manifest)
        assert (report.exit_code, report.counts["done"], report.counts["planned"]) == (4, 5, 5)
        assert "Insufficient credits" in " ".join(report.causes)


async def test_the_balance_is_audited_and_what_the_run_counts_as_perhaps_paid_is_no_news(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5, price=0.01) as server:
        report = await harness.run(server, harness.manifest(4), heard.append)
        assert report.balance == {"opening": 1000.0, "spent": 0.04, "closing": 999.96, "difference": 0.0}
        assert not any(isinstance(event, Message) for event in heard)
    harness.move_to("second")
    script = Faults([faults.Cut(route="submit", accepted=True, calls=[1])])
    async with sandbox(service=5, price=0.01, faults=script) as server:
        report = await harness.run(server, harness.manifest(4), heard.append)
        assert report.balance is not None
        assert report.balance["difference"] == 0.01
        # The request whose answer was lost is counted as perhaps paid already.
        assert not any(isinstance(event, Message) and "balance" in event.text for event in heard)


async def test_what_is_not_this_runs_own_is_told_once_with_its_innocent_reasons(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    beside = Harness(harness.folder / "beside", harness.now)
    beside.folder.mkdir()
    async with sandbox(service=5, price=0.01) as server, anyio.create_task_group() as both:
        # A share is not in the account's file, as a teammate's run is not.
        both.start_soon(partial(beside.run, server, beside.manifest(7), shard=Shard(1, 1)))
        report = await harness.run(server, harness.manifest(8), heard.append)
    assert report.balance is not None
    assert report.balance["difference"] > 0
    (text,) = [event.text for event in heard if isinstance(event, Message) and "balance" in event.text]
    assert "another run or a teammate on this account" in text
    assert "`batcher audit` compares request by request" in text


async def test_a_run_that_goes_on_against_another_balance_is_no_difference(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(6), heard.append, limit=3)
    port = server.url.rpartition(":")[2]
    async with sandbox(service=5, price=0.01, credits=5, port=int(port)) as server:
        report = await harness.run(server, harness.manifest(6), heard.append)
    assert (report.counts["done"], report.balance) == (
        6,
        {"opening": 5.0, "spent": 0.03, "closing": 4.97, "difference": 0.0},
    )
    assert not any(isinstance(event, Message) and "balance" in event.text for event in heard)


async def test_a_run_that_waits_for_its_budget_or_its_places_says_so(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    said: set[str] = set()

    def hear(event: Event) -> None:
        if isinstance(event, Snapshot):
            said.add(event.waiting)

    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(6, limits={"max_cost": 0.04}), hear)
        assert "waiting for bills: the rest of max_cost is reserved" in said
        said.clear()
        await harness.run(server, harness.manifest(9, limits={"in_flight": 2}), hear)
        assert "waiting for results: 2 tasks are in flight, as many as may be" in said


async def test_a_later_report_tells_how_the_run_ended_and_a_run_that_goes_on_has_not(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    later: list[Report] = []

    def look(event: Event) -> None:
        if isinstance(event, Snapshot):
            later.append(of_folder(harness.output, now=harness.now()))

    async with sandbox(service=5, price=0.01) as server:
        ended = await harness.run(server, harness.manifest(4, limits={"max_cost": 0.02}), look)
        assert ended.exit_code == 4
        assert ended.causes
        assert ended.balance is not None
        told = of_folder(harness.output, now=harness.now())
        assert (told.exit_code, told.causes, told.balance) == (4, ended.causes, ended.balance)
        later.clear()
        await harness.run(server, harness.manifest(4), look)
        # The first look may come before the first commit.
        assert len(later) > 1
        assert all((report.exit_code, report.causes, report.balance) == (0, (), None) for report in later[1:])


async def test_the_slowest_tasks_of_the_run_are_told_at_its_end(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5, sigma=1) as server:
        await harness.run(server, harness.manifest(6), heard.append)
    finished = heard[-1]
    assert isinstance(finished, Finished)
    took = dict(harness.rows("SELECT name, total_time FROM submissions s JOIN tasks t ON t.id = s.task"))
    by_length = sorted(took, key=lambda name: -took[name])
    assert list(finished.slowest.items()) == [(name, took[name]) for name in by_length[:3]]


async def test_the_slowest_tasks_are_those_of_the_start_whose_pace_is_told_beside_them(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5) as server:
        assert (await harness.run(server, harness.manifest(6), limit=2)).counts["planned"] == 4
        before = {name for (name,) in harness.rows("SELECT name FROM tasks WHERE state = 'done'")}
        with sqlite3.connect(harness.output / ".batcher" / "ledger.sqlite") as connection:
            connection.execute("UPDATE submissions SET total_time = 500")
        connection.close()
        await harness.run(server, harness.manifest(6), heard.append)
    finished = heard[-1]
    assert isinstance(finished, Finished)
    assert finished.snapshot.delivered == 4
    assert len(finished.slowest) == 3
    assert not before & set(finished.slowest)


async def test_a_run_that_was_not_confirmed_submits_nothing(harness: Harness, sandbox: MakeSandbox) -> None:
    asked: list[tuple[float, int]] = []

    def no(cost: float, tasks: int) -> bool:
        asked.append((cost, tasks))
        return False

    async with sandbox(service=5) as server:
        with pytest.raises(errors.UsageError, match="not confirmed"):
            await harness.run(server, harness.manifest(4), confirm=no)
        assert asked == [(0.04, 4)]
        assert not server.jobs


async def test_only_what_this_run_will_submit_is_asked_about(harness: Harness, sandbox: MakeSandbox) -> None:
    asked: list[tuple[float | None, int]] = []

    def yes(cost: float | None, tasks: int) -> bool:
        asked.append((cost, tasks))
        return True

    async with sandbox(service=5) as server:
        for most in (3, 0, None, None):
            await harness.run(server, harness.manifest(50), limit=most, confirm=yes)
        assert server.billed == 50
    assert asked == [(0.03, 3), (0.47, 47)], "nothing to submit is no question"


async def test_a_cost_that_nobody_knows_is_asked_about_and_is_known_once_something_was_paid(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    asked: list[tuple[float | None, int]] = []

    def unless_unknown(cost: float | None, tasks: int) -> bool:
        asked.append((cost, tasks))
        return cost is not None

    unpriced = harness.manifest(10, model="mock-inference", price=None)
    async with sandbox(service=5) as server:
        with pytest.raises(errors.UsageError, match="whose cost is not known was not confirmed"):
            await harness.run(server, unpriced, confirm=unless_unknown)
        assert not server.jobs
        await harness.run(server, unpriced, limit=4)
        await harness.run(server, unpriced, confirm=unless_unknown)
        assert server.billed == 10
    assert asked == [(None, 10), (0.06, 6)]


async def test_the_published_price_of_a_model_is_what_is_asked_about_and_set_aside(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    asked: list[tuple[float | None, int]] = []

    def yes(cost: float | None, tasks: int) -> bool:
        asked.append((cost, tasks))
        return True

    manifest = harness.manifest(10, price=None, limits={"max_cost": 0.05})
    counts = outlook(manifest, harness.output).counts
    assert (counts.new, counts.submits, counts.cost, counts.cost_of_all) == (10, 4, 0.0436, 0.109)
    async with sandbox(service=5, price=0.0109) as server:
        report = await harness.run(server, manifest, confirm=yes)
        assert (report.exit_code, server.billed) == (4, 4)
        counts = outlook(manifest, harness.output).counts
        assert (counts.new, counts.submits, counts.cost, counts.cost_of_all) == (6, 0, 0.0, 0.0654)
    assert asked == [(0.05, 10)]


async def test_what_is_doubtful_and_may_be_sent_again_is_asked_about_too(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    asked: list[tuple[float | None, int]] = []

    def no(cost: float | None, tasks: int) -> bool:
        asked.append((cost, tasks))
        return False

    script = Faults([faults.Cut(route="submit", accepted=True, calls=[1, 2])])
    async with sandbox(service=5, price=0.01, faults=script) as server:
        held = harness.manifest(6, retry={"doubtful": "hold"})
        report = await harness.run(server, held, limit=2)
        assert report.counts["doubtful"] == 2
        await harness.run(server, held, limit=0, confirm=no)
        for changes in ({}, {"retry": {"doubtful": "reconcile"}}, {"limits": {"max_cost": 0.05}}):
            with pytest.raises(errors.UsageError, match="not confirmed"):
                await harness.run(server, harness.manifest(6, **changes), limit=1, confirm=no)
        assert len(server.jobs) == 2
    assert asked == [(0.03, 3), (0.03, 3), (0.03, 3)]


async def test_a_plan_tells_how_much_of_it_this_run_would_make_and_all_adds_up(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    def counted(limit: int | None = None) -> tuple[int, int, int, int, float | None]:
        counts = outlook(harness.manifest(90), harness.output, limit=limit).counts
        assert counts.total == counts.new + counts.done + counts.in_flight + counts.failed + counts.reused
        return counts.total, counts.new, counts.done, counts.submits, counts.cost

    async with sandbox(service=5, price=0.01) as server:
        assert counted(limit=3) == (90, 90, 0, 3, 0.03)
        await harness.run(server, harness.manifest(90), limit=3)
        assert counted() == (90, 87, 3, 87, 0.87)
        assert counted(limit=100) == (90, 87, 3, 87, 0.87)
        assert counted(limit=0) == (90, 87, 3, 0, 0.0)


@pytest.mark.parametrize("told", [0.0, 5.0])
async def test_an_estimate_goes_by_real_costs_once_they_are_known(
    harness: Harness, sandbox: MakeSandbox, told: float
) -> None:
    asked: list[float] = []

    def yes(cost: float, _tasks: int) -> bool:
        asked.append(cost)
        return True

    async with sandbox(service=5, price=0.02) as server:
        first, more = (harness.manifest(tasks, price=told) for tasks in (4, 10))
        assert outlook(first, harness.output).cost == 4 * told
        await harness.run(server, first, confirm=yes)
        assert outlook(more, harness.output).cost == 0.12
        await harness.run(server, more, confirm=yes)
    assert asked == ([4 * told] if told else []) + [0.12]


async def test_what_all_will_have_cost_counts_no_picture_twice(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    trickle = Faults([faults.SlowBody(delay=10)])
    async with sandbox(service=5, sigma=0, price=0.01, faults=trickle) as server:
        await harness.run(server, harness.manifest(6), heard.append)
    snapshots = [event for event in heard if isinstance(event, Snapshot)]
    assert any(snapshot.counts[State.READY] for snapshot in snapshots)
    assert {snapshot.projected for snapshot in snapshots} == {0.06}


async def test_every_line_of_metadata_has_its_request_and_its_cost(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        report = await harness.run(server, harness.manifest(4))
        lines = harness.lines("metadata.jsonl")
        assert {line["request_id"] for line in lines} == set(server.jobs)
        assert sum(line["cost"] for line in lines) == pytest.approx(report.cost["spent"])


async def test_a_held_doubt_leaves_no_run_open_so_that_each_night_has_its_budget(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(
        price=0.01, faults=Faults([faults.Cut(route="submit", accepted=True, calls=[1])])
    ) as server:
        for night in range(1, 6):
            terms = {"limits": {"max_cost": 0.04, "in_flight": 1}, "retry": {"doubtful": "hold"}}
            report = await harness.run(server, harness.manifest(2 * night, **terms))
            assert (report.exit_code, report.counts["doubtful"], report.counts["planned"]) == (3, 1, 0)
        assert harness.rows("SELECT count(*) FROM runs") == [(5,)]
