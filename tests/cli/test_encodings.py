"""What a stream cannot spell ends no command, and what programs read stays JSON, a line each."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from batcher.results.report import record_files
from tests.support.program import Program

pytestmark = pytest.mark.process

WORDS = "日本 “fox” 🦊"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    job = f'model: x\ninputs: {{rows: [{{a: "{WORDS}"}}]}}\nparams: {{prompt: "{{{{ a }}}}"}}\n'
    (tmp_path / "job.yaml").write_text(job, encoding="utf-8")
    return Program(tmp_path)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_a_plan_is_shown_whatever_the_streams_encoding(program: Program, encoding: str) -> None:
    command = " ".join(program.command(("plan", "job.yaml")))
    shown = program.shell(f"PYTHONIOENCODING={encoding} {command} | cat >shown")
    assert (shown.returncode, "Traceback" in shown.stderr) == (0, False)
    assert "1 new" in (program.folder / "shown").read_text(encoding)
    found = program.shell(f"PYTHONIOENCODING={encoding} {command} --json >found")
    assert found.returncode == 0
    (sample,) = json.loads((program.folder / "found").read_text(encoding))["sample"]
    assert sample["params"]["prompt"] == WORDS


def test_no_character_of_a_record_ends_its_line() -> None:
    record = {"prompt": "one\u2028two\u2029three\x85four\x0bfive", "plain": "é"}
    text = record_files.line(record)
    assert (len(text.splitlines()), json.loads(text)) == (1, record)
    assert "é" in text
    with sqlite3.connect(":memory:") as connection:
        assert connection.execute("SELECT json_valid(?)", (text,)).fetchone() == (1,)
