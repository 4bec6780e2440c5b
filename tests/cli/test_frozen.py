"""The program, stopped in mid-run as by SIGSTOP, a closed laptop or a paused machine, and let go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.support.program import KEY, PATIENCE, Program, until

pytestmark = pytest.mark.process
TASKS = 8
SUBMIT_SECONDS, ANSWERED_AFTER, STOPPED = 3.0, 1.0, 4.0
"""A submit's answer comes while the program is stopped, which lasts longer than a submit may take."""
IMPATIENT = f"""
from batcher.api import client
client.SUBMIT_SECONDS = {SUBMIT_SECONDS}
from batcher.cli import main
import sys
sys.exit(main())
"""


def jobs_of(address: str) -> int:
    """How many requests the sandbox has seen."""
    url = f"{address}/inference-request/request-history?per_page=100&page=1"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"x-api-key": KEY})) as answer:
        return int(json.load(answer)["total"])


def test_answers_that_came_while_it_was_stopped_are_read_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    program = Program(tmp_path)
    slow = [{"fault": "slow", "route": "submit", "delay": f"{ANSWERED_AFTER}s"}]
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump(slow))
    with program.started("sandbox", "--service", "100ms", "--faults", "faults.yaml") as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        program.environment |= {"SEGMIND_BASE_URL": address, "SEGMIND_API_KEY": KEY}
        job = str(program.manifest(TASKS, limits={"rpm": "none", "in_flight": TASKS}))
        with subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, "run", job, "-y", "--json"],
            cwd=tmp_path, env=program.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as run:  # fmt: skip
            try:
                until(lambda: jobs_of(address) == TASKS)
                run.send_signal(signal.SIGSTOP)
                time.sleep(STOPPED)
                run.send_signal(signal.SIGCONT)
                assert run.wait(PATIENCE) == 0
            finally:
                run.kill()
        report = program.json("status", job, "--json")
        assert jobs_of(address) == TASKS
        assert (report["counts"]["done"], report["calls"]["submit"]) == (TASKS, TASKS)
        assert report["cost"]["doubtful"] == 0
