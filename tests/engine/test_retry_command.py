"""batcher retry: what failed may be submitted again, beside a run or without one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest

from batcher.cli import ended
from batcher.sandbox import Faults, faults
from batcher.storage import layout, lock
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


async def retried(*arguments: str) -> int:
    """The command in a thread: a run in this loop goes on meanwhile."""
    return await asyncio.to_thread(ended, ["retry", *arguments])


async def failed_job(harness: Harness, sandbox: MakeSandbox, **changes: Any) -> None:
    """A finished job of four tasks: one done, two that ran out of memory, one that was blocked."""
    script = Faults(
        [
            faults.Failed(error="CUDA out of memory", calls=[1, 2]),
            faults.Failed(error="NSFW content detected", calls=[3]),
        ]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(4, **changes))
        assert (report.counts["failed"], report.counts["done"]) == (3, 1)


@pytest.fixture
def job(harness: Harness) -> str:
    return str(harness.folder / "job.yaml")


async def test_failed_tasks_are_planned_again_and_the_next_run_submits_them(
    harness: Harness, sandbox: MakeSandbox, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await failed_job(harness, sandbox)
    assert await retried(job) == 0
    assert capsys.readouterr().out == f"3 failed tasks are planned again\n`batcher run {job}` submits them\n"
    assert harness.states() == {"done": 1, "planned": 3}


async def test_the_same_command_then_delivers_them(harness: Harness, sandbox: MakeSandbox, job: str) -> None:
    script = Faults([faults.Failed(error="CUDA out of memory", first=2)])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(4)
        assert (await harness.run(server, manifest)).exit_code == 3
        assert await retried(job) == 0
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 4)


async def test_a_reason_chooses(
    harness: Harness, sandbox: MakeSandbox, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await failed_job(harness, sandbox)
    assert await retried(job, "--reason", "out of memory", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "job": "job", "retried": {"failed": 2, "doubtful": 0}, "running": False,
    }  # fmt: skip
    assert harness.states() == {"done": 1, "planned": 2, "failed": 1}


async def test_a_glob_chooses_by_name(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    await failed_job(harness, sandbox)
    failed = [name for (name,) in harness.rows("SELECT name FROM tasks WHERE state = 'failed' ORDER BY id")]
    assert await retried(str(harness.output), "--only", f"*{failed[1][-1]}") == 0
    assert harness.rows("SELECT name FROM tasks WHERE state = 'planned'") == [(failed[1],)]
    submits = f"`batcher run {harness.folder}/job.yaml` submits them"
    assert capsys.readouterr().out == f"1 failed task is planned again\n{submits}\n"


async def test_where_nothing_fits_nothing_is_changed(
    harness: Harness, sandbox: MakeSandbox, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await failed_job(harness, sandbox)
    for choice in (["--doubtful"], ["--only", "nobody"], ["--reason", "nothing"]):
        assert await retried(job, *choice) == 0
        assert capsys.readouterr().out == "no task fits; nothing was changed\n"
    assert harness.states() == {"done": 1, "failed": 3}


async def test_tasks_held_in_doubt_are_planned_again_only_when_asked_for(
    harness: Harness, sandbox: MakeSandbox, job: str
) -> None:
    script = Faults([faults.Cut(route="submit", accepted=True, calls=[1])])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(2, retry={"doubtful": "hold"})
        assert (await harness.run(server, manifest)).counts["doubtful"] == 1
        assert await retried(job) == 0
        assert harness.states()["doubtful"] == 1
        assert await retried(job, "--doubtful") == 0
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.counts["done"], server.billed) == (2, 3)
        assert report.cost["doubtful"] > 0


async def test_a_run_that_goes_on_submits_what_was_retried_beside_it(
    harness: Harness, sandbox: MakeSandbox, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Faults(
        [faults.Failed(error="CUDA out of memory", calls=[1]), faults.SlowBody(delay=120, calls=[1])]
    )
    async with sandbox(service=5, sigma=0, faults=script) as server:
        manifest = harness.manifest(3)
        reports = []

        async def running() -> None:
            reports.append(await harness.run(server, manifest))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await anyio.sleep(40)
            assert harness.states() == {"failed": 1, "ready": 1, "done": 1}
            assert await retried(job) == 0
            assert "the run that is going on submits them" in capsys.readouterr().out
        harness.check(reports[0])
        assert (reports[0].exit_code, reports[0].counts["done"]) == (0, 3)
        assert (len(server.jobs), server.billed) == (4, 3)


async def test_a_task_that_is_retried_while_the_history_is_asked_for_it_is_submitted_again(
    harness: Harness, sandbox: MakeSandbox, job: str
) -> None:
    script = Faults(
        [faults.Cut(route="submit", accepted=True, calls=[1]), faults.Hang(route="history", calls=[1])]
    )
    async with sandbox(service=5, faults=script) as server, anyio.create_task_group() as beside:

        async def retry() -> None:
            while not harness.output.exists() or harness.states()["doubtful"] < 1:
                await anyio.sleep(0.5)
            await anyio.sleep(10)
            assert await retried(job, "--doubtful") == 0

        manifest = harness.manifest(3, retry={"doubtful": "reconcile"})
        beside.start_soon(retry)
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 4)


async def test_a_job_that_another_run_holds_is_told_so(
    harness: Harness, sandbox: MakeSandbox, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await failed_job(harness, sandbox)
    with lock.hold(layout.lock_path(harness.output), since="now"):
        assert await retried(job, "--json") == 0
    assert json.loads(capsys.readouterr().out)["running"] is True


async def test_a_ledger_that_is_not_there_is_a_sentence(
    harness: Harness, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.manifest(1)
    assert await retried(job) == 2
    assert "nothing was run yet" in capsys.readouterr().err
    assert not harness.output.exists()


async def test_doubtful_tasks_have_no_reason_to_choose_by(
    job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await retried(job, "--doubtful", "--reason", "cut") == 2
    assert "only failed tasks have a reason" in capsys.readouterr().err
