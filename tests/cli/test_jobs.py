"""`batcher jobs`: what ran on this machine, how it ended, and what it cost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.cli import ended
from batcher.cli.job_folder import run_of
from batcher.engine import run
from batcher.ledger.account_file import AccountFile, Amounts, OtherSpending
from batcher.ledger.spending import day_of
from batcher.sandbox import Sandbox
from batcher.shard import Shard
from batcher.storage import user_state
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


class Jobs:
    """Jobs of one account, and what `batcher jobs` says of them."""

    def __init__(self, folder: Path, now: Callable[[], float], capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.now = now
        self._capsys = capsys

    async def ran(self, server: Sandbox, name: str, tasks: int, **limits: Any) -> Harness:
        """A job of this name that has run."""
        job = Harness(self.folder / name, self.now)
        job.folder.mkdir()
        await job.run(server, job.manifest(tasks, name=name, limits=limits), pay_again=True)
        return job

    def said(self, *arguments: str, code: int = 0) -> str:
        assert ended(["jobs", *arguments]) == code
        captured = self._capsys.readouterr()
        return captured.err if code else captured.out

    def told(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.said("--json", *arguments))
        return found


@pytest.fixture
def jobs(
    tmp_path: Path,
    now: Callable[[], float],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Jobs:
    """By the clock of the test, with its key in the environment."""
    monkeypatch.setattr(time, "time", now)
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    return Jobs(tmp_path, now, capsys)


async def test_each_job_is_listed_with_its_state_its_last_end_and_what_it_spent(
    jobs: Jobs, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        await jobs.ran(server, "streets", 3)
        await jobs.ran(server, "cats", 6, max_cost=0.04)
        await anyio.sleep(86_400)
        await jobs.ran(server, "dogs", 2)
        url = ("--base-url", server.url)
        found = jobs.told(*url)
        assert [
            (job["job"], job["state"], job["done"], job["total"], job["exit_code"], job["cost"])
            for job in found["jobs"]
        ] == [
            ("dogs", "finished", 2, 2, 0, {"spent": 0.02, "today": 0.02, "month": 0.02}),
            ("cats", "idle", 4, 6, 4, {"spent": 0.04, "today": 0.0, "month": 0.04}),
            ("streets", "finished", 3, 3, 0, {"spent": 0.03, "today": 0.0, "month": 0.03}),
        ]
        assert found["cost"] == {"today": 0.02, "month": 0.09}
        assert found["jobs"][1]["output"] == str(jobs.folder / "cats" / "out")
        assert found["jobs"][1]["causes"][0].startswith("BUDGET: max_cost allows 0.04 credits")
        said = jobs.said(*url)
    assert "cats  idle, 4 of 6 tasks done" in said
    assert "2026-01-05 12:00 UTC, exit code 4: BUDGET: max_cost allows 0.04 credits" in said
    assert said.endswith("together 0.02 credits today and 0.09 this month (UTC)\n")


async def test_what_is_gone_from_disk_is_marked_and_what_is_forgotten_still_counts(
    jobs: Jobs, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        url = ("--base-url", server.url)
        job = await jobs.ran(server, "streets", 3)
        shutil.rmtree(job.output)
        (gone,) = jobs.told(*url)["jobs"]
        assert (gone["state"], gone["gone"], gone["done"], gone["total"]) == ("gone", True, 3, 3)
        assert gone["cost"] == {"spent": 0.03, "today": 0.03, "month": 0.03}
        assert "(gone from disk)" in jobs.said(*url)
        # The same folder again is another job: what the first one spent is not lost.
        await job.run(server, job.manifest(1, name="streets"), pay_again=True)
        assert [one["gone"] for one in jobs.told(*url)["jobs"]] == [False, True]
        assert "2 jobs are called streets" in jobs.said(*url, "--forget", "streets", code=2)
        assert "no job here is called cats" in jobs.said(*url, "--forget", "cats", code=2)


async def test_a_run_that_is_paused_lives_and_is_said_to(jobs: Jobs, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        url = ("--base-url", server.url)
        job = await jobs.ran(server, "streets", 1)
        assert ended(["pause", str(job.output)]) == 0
        jobs.said(*url)  # with what `pause` said
        async with anyio.create_task_group() as beside:
            bounded = job.manifest(3, name="streets", limits={"max_duration": "60s"})
            beside.start_soon(job.run, server, bounded)
            await anyio.sleep(30)
            (waits,) = jobs.told(*url)["jobs"]
            assert (waits["state"], waits["running"], waits["exit_code"]) == ("paused", True, None)
            said = jobs.said(*url)
            assert "streets  paused, 1 of 3 tasks done" in said
            assert "last end  paused, its run waits" in said
        (over,) = jobs.told(*url)["jobs"]
        assert (over["state"], over["running"], over["exit_code"]) == ("paused", False, 10)
        assert "exit code 10" in jobs.said(*url)


@pytest.mark.parametrize("is_a_file", [False, True])
def test_where_no_job_can_be_noted_none_is_said_to_have_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_a_file: bool
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    assert ended(["jobs"]) == 0
    assert "no job of any account has run on this machine yet" in capsys.readouterr().out
    if is_a_file:
        state.touch()
    else:
        state.mkdir()
        real = os.access  # whoever is root may write everywhere
        monkeypatch.setattr(os, "access", lambda path, mode: path != state and real(path, mode))
    assert ended(["jobs"]) == 0
    said = f"no job of any account is noted in {state}/batcher/accounts, and none can be: {state} may not be"
    assert said in capsys.readouterr().out


async def test_a_rate_that_is_set_beside_other_runs_is_said_to_be_theirs_too(
    jobs: Jobs, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox(service=5) as server:
        monkeypatch.setenv("SEGMIND_BASE_URL", server.url)
        first, second = [await jobs.ran(server, name, 1) for name in ("streets", "cats")]
        assert ended(["set", str(first.output), "limits.rpm=30"]) == 0
        assert "beside" not in capsys.readouterr().out
        assert ended(["pause", str(second.output)]) == 0
        async with anyio.create_task_group() as beside:
            bounded = second.manifest(3, name="cats", limits={"max_duration": "60s"})
            beside.start_soon(second.run, server, bounded)
            await anyio.sleep(10)
            capsys.readouterr()
            assert ended(["set", str(first.output), "limits.rpm=20"]) == 0
            said = "1 other job runs beside it, and of all of them the lowest limits.rpm holds"
            assert said in capsys.readouterr().out
            assert ended(["set", str(first.output), "limits.in_flight=2"]) == 0
            assert "beside" not in capsys.readouterr().out


async def test_a_job_is_forgotten_by_its_manifest_from_wherever_it_was_run(
    jobs: Jobs, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=5) as server:
        url = ("--base-url", server.url)
        for name, typed in (("streets", "job.yaml"), ("cats", str(jobs.folder / "cats" / "job.yaml"))):
            job = Harness(jobs.folder / name, jobs.now)
            job.folder.mkdir()
            monkeypatch.chdir(job.folder)
            manifest = job.manifest(1, name=name)
            manifest = manifest.model_copy(update={"path": Path("job.yaml")})
            await job.run(server, manifest, pay_again=True)
            (listed,) = jobs.told(*url)["jobs"]
            assert listed["manifest"] == str(job.folder / "job.yaml")
            assert jobs.told(*url, "--forget", typed)["jobs"] == []


async def test_a_forgotten_job_is_listed_no_more_until_it_runs_again(
    jobs: Jobs, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        url = ("--base-url", server.url)
        job = await jobs.ran(server, "streets", 3)
        assert jobs.told(*url, "--forget", "streets") == {
            "jobs": [],
            "cost": {"today": 0.03, "month": 0.03},
        }
        assert "no job of this account has run on this machine yet" in jobs.said(*url)
        await job.run(server, job.manifest(4, name="streets"))
        assert [one["done"] for one in jobs.told(*url)["jobs"]] == [4]


async def test_a_folder_that_was_moved_is_one_job_and_a_copy_is_another(
    jobs: Jobs, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        url = ("--base-url", server.url)
        job = await jobs.ran(server, "streets", 2)
        job.output = job.output.rename(job.folder / "moved")
        await job.run(server, job.manifest(3, name="streets"))
        (moved,) = jobs.told(*url)["jobs"]
        assert (moved["output"], moved["cost"]["today"]) == (str(job.output), 0.03)
        shutil.copytree(job.output, job.folder / "copy")
        job.output = job.folder / "copy"
        await job.run(server, job.manifest(4, name="streets"))
        assert {Path(one["output"]).name for one in jobs.told(*url)["jobs"]} == {"moved", "copy"}


async def test_without_a_key_the_jobs_of_every_account_are_listed(
    jobs: Jobs, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        job = await jobs.ran(server, "streets", 1)
        other = Account(Endpoints(server.url, server.url, server.url), "SG_ffffffffffffffff")
        job.output = job.folder / "of-others"
        await run(job.manifest(2, name="theirs", params={"prompt": "{{ place }}"}), account=other)
        assert [one["job"] for one in jobs.told("--base-url", server.url)["jobs"]] == ["streets"]
        monkeypatch.delenv("SEGMIND_API_KEY")
        said = jobs.said()
    assert "streets  finished" in said
    assert "theirs  finished" in said
    assert f"account  {other.name}" in said
    assert "no API key is set" in said


async def test_neither_key_nor_address_can_be_had_from_an_accounts_file(
    jobs: Jobs, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        await jobs.ran(server, "streets", 2)
        (path,) = user_state.account_paths()
        assert len(path.stem) == 16
        assert int(path.stem, 16) >= 0
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        held = b"".join(one.read_bytes() for one in path.parent.iterdir())
        assert KEY.encode() not in held
        assert server.url.encode() not in held


async def test_the_sandbox_has_no_account(jobs: Jobs, now: Callable[[], float]) -> None:
    job = Harness(jobs.folder / "rehearsal", now)
    job.folder.mkdir()
    await run(job.manifest(2), sandbox=True, now=now)
    assert not user_state.account_paths()
    assert "no job of this account has run" in jobs.said()


async def test_what_a_killed_run_left_is_settled_by_its_ledger_once_the_next_run_sees_it(
    jobs: Jobs, sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        killed = await jobs.ran(server, "killed", 2)
        (path,) = user_state.account_paths()
        today = day_of(now())
        with closing(AccountFile(path)) as file:
            job = file.jobs(today=today, month=today)[0].id
            # As a process leaves it that is killed with a reservation which was never sent.
            at = anyio.current_time()
            file.enter(job, folder=killed.output, name="killed", manifest="", at=at, now=now())
            own = {today: Amounts(20_000, 10_000)}
            file.exchange(job, today=today, month=today, at=at, own=lambda others: own)
            assert file.others("another", today=today, month=today, at=at) == OtherSpending(
                30_000, 30_000, 10_000
            )
            await anyio.sleep(60)
            assert file.others("another", today=today, month=today, at=anyio.current_time()).open == 0
            await jobs.ran(server, "next", 1)
            assert file.others("another", today=today, month=today, at=at) == OtherSpending(30_000, 30_000, 0)
            assert file.jobs(today=today, month=today)[1].pid is None


async def test_a_job_is_talked_to_by_the_name_that_is_listed(
    jobs: Jobs, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox(service=5) as server:
        monkeypatch.setenv("SEGMIND_BASE_URL", server.url)
        monkeypatch.chdir(jobs.folder)
        job = await jobs.ran(server, "streets", 2)
        job.output.rename(jobs.folder / "elsewhere")
        job.output = jobs.folder / "elsewhere"
        await job.run(server, job.manifest(2, name="the streets"))
        for command, *further in (["status"], ["pause"], ["resume"], ["set", "limits.rpm=7"], ["ack"]):
            assert ended([command, "the streets", *further]) == 0, capsys.readouterr().err
        for command, *names in (["reject", "place 1"], ["keep", "place 1"]):
            assert ended([command, "the streets", *names]) == 0, capsys.readouterr().err
        capsys.readouterr()
        assert ended(["pause", "streets-v2"]) == 2
        assert "streets-v2: there is no such manifest or output folder, and `batcher jobs` lists no job" in (
            capsys.readouterr().err
        )
        await jobs.ran(server, "cats", 1)
        other = Harness(jobs.folder / "b", jobs.now)
        other.folder.mkdir()
        await other.run(server, other.manifest(1, name="the streets"), pay_again=True)
        assert ended(["status", "the streets"]) == 2
        said = capsys.readouterr().err
        assert f"2 jobs are called the streets; name one by its folder: {other.output}, {job.output}" in said
        # What lies on disk goes before a name.
        assert ended(["status", "cats"]) == 2
        assert "is not an output folder" in capsys.readouterr().err
        # One that is gone is no reason to ask which.
        shutil.rmtree(other.output)
        assert ended(["status", "the streets"]) == 0


async def test_a_command_that_is_named_runs_the_job_whatever_it_was_called_by(
    jobs: Jobs, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run` takes no name, and without --sandbox it would pay."""
    async with sandbox(service=5) as server:
        monkeypatch.setenv("SEGMIND_BASE_URL", server.url)
        monkeypatch.chdir(jobs.folder)
        job = await jobs.ran(server, "streets", 2)
        manifest = Path("streets/job.yaml")
        for called in (Path("streets"), Path("streets/out"), manifest):
            assert run_of(called) == "batcher run streets/job.yaml"
        options = {"output": Path("x y"), "shard": Shard(1, 2), "sandbox": True}
        assert run_of(manifest, **options) == "batcher run streets/job.yaml --shard 1/2 -o 'x y' --sandbox"
        (jobs.folder / "out").mkdir()
        job.output.rename(jobs.folder / "out" / "elsewhere")
        elsewhere = Harness(job.folder, jobs.now)
        elsewhere.output = jobs.folder / "out" / "elsewhere"
        await elsewhere.run(server, elsewhere.manifest(2, name="streets"))
        job.manifest(2, name="streets")
        assert run_of(Path("streets")) == "batcher run streets/job.yaml -o out/elsewhere"
        # Where nobody knows the manifest any more, none is named.
        manifest.unlink()
        assert run_of(Path("out/elsewhere")) == "batcher run"


