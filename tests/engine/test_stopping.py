"""Stopping in good order, wherever it comes: the ledger is whole, and the same command goes on."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher import errors
from batcher.ledger import database, group_commit
from batcher.progress import Event, Snapshot, StateChanged
from batcher.sandbox import Faults, faults
from batcher.task import State
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

TASKS = 3


def cancelling(scope: anyio.CancelScope, at: int) -> type[group_commit.GroupCommit]:
    """A GroupCommit that cancels the run right after its `at`-th write."""

    class Cancelling(group_commit.GroupCommit):
        writes = 0

        def write(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
            cursor = super().write(statement, values)
            if self.writes == at:
                scope.cancel()
            self.writes += 1
            return cursor

    return Cancelling


@pytest.mark.parametrize("api", ["v2", "v1"])
async def test_a_cancellation_at_any_write_loses_nothing_and_pays_nothing_twice_but_doubts(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    at = 0
    while True:
        harness.move_to(f"out-{at}")
        async with sandbox(service=5) as server:
            with anyio.CancelScope() as scope:
                with monkeypatch.context() as patch:
                    patch.setattr(group_commit, "GroupCommit", cancelling(scope, at))
                    await harness.run(server, harness.manifest(TASKS, api=api))
            if not scope.cancelled_caught:
                break
            states = harness.states()
            assert states["submitting"] == 0, f"cancelled at write {at}"
            report = await harness.run(server, harness.manifest(TASKS, api=api))
            harness.check(report)
            assert (report.exit_code, report.counts["done"]) == (0, TASKS), f"cancelled at write {at}"
            assert TASKS <= server.billed <= TASKS + states["doubtful"], f"cancelled at write {at}"
        at += 1
    assert at > 20


@pytest.mark.parametrize(("allowed", "metered"), [(60, "submits"), (120, "all")])
async def test_max_duration_reckons_with_pauses_and_with_the_calls_that_are_owed(
    harness: Harness, sandbox: MakeSandbox, allowed: float, metered: str
) -> None:
    async with sandbox(service=5, rpm=allowed, metered=metered) as server:
        began = harness.now()
        job = harness.manifest(300, limits={"max_duration": "120s", "rpm": 120, "metered": metered})
        report = await harness.run(server, job)
        assert (report.exit_code, report.counts["submitted"], report.counts["ready"]) == (10, 0, 0)
        assert harness.now() - began <= 125


async def test_max_duration_ends_submits_early_enough_for_what_is_in_flight(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        began = harness.now()
        report = await harness.run(
            server, harness.manifest(200, limits={"max_duration": "60s", "rpm": 60}, poll={"delay": "0.5s"})
        )
        harness.check(report)
        assert report.exit_code == 10
        assert harness.now() - began <= 60
        assert report.counts["done"] >= 40
        assert report.counts["done"] + report.counts["planned"] == 200


@pytest.mark.parametrize("metered", ["submits", "all"])
async def test_max_duration_ends_beside_an_api_that_tells_no_status(
    harness: Harness, sandbox: MakeSandbox, metered: str
) -> None:
    """What is in flight stays so, for the next run, once the duration and the grace are over."""
    script = Faults([faults.Status(route="status", code=429, until=600)])
    async with sandbox(service=5, faults=script) as server:
        job = harness.manifest(20, limits={"max_duration": "15s", "metered": metered})
        began = harness.now()
        report = await harness.run(server, job)
        assert (report.exit_code, report.counts["submitted"]) == (10, server.billed)
        assert server.billed > 0
        assert 45 <= harness.now() - began <= 46
        await anyio.sleep(600)
        report = await harness.run(server, harness.manifest(20))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 20, 20)


async def test_max_duration_leaves_no_answer_to_a_post_behind(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=100) as server:
        report = await harness.run(server, harness.manifest(2, api="v1", limits={"max_duration": "15s"}))
        harness.check(report)
        assert report.counts["doubtful"] == report.counts["submitting"] == 0
        assert report.counts["done"] == server.billed > 0


async def test_a_limit_of_tasks_is_no_failure(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        report = await harness.run(server, harness.manifest(10), limit=4)
        assert (report.exit_code, report.counts["done"], report.counts["planned"]) == (0, 4, 6)
        assert report.state == "idle"
        assert (await harness.run(server, harness.manifest(10))).counts["done"] == 10


async def test_a_disk_that_refuses_a_picture_stops_the_run_and_nothing_is_half_written(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=5) as server:
        calls = 0

        def full(source: Any, target: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > 2:
                raise OSError(errno.ENOSPC, "No space left on device", str(target))
            real(source, target)

        real = os.link
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", full)
            patch.setattr(os, "rename", full)
            report = await harness.run(server, harness.manifest(6, limits={"in_flight": 2}))
        assert report.exit_code == 5
        assert "No space left" in " ".join(report.causes)
        assert report.counts["failed"] == 0
        report = await harness.run(server, harness.manifest(6))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 6, 6)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("name", ["metadata.jsonl", "errors.jsonl"])
async def test_a_record_that_cannot_grow_stops_nothing_and_is_written_at_the_end(
    harness: Harness, sandbox: MakeSandbox, name: str, api: str
) -> None:
    """What is in the air then is paid for once."""
    script = Faults(
        [
            faults.Status(code=400, route="sync", calls=[3]),
            faults.Failed(error="CUDA out of memory", calls=[3]),
        ]
    )
    async with sandbox(service=5, price=0.01, faults=script) as server:
        manifest = harness.manifest(8, api=api, limits={"in_flight": 2})
        await harness.run(server, manifest, limit=1)
        record = harness.output / name
        record.unlink()
        record.symlink_to("/dev/full")
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.counts["failed"]) == (3, 7, 1)
        assert (server.billed, record.is_symlink()) == (7, False)


async def test_a_full_ledger_disk_stops_the_run_before_another_post_leaves(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger may not grow any more: the intents that did not reach it were not sent."""
    real = database.open_file

    def small(path: Path, *, checked: bool = False) -> sqlite3.Connection:
        connection = real(path, checked=checked)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 6}")
        return connection

    async with sandbox(service=5) as server:
        with monkeypatch.context() as patch:
            patch.setattr(database, "open_file", small)
            with pytest.raises(errors.DiskError) as full:
                await harness.run(server, harness.manifest(100))
        assert "the same command goes on, and nothing is paid twice" in str(full.value)
        assert "in flight and will be billed: go on within the hour" in full.value.lines[-1]
        paid = len(server.jobs)
        known = harness.rows("SELECT count(*) FROM submissions")[0][0]
        assert paid <= known < 100
        report = await harness.run(server, harness.manifest(100))
        assert (report.exit_code, report.counts["done"], len(server.jobs)) == (0, 100, 100)
        assert harness.outcomes()["doubtful"] == 0


