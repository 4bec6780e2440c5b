"""Several runs of one account: they share its limit, and say so."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from batcher import errors
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine.account_membership import AccountMembership
from batcher.ledger.account_file import AccountFile
from batcher.progress import Event, Message, Snapshot, summary
from batcher.results.report import Report, of_folder
from batcher.sandbox import Sandbox
from batcher.storage import user_state
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


def several(harness: Harness, number: int) -> list[Harness]:
    """So many jobs, each in a folder of its own."""
    jobs = []
    for n in range(number):
        jobs.append(Harness(harness.folder / f"job-{n}", harness.now))
        jobs[-1].folder.mkdir()
    return jobs


@pytest.mark.parametrize(("bucket", "metered"), [(False, "submits"), (True, "submits"), (False, "all")])
async def test_three_jobs_use_one_limit_up_with_hardly_a_429_and_end_together(
    harness: Harness, sandbox: MakeSandbox, bucket: bool, metered: str
) -> None:
    ends: list[float] = []
    reports: list[Report] = []
    tasks = 60 if metered == "submits" else 20
    limits = {"rpm": 60, "metered": metered, "in_flight": "auto"}

    async def one(job: Harness, server: Sandbox) -> None:
        reports.append(await job.run(server, job.manifest(tasks, limits=limits)))
        ends.append(anyio.current_time() - began)

    jobs = several(harness, 3)
    async with sandbox(service=5, rpm=60, bucket=bucket, burst=10, metered=metered) as server:
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for job in jobs:
                group.start_soon(one, job, server)
    assert {report.exit_code for report in reports} == {0}
    assert sum(report.calls["throttled"] for report in reports) <= 0.02 * 3 * tasks
    calls = {"submits": 1, "all": 4}[metered]
    assert max(ends) <= 1.05 * 3 * tasks * calls + 20
    assert min(ends) > 0.85 * max(ends)
    # The rest of the difference is the service's: what they submit goes in turns, from the first to the last.
    sent = [job.rows("SELECT submitted_at FROM submissions ORDER BY submitted_at") for job in jobs]
    first, lasts = min(times[0][0] for times in sent), [times[-1][0] for times in sent]
    assert min(lasts) - first > 0.95 * (max(lasts) - first)
    assert metered == "all" or max(lasts) - first < 1.01 * 3 * tasks


async def test_who_runs_beside_is_shown_while_it_does_and_no_longer(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Snapshot] = []
    pages: set[str] = set()
    long, short = several(harness, 2)

    def hear(event: Event) -> None:
        if isinstance(event, Snapshot):
            heard.append(event)
            pages.add(of_folder(long.output, now=harness.now()).sharing)

    async with sandbox(service=5) as server, anyio.create_task_group() as group:
        limits = {"rpm": 60, "metered": "submits"}
        group.start_soon(long.run, server, long.manifest(60, limits=limits), hear)
        await anyio.sleep(5)
        await short.run(server, short.manifest(10, limits=limits), pay_again=True)
        ended = anyio.current_time()
        await anyio.sleep(10)
        assert heard[-1].other_jobs == 0
        assert anyio.current_time() > ended
    assert {snapshot.other_jobs for snapshot in heard} == {0, 1}
    said = {part for snapshot in heard for part in summary.pace(snapshot)}
    assert "shares 60 calls a minute with 1 other job" in said
    assert "limit 60 a minute" in said
    assert "shares 60 calls a minute with 1 other job" in pages
    assert of_folder(long.output, now=harness.now()).sharing == ""


async def test_the_lower_of_two_limits_holds_while_both_run_and_is_told_once(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[str] = []
    fast, slow = several(harness, 2)

    def hear(event: Event) -> None:
        if isinstance(event, Message) and "the lower holds" in event.text:
            heard.append(event.text)

    async with sandbox(service=5) as server, anyio.create_task_group() as group:
        group.start_soon(
            fast.run, server, fast.manifest(100, limits={"rpm": 120, "metered": "submits"}), hear
        )
        await anyio.sleep(5)
        limits = {"rpm": 30, "metered": "submits"}
        await slow.run(server, slow.manifest(20, name="slow", limits=limits), pay_again=True)
    assert heard == ["limits.rpm is 30 in slow, which runs beside, and 120 here: the lower holds"]


async def test_what_429s_taught_one_job_the_next_one_knows(harness: Harness, sandbox: MakeSandbox) -> None:
    first, second = several(harness, 2)
    limits = {"rpm": 600, "metered": "submits"}
    async with sandbox(service=2, rpm=60) as server:
        report = await first.run(server, first.manifest(200, limits=limits))
        assert report.calls["throttled"] > 0
        path = user_state.account_path(Account(Endpoints(server.url, server.url, server.url), KEY).name)
        with sqlite3.connect(path) as connection:
            (text,) = connection.execute("SELECT learned FROM shared_limit").fetchone()
        connection.close()
        assert 50 <= json.loads(text)["per_minute"] <= 66
        await anyio.sleep(60)
        report = await second.run(server, second.manifest(120, limits=limits), pay_again=True)
        assert report.calls["throttled"] <= 2


class Busy:
    """A method of the account's file that finds it busy at first, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
        self.calls = 0
        use = getattr(AccountFile, name)

        def tried(file: AccountFile, *args: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls <= times:
                raise errors.AccountFileBusy("somebody else writes")
            return use(file, *args, **more)

        monkeypatch.setattr(AccountFile, name, tried)


def account_file(server: Sandbox) -> AccountFile:
    return AccountFile(
        user_state.account_path(Account(Endpoints(server.url, server.url, server.url), KEY).name)
    )


async def test_a_file_that_is_busy_at_the_end_still_hears_how_the_run_ended(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    leaving = Busy(monkeypatch, "leave", 5)
    async with sandbox(service=5, price=0.01) as server:
        report = await harness.run(server, harness.manifest(10, limits={"max_cost": 0.04}), heard.append)
        with closing(account_file(server)) as file:
            (row,) = file.jobs(today=0, month=0)
    assert (leaving.calls, report.exit_code) == (6, 4)
    assert (row.exit_code, row.pid) == (4, None)
    assert row.why == "; ".join(report.causes)
    assert not [event for event in heard if isinstance(event, Message) and "share" in event.text]


async def test_the_news_of_a_429_that_found_the_file_busy_is_told_within_a_second(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pausing = Busy(monkeypatch, "pause", 1)
    async with sandbox(service=2, rpm=60) as server, anyio.create_task_group() as group:
        limits = {"rpm": 600, "metered": "submits"}
        group.start_soon(harness.run, server, harness.manifest(80, limits=limits))
        while not pausing.calls:
            await anyio.sleep(0.1)
        await anyio.sleep(1.2)
        assert pausing.calls >= 2
        with closing(account_file(server)) as file:
            state = file.state("another", anyio.current_time())
        assert state.blocked > anyio.current_time()


async def test_all_who_wait_for_a_busy_file_have_the_same_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = SimpleNamespace(rpm=None)
    context: Any = SimpleNamespace(job=SimpleNamespace(limits=limits), is_sandbox=True)
    ledger: Any = None
    taking = Busy(monkeypatch, "take", 20)
    membership = AccountMembership(context, ledger)
    with closing(AccountFile(tmp_path / "a.sqlite")) as file:
        membership._file = file
        began = anyio.current_time()
        slots = await asyncio.gather(*(membership.take(1.0, 0.0, spaced=False) for _ in range(10)))
        took = anyio.current_time() - began
    assert took == pytest.approx(20 * 0.05, abs=0.06)
    assert (taking.calls, len({slot.at for slot in slots if slot})) == (30, 10)
