"""A budget of a day or a month: of all jobs of the account on this machine, billed to the credit."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.cli import ended, text_tables
from batcher.engine import Outlook, outlook
from batcher.engine.admission.period_budget import Own, PeriodBudget, PeriodLimits
from batcher.ledger import spending
from batcher.ledger.account_file import AccountFile, Amounts
from batcher.ledger.account_view import OtherSpending
from batcher.ledger.ledger import Ledger
from batcher.results import account_jobs, run_control
from batcher.results.dashboard.feed import LedgerFeed
from batcher.results.report import Report, of_folder
from batcher.sandbox import Faults, Sandbox, faults
from batcher.storage import user_state
from tests.support.bookkeeping import a_ledger
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import START, MakeSandbox

DAY = 86_400.0
"""2026-01-05 12:00 UTC is 12 hours from midnight, and 27 days from the end of its month."""


def several(harness: Harness, number: int) -> list[Harness]:
    """So many jobs, each in a folder of its own."""
    jobs = []
    for n in range(number):
        jobs.append(Harness(harness.folder / f"job-{n}", harness.now))
        jobs[-1].folder.mkdir()
    return jobs


def account_file(server: Sandbox) -> Path:
    return user_state.account_path(Account(Endpoints(server.url, server.url, server.url), KEY).name)


def committed(server: Sandbox) -> int:
    """Micro-credits that the account's file has as spent, reserved or unsure."""
    with sqlite3.connect(account_file(server)) as connection:
        (sums,) = connection.execute("SELECT total(spent + reserved + unsure) FROM spending").fetchone()
    connection.close()
    return int(sums)


def in_file(server: Sandbox) -> dict[int, Amounts]:
    """The same by day."""
    with closing(sqlite3.connect(account_file(server))) as connection:
        rows = connection.execute("SELECT day, spent, reserved, unsure FROM spending").fetchall()
    return {day: Amounts(*amounts) for day, *amounts in rows}


async def together(
    server: Sandbox, jobs: list[Harness], *, tasks: int, per: dict[str, float]
) -> list[Report]:
    reports: list[Report] = []

    async def one(job: Harness) -> None:
        reports.append(await job.run(server, job.manifest(tasks, limits={"max_cost_per": per})))

    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(one, job)
    return reports


@pytest.mark.parametrize("period", ["day", "month"])
async def test_a_budget_of_three_concurrent_jobs_is_billed_to_the_credit(
    harness: Harness, sandbox: MakeSandbox, period: str
) -> None:
    jobs = several(harness, 3)
    async with sandbox(service=5, price=0.01) as server:
        reports = await together(server, jobs, tasks=30, per={period: 0.355})
        assert server.spent == pytest.approx(0.35)
        assert committed(server) == 350_000
        assert {report.exit_code for report in reports} == {4}
        assert sum(report.counts["done"] for report in reports) == 35
        for job, report in zip(jobs, sorted(reports, key=lambda one: one.output), strict=True):
            job.check(report)


async def test_what_failed_or_was_perhaps_paid_counts_right_over_several_jobs(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [
            faults.Cut(route="submit", accepted=True, calls=[3, 9]),
            faults.Failed(error="oh", calls=[2, 5, 11]),
        ]
    )
    async with sandbox(service=5, price=0.01, faults=script) as server:
        reports = await together(server, several(harness, 3), tasks=30, per={"day": 0.40})
        assert server.spent <= 0.40 + 1e-9
        cost = sum(report.cost["spent"] + report.cost["doubtful"] for report in reports)
        assert cost == pytest.approx(0.40)
        assert committed(server) == 400_000