async def test_the_lock_tells_who_holds_the_job(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(2)
        told: list[BaseException] = []

        async def second() -> None:
            await anyio.sleep(2)
            with pytest.raises(errors.Locked, match=f"process {os.getpid()}") as caught:
                await harness.run(server, manifest)
            told.append(caught.value)

        async with anyio.create_task_group() as both:
            both.start_soon(harness.run, server, manifest)
            both.start_soon(second)
        assert told
        assert told[0].exit_code == 11  # type: ignore[attr-defined]


async def test_another_origin_is_refused_and_the_ledger_left_alone(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as first, sandbox(service=5) as second:
        await harness.run(first, harness.manifest(2))
        with pytest.raises(errors.OtherOrigin, match="choose another output folder"):
            await harness.run(second, harness.manifest(2))
        assert not second.jobs


async def test_what_was_long_stopped_is_fetched_oldest_first(harness: Harness, sandbox: MakeSandbox) -> None:
    heard: list[str] = []

    def ear(event: Event) -> None:
        if isinstance(event, StateChanged) and event.target is State.READY:
            heard.append(event.task)

    async with sandbox(
        service=5, faults=Faults([faults.Status(route="status", code=503, until=40)])
    ) as server:
        with anyio.move_on_after(30):
            await harness.run(server, harness.manifest(20, limits={"rpm": 60}))
        submitted = [name for (name,) in harness.rows(
            "SELECT t.name FROM tasks t JOIN submissions s ON s.id = t.submission "
            "WHERE t.state = 'submitted' ORDER BY s.submitted_at")]  # fmt: skip
        assert len(submitted) > 10
        await anyio.sleep(600)
        await harness.run(server, harness.manifest(20, limits={"rpm": 60, "metered": "all"}), ear)
        assert heard[: len(submitted)] == submitted
        assert server.billed == 20


async def test_the_second_signal_leaves_at_once_though_the_balance_is_awaited(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Hang(route="credits", calls=[2])])
    async with sandbox(service=5, faults=script) as server, anyio.create_task_group() as beside:

        async def signals() -> None:
            while not harness.output.exists() or harness.states()["done"] < TASKS:
                await anyio.sleep(0.5)
            await anyio.sleep(1)
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                await anyio.sleep(0.1)

        beside.start_soon(signals)
        began = harness.now()
        report = await harness.run(server, harness.manifest(TASKS), signals=True)
        assert (report.exit_code, report.counts["done"]) == (0, TASKS)
        assert harness.now() - began < 20


async def test_what_is_left_and_what_it_will_cost_is_of_what_this_run_does(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Snapshot] = []

    def hear(event: Event) -> None:
        if isinstance(event, Snapshot):
            heard.append(event)

    async with sandbox(service=5, rpm=60) as server:
        manifest = harness.manifest(500, limits={"rpm": 60, "in_flight": 4})
        report = await harness.run(server, manifest, hear, limit=20)
        assert (report.exit_code, report.counts["done"]) == (0, 20)
    assert {told.projected for told in heard} == {0.2}
    assert max(told.eta_high or 0.0 for told in heard) < 60


@pytest.mark.parametrize("resumed", [False, True])
async def test_what_is_left_goes_by_what_really_ends_where_the_files_are_the_narrow_place(
    harness: Harness, sandbox: MakeSandbox, resumed: bool
) -> None:
    heard: list[Snapshot] = []

    def hear(event: Event) -> None:
        if isinstance(event, Snapshot):
            heard.append(event)

    trickle = Faults([faults.SlowBody(delay=2)])
    manifest = harness.manifest(100, limits={"rpm": "none", "in_flight": 64, "downloads": 1})
    async with sandbox(service=1, sigma=0, rpm=100_000, faults=trickle) as server:
        if resumed:
            await harness.run(server, manifest, limit=30)
        report = await harness.run(server, manifest, hear)
        assert (report.exit_code, report.counts["done"]) == (0, 100)
    end = heard[-1].elapsed
    later = [told for told in heard if 0.2 * end < told.elapsed < 0.9 * end]
    assert len(later) > 50
    for told in later:
        assert told.eta_low is not None
        assert told.eta_high is not None
        assert 0.7 < told.eta_low / (end - told.elapsed) < 1.4
        assert told.eta_low <= told.eta_high < 1.5 * (end - told.elapsed)
