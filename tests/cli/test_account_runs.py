"""Three real runs of one account, in processes of their own: one limit, one day's budget, and kill -9."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import KEY, PATIENCE, Program, until

RPM = 1200
TASKS = 100


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program, beside a sandbox that limits as an account does."""
    program = Program(tmp_path)
    flags = ("--service", "200ms", "--workers", "64", "--price", "0.01", "--rpm", str(RPM))
    with program.started("sandbox", *flags, "--metered", "submits") as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        program.environment |= {"SEGMIND_BASE_URL": address, "SEGMIND_API_KEY": KEY}
        yield program
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def commands(program: Program, **limits: Any) -> list[tuple[str, ...]]:
    program.manifest(TASKS, limits={"rpm": RPM, "metered": "submits", **limits}, price=0.01)
    return [("run", "job.yaml", "-o", f"out-{n}", "--json", "--pay-again") for n in range(3)]


def listed(program: Program) -> dict[str, dict[str, Any]]:
    return {Path(job["output"]).name: job for job in program.json("jobs", "--json")["jobs"]}


def test_three_runs_share_the_limit_and_one_that_is_killed_holds_nobody(program: Program) -> None:
    with ExitStack() as stack:
        runs = [stack.enter_context(program.started(*command)) for command in commands(program)]
        until(lambda: [job["state"] for job in listed(program).values()].count("running") == 3)
        until(lambda: min(job["done"] for job in listed(program).values()) > 5)
        runs[0].kill()
        reports = [json.loads(run.communicate(timeout=PATIENCE)[0]) for run in runs[1:]]
    assert [report["counts"]["done"] for report in reports] == [TASKS, TASKS]
    assert sum(report["calls"]["throttled"] for report in reports) <= 4
    jobs = listed(program)
    assert (jobs["out-1"]["state"], jobs["out-1"]["exit_code"]) == ("finished", 0)
    assert (jobs["out-0"]["state"], jobs["out-0"]["exit_code"]) == ("idle", None)
    assert "without a word" in program("jobs").stdout
    assert program(*commands(program)[0]).returncode == 0
    assert listed(program)["out-0"]["done"] == TASKS


def test_three_runs_and_one_killed_stay_within_the_days_budget(program: Program) -> None:
    with ExitStack() as stack:
        started = [
            stack.enter_context(program.started(*command))
            for command in commands(program, max_cost_per={"day": 1.2})
        ]
        until(lambda: sum(job["done"] for job in listed(program).values()) > 20)
        started[0].kill()
        codes = [run.wait(PATIENCE) for run in started[1:]]
    assert codes == [4, 4]
    found = program.json("jobs", "--json")
    assert found["cost"]["today"] <= 1.2
    again = [program(*command).returncode for command in commands(program, max_cost_per={"day": 1.2})]
    assert again == [4, 4, 4]
    assert 1.1 <= program.json("jobs", "--json")["cost"]["today"] <= 1.2
