"""`batcher audit` as people read it: the ledger beside the provider's statement, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.support.program import KEY, Program

pytestmark = pytest.mark.process


def lines_of(text: str) -> list[str]:
    return [re.sub(r" {2,}", "  ", line) for line in text.splitlines()]


def test_a_paid_job_whose_answer_was_lost_is_named_taken_home_and_explained(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.environment["SEGMIND_API_KEY"] = KEY
    faults = [{"fault": "cut", "route": "submit", "accepted": True, "calls": [2]}]
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump(faults), encoding="utf-8")
    program.manifest(3, retry={"doubtful": "hold"}, price=0.01)
    flags = ("--faults", "faults.yaml", "--service", "100ms", "--price", "0.01")
    with program.started("sandbox", *flags) as server:
        assert server.stdout is not None
        program.environment["SEGMIND_BASE_URL"] = server.stdout.readline().strip()
        assert program("run", "job.yaml", "-y").returncode == 3
        told = program("audit", "job.yaml")
        assert told.returncode == 3
        said = lines_of(told.stdout)
        assert said[:3] == [
            "the provider's statement  3  0.03",
            "delivered  2  0.02",
            "paid for, never received  1  0.01",
        ]
        assert re.fullmatch(r"  never received: .+, 0\.01, \S+", told.stdout.splitlines()[3])
        assert said[-1].startswith("0.01 credits were paid for pictures that never came: `batcher audit")
        adopted = program("audit", "job.yaml", "--adopt")
        assert "1 result is adopted: `batcher run job.yaml` fetches them" in adopted.stdout
        assert program("run", "job.yaml", "-y").returncode == 0
        told = program("audit", "job.yaml")
        assert (told.returncode, lines_of(told.stdout)) == (
            0,
            ["the provider's statement  3  0.03", "delivered  3  0.03", "every credit is explained"],
        )