async def test_a_repair_takes_a_name_that_is_listed(
    jobs: Jobs, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox(service=5) as server:
        monkeypatch.setenv("SEGMIND_BASE_URL", server.url)
        job = await jobs.ran(server, "streets", 2)
        monkeypatch.chdir(job.folder)
        assert await asyncio.to_thread(ended, ["verify", "streets", "--repair"]) == 0, capsys.readouterr().err
        assert "2 delivered files checked" in capsys.readouterr().out
        shutil.rmtree(job.output)
        assert ended(["status", "streets"]) == 2
        assert f"its output folder {job.output} is gone" in capsys.readouterr().err


async def test_a_job_that_ran_with_several_keys_is_told_once(
    jobs: Jobs, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them was wrong, or was replaced: the file of each has all that the job spent."""
    async with sandbox(service=5, price=0.01) as server:
        job = await jobs.ran(server, "streets", 2)
        account = Account(Endpoints(server.url, server.url, server.url), "SG_ffffffffffffffff")
        await run(job.manifest(3, name="streets"), account=account, now=jobs.now)
        monkeypatch.delenv("SEGMIND_API_KEY")
        found = jobs.told()
        assert [(one["job"], one["cost"]["spent"]) for one in found["jobs"]] == [("streets", 0.03)]
        assert found["cost"] == {"today": 0.03, "month": 0.03}
        assert ended(["status", "streets"]) == 0, capsys.readouterr().err


async def test_of_many_jobs_the_newest_are_told_in_full_and_the_others_in_a_line(
    jobs: Jobs, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=1, price=0.01) as server:
        for number in range(10):
            await jobs.ran(server, f"job-{number}", 1)
        lines = jobs.said("--base-url", server.url).splitlines()
    assert sum(line.startswith("  last end  ") for line in lines) == 8
    (row,) = [line for line in lines if line.startswith("job-0 ")]
    assert row.split()[:6] == ["job-0", "finished", "0", "1", "of", "1"]
    assert row.endswith(str(jobs.folder / "job-0" / "out"))