async def test_a_day_that_is_spent_to_the_credit_is_not_overspent_by_a_job_without_a_price(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    priced, unpriced = several(harness, 2)
    per = {"max_cost_per": {"day": 0.1}}
    free = {"model": "mock-inference", "params": {"prompt": "x {{ place }}"}, "price": None}
    async with sandbox(service=5, price=0.01) as server:
        await priced.run(server, priced.manifest(10, limits=per))
        assert committed(server) == 100_000
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        job = unpriced.manifest(5, limits=per, **free)
        counts = outlook(job, unpriced.output, account=account, now=unpriced.now).counts
        assert (counts.submits, counts.cost, counts.cost_of_all) == (0, 0.0, None), "a plan tells it"
        assert (counts.new, counts.held_by) == (5, "max_cost_per.day")
        report = await unpriced.run(server, job)
        assert (report.exit_code, server.billed, committed(server)) == (4, 10, 100_000)
        (cause,) = report.causes
        assert "and what the next request costs is not known; it goes on at 00:00 UTC" in cause
        more = {"max_cost_per": {"day": 0.11}}
        await unpriced.run(server, unpriced.manifest(5, limits=more, **free))
        assert (server.billed, committed(server)) == (11, 110_000), "a last one finds out the price"


async def test_it_ends_with_the_time_at_which_it_goes_on_and_goes_on_then(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        manifest = harness.manifest(10, limits={"max_cost_per": {"day": 0.04}})
        first = await harness.run(server, manifest)
        assert (first.exit_code, first.counts["done"]) == (4, 4)
        (cause,) = first.causes
        assert "max_cost_per.day allows 0.04 credits a day to all jobs of this account" in cause
        assert cause.endswith("it goes on at 00:00 UTC, in 12 h")
        assert (await harness.run(server, manifest)).counts["done"] == 4
        await anyio.sleep(START + 12 * 3600 - harness.now())
        assert (await harness.run(server, manifest)).counts["done"] == 8
        await anyio.sleep(DAY)
        assert (await harness.run(server, manifest)).exit_code == 0
        month = harness.manifest(20, limits={"max_cost_per": {"month": 0.1}})
        (cause,) = (await harness.run(server, month)).causes
        assert "max_cost_per.month" in cause
        assert cause.endswith("it goes on at 2026-02-01 00:00 UTC, in 25 days")
        assert server.spent == pytest.approx(0.1)


async def test_a_run_that_goes_on_over_midnight_spends_the_new_days_budget(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=20, sigma=0, price=0.01) as server:
        # A call every 10 s: the first of the new day waited for its turn before midnight.
        await anyio.sleep(START + 12 * 3600 - 35 - harness.now())
        limits = {"max_cost_per": {"day": 0.06}, "rpm": 6, "metered": "submits"}
        report = await harness.run(server, harness.manifest(20, limits=limits))
        days = harness.rows(
            "SELECT CAST(submitted_at AS INTEGER) / 86400, count(*) FROM submissions GROUP BY 1"
        )
        (before, after) = (number for _, number in days)
        assert 3 <= before <= 4
        assert (after, report.exit_code) == (6, 4)


async def test_what_a_killed_run_had_in_flight_stays_counted_until_its_ledger_tells(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    killed, other = several(harness, 2)
    per = {"max_cost_per": {"day": 0.1}}
    async with sandbox(service=60, sigma=0, price=0.01) as server:
        with anyio.move_on_after(30):
            await killed.run(server, killed.manifest(6, limits={**per, "rpm": "none"}))
        paid = len(server.jobs)
        assert 0 < paid <= 6
        report = await other.run(server, other.manifest(20, limits=per))
        assert (report.exit_code, report.counts["done"]) == (4, 10 - paid)
        await killed.run(server, killed.manifest(6, limits=per))
        assert server.spent <= 0.1 + 1e-9


@pytest.mark.parametrize("entered", ["before", "meanwhile"])
async def test_a_killed_job_whose_folder_cannot_be_looked_at_stops_nobody(
    harness: Harness, sandbox: MakeSandbox, entered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lay on a mount that is gone, or in a folder that may not be entered any more."""
    first, second = several(harness, 2)
    async with sandbox(service=20, sigma=0, price=0.01) as server:
        await first.run(server, first.manifest(1))

        def kill() -> None:
            with closing(sqlite3.connect(account_file(server))) as connection, connection:
                connection.execute("UPDATE jobs SET folder = ?, pid = 1, beat = -100", (f"/{'n' * 300}",))

        if entered == "before":
            kill()
        async with anyio.create_task_group() as tasks:
            reports: list[Report] = []

            async def running() -> None:
                reports.append(await second.run(server, second.manifest(4, api="v1")))

            tasks.start_soon(running)
            await anyio.sleep(10)
            if entered == "meanwhile":
                kill()
        second.check(reports[0])
        assert (reports[0].exit_code, reports[0].counts["done"], server.billed) == (0, 4, 5)
    assert ended(["jobs"]) == 0
    assert "gone" in capsys.readouterr().out


async def test_a_cancelled_run_leaves_nothing_reserved_that_its_ledger_does_not_have(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    limits = {"rpm": 12, "in_flight": 40, "max_cost_per": {"day": 5}}
    async with sandbox(service=5, sigma=0, price=0.01) as server:
        with anyio.move_on_after(100):
            await harness.run(server, harness.manifest(200, limits=limits))
        (day,) = in_file(server)
        ledger = spending.of_ledger(harness.output / ".batcher" / "ledger.sqlite", 0)
        assert in_file(server) == {day: ledger[day]}
        assert ledger[day].reserved <= 10_000


async def test_what_a_killed_run_had_set_aside_is_left_for_whoever_looks_and_what_it_spent_is_never_forgotten(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    """Also where its folder was emptied, and another job runs there."""
    killed, other = several(harness, 2)
    per = {"max_cost_per": {"day": 0.2}}
    async with sandbox(service=5, sigma=0, price=0.01) as server:
        await killed.run(server, killed.manifest(3, limits=per))
        with closing(AccountFile(account_file(server))) as file:
            ((job, *_),) = file.jobs(today=0, month=0)
            file.enter(job, folder=killed.output, name="job", manifest="", at=-100.0, now=0.0)
            today = spending.day_of(killed.now())
            file.exchange(
                job, today=today, month=today, at=-100.0, own=lambda _: {today: Amounts(30_000, 50_000)}
            )
        assert committed(server) == 80_000
        account = Account(Endpoints(server.url, server.url, server.url), KEY)

        def left() -> float:
            job = other.manifest(30, limits=per)
            return outlook(job, other.output, account=account, now=other.now).budgets[0].left

        assert left() == 0.17
        shutil.rmtree(killed.output)
        again = killed.manifest(2, limits=per, params={"prompt": "another {{ place }}"})
        assert (await killed.run(server, again)).counts["done"] == 2
        assert committed(server) == 100_000, "nobody knows what of it was sent"
        assert left() == 0.1


def test_a_run_that_was_killed_before_its_first_post_of_a_day_has_nothing_reserved_there(
    tmp_path: Path,
) -> None:
    with closing(AccountFile(tmp_path / "account.sqlite")) as file:
        before, today = Amounts(40, 0, 0), Amounts(0, 50, 0)
        file.enter("a", folder=tmp_path, name="a", manifest="", at=100.0, now=1.0)
        file.exchange(
            "a", today=20_000, month=19_990, at=100.0, own=lambda _: {19_999: before, 20_000: today}
        )
        assert file.others("b", today=20_000, month=19_990, at=200.0) == OtherSpending(50, 90, 0)
        ((job, _, beat),) = file.silent(200.0)
        file.settle(job, beat, {19_999: before}, since=19_990)
        assert file.others("b", today=20_000, month=19_990, at=200.0) == OtherSpending(0, 40, 0)


async def test_what_was_set_aside_before_midnight_and_not_sent_is_not_counted_on_that_day(
    tmp_path: Path,
) -> None:
    at = START
    with a_ledger(tmp_path / "ledger") as ledger, closing(AccountFile(tmp_path / "account.sqlite")) as file:

        class Shared:
            is_shared = True
            unheard = ""

            async def exchange(self, today: int, month: int, own: Own, since: int | None = None) -> None:
                file.exchange("a", today=today, month=month, at=0.0, own=own, since=since)

        budget = PeriodBudget(
            ledger, Shared(), limits=PeriodLimits(), price=None, now=lambda: at, clock=lambda: at
        )
        today = spending.day_of(at)
        month = spending.month_of(today)
        assert await budget.reserve(1, 50)
        assert file.others("b", today=today, month=month, at=0.0).month == 50
        at += DAY
        assert await budget.reserve(1, 50)
        await budget.refresh()
        assert file.others("b", today=today + 1, month=month, at=0.0) == OtherSpending(50, 50, 0)


async def test_a_clock_that_was_a_month_ahead_and_is_set_back_hides_no_spending(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    ahead = 31 * DAY
    now = harness.now
    async with sandbox(service=5, sigma=0, price=0.01) as server:
        per = {"max_cost_per": {"day": 0.1}, "rpm": 60, "metered": "submits"}
        assert (await harness.run(server, harness.manifest(6, limits=per))).exit_code == 0
        set_back_at = now() + 5
        harness.now = lambda: now() + (ahead if now() < set_back_at else 0)
        report = await harness.run(server, harness.manifest(40, limits=per))
        assert report.exit_code == 4
        today = spending.day_of(now())
        ledger = spending.of_ledger(harness.output / ".batcher" / "ledger.sqlite", 0)
        assert ledger[today].spent == 100_000


async def test_a_plan_tells_what_is_left_of_the_day_and_of_the_month(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    first, second = several(harness, 2)
    per = {"max_cost_per": {"day": 0.1, "month": 0.5}}
    async with sandbox(service=5, price=0.01) as server:
        await first.run(server, first.manifest(4))
        account = Account(Endpoints(server.url, server.url, server.url), KEY)

        def planned(account: Account | None) -> Outlook:
            return outlook(second.manifest(30, limits=per), second.output, account=account, now=harness.now)

        found = planned(account)
        assert found.as_json()["budget"] == {
            "day": {"limit": 0.1, "committed": 0.04, "left": 0.06, "shared": True},
            "month": {"limit": 0.5, "committed": 0.04, "left": 0.46, "shared": True},
        }
        assert (found.counts.submits, found.cost) == (6, 0.06)
        assert found.budgets[0].sentence == (
            "0.06 of 0.1 credits are left today (UTC), for all jobs of this account on this machine"
        )
        await second.run(server, second.manifest(30, limits=per))
        spent = planned(account)
        assert (spent.counts.submits, spent.budgets[0].left) == (0, 0)
        assert spent.budgets[0].sentence.endswith("; it goes on at 00:00 UTC, in 12 h")
        assert planned(None).as_json()["budget"]["day"] == {
            "limit": 0.1,
            "committed": 0.06,
            "left": 0.04,
            "shared": False,
        }


async def test_status_jobs_and_the_live_page_tell_what_is_left(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a key: the account is the one for which the job was run."""
    first, second = several(harness, 2)
    per = {"max_cost_per": {"day": 0.1}}
    async with sandbox(service=5, price=0.01) as server:
        await first.run(server, first.manifest(4))
        await second.run(server, second.manifest(3, limits=per), pay_again=True)
        (left,) = run_control.budgets(second.output, second.now())
        assert (left.limit, left.committed, left.left, left.shared) == (0.1, 0.07, 0.03, True)
        assert run_control.budgets(first.output, first.now()) == ()
        jobs = account_jobs.of_accounts([account_file(server)], second.now()).jobs
        assert {job.output: job.budgets for job in jobs} == {first.output: (), second.output: (left,)}
        feed = LedgerFeed(second.output, now=second.now)
        await feed.look()
        assert feed.figures is not None
        assert feed.figures["budgets"] == {"day": left.as_json()}
        assert ended(["set", str(first.output), "limits.max_cost_per.month=0.5"]) == 0
        (left,) = run_control.budgets(first.output, first.now())
        assert (left.period, left.left) == ("month", 0.43)
        capsys.readouterr()
        text_tables.status_table(of_folder(first.output, now=first.now()), (left,))
        assert "budget of a month" in capsys.readouterr().out


async def test_a_budget_that_is_set_holds_within_a_second_and_for_later_runs(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    per = {"max_cost_per": {"day": 0.04}, "rpm": 60, "metered": "submits"}

    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(2, limits=per))
        assert ended(["set", str(harness.output), "limits.max_cost_per.day=0.08"]) == 0
        assert "limits.max_cost_per.day: 0.04 -> 0.08" in capsys.readouterr().out
        report = await harness.run(
            server, harness.manifest(20, limits=per), lambda event: heard.append(getattr(event, "text", ""))
        )
        assert (report.exit_code, report.counts["done"]) == (4, 8)
        assert "limits.max_cost_per.day is 0.08, as `batcher set` said; the manifest says 0.04" in heard


async def test_the_money_of_each_day_is_a_count_over_the_rows_at_every_moment(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    exchange = AccountFile.exchange
    ledgers: list[Ledger] = []
    made = Ledger.__init__

    def note(ledger: Ledger, *args: Any, **more: Any) -> None:
        made(ledger, *args, **more)
        ledgers.append(ledger)

    def look(file: AccountFile, job: str, **more: Any) -> OtherSpending:
        nonlocal looks
        daily = ledgers[-1].daily
        assert daily is not None
        counted = spending.by_day(ledgers[-1].connection, daily.since)
        blank = {"paid_images": 0, "dearest": 0}
        assert {day: replace(money, **blank) for day, money in daily.days.items()} == counted
        looks += 1
        return exchange(file, job, **more)

    monkeypatch.setattr(Ledger, "__init__", note)
    monkeypatch.setattr(AccountFile, "exchange", look)
    script = Faults(
        [
            faults.Cut(route="submit", accepted=True, calls=[3, 9]),
            faults.Failed(error="oh", calls=[2, 5, 11]),
            faults.Status(route="submit", code=502, calls=[4]),
        ]
    )
    async with sandbox(service=5, price=0.01, faults=script) as server:
        report = await harness.run(server, harness.manifest(20))
    assert report.exit_code in (0, 3)
    assert looks > 20


async def test_what_is_wrong_with_the_file_costs_the_sharing_and_one_sentence(
    harness: Harness, sandbox: MakeSandbox, hostile_file: Callable[[Path], None]
) -> None:
    heard: list[tuple[str, str]] = []

    def hear(event: object) -> None:
        text = getattr(event, "text", "")
        if "share" in text:
            heard.append((getattr(event, "level", ""), text))

    async with sandbox(service=5, price=0.01) as server:
        hostile_file(account_file(server))
        report = await harness.run(server, harness.manifest(10, limits={"max_cost_per": {"day": 0.04}}), hear)
        assert (report.exit_code, report.counts["done"]) == (4, 4), "its own budget is kept"
    ((level, text),) = heard
    assert "this run goes on by itself" in text
    assert level == "warning", "other jobs do not see what it spends, which -q is to tell too"


def _damaged(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database at all" * 100)


def _of_something_else(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def _newer(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()


def _no_folder(path: Path) -> None:
    path.parents[1].parent.mkdir(parents=True)
    path.parents[1].write_text("a file where the folder should be")


@pytest.fixture(params=[_damaged, _of_something_else, _newer, _no_folder])
def hostile_file(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """What makes an account's file that cannot be used."""
    return request.param  # type: ignore[no-any-return]
