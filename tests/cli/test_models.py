"""`batcher models`: the catalogue first, then what the provider's list tells."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from batcher.job.catalog import models
from tests.support.program import PATIENCE, Program

pytestmark = pytest.mark.process


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def server(program: Program) -> Iterator[str]:
    with program.started("sandbox") as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def kept(program: Program) -> Path:
    return program.folder / ".local/state/batcher/models.json"


def keep(program: Program, *entries: dict[str, Any]) -> None:
    """A list that was fetched before."""
    kept(program).parent.mkdir(parents=True)
    content = {"as_of": "2026-11-29", "source": "https://a.example", "models": entries}
    kept(program).write_text(json.dumps(content))


def test_one_model_as_json_is_all_that_a_form_needs(program: Program) -> None:
    for model in models():
        found = json.loads(program("models", model.slug, "--json").stdout)
        assert found["origin"] == "catalogue"
        assert [one["name"] for one in found["parameters"]] == list(model.parameters)
        assert found["required"] == list(model.required)
        assert found["media"] == list(model.media)
        assert found["example"] == dict(model.example)
        jsonschema.validate(dict(model.example), found["params_schema"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"nothing": 1}, found["params_schema"])


def test_the_providers_list_is_kept_and_offline_nothing_changes(program: Program, server: str) -> None:
    done = program("models", "--refresh", SEGMIND_BASE_URL=server)
    assert done.returncode == 0
    assert done.stderr == f"5 models, 0 of them retired, are kept in {kept(program)}\n"
    assert len(done.stdout.splitlines()) == 1 + len(models())
    before = kept(program).read_bytes()
    for address in ("http://127.0.0.1:9", f"{server}/nowhere"):
        failed = program("models", "--refresh", "--base-url", address)
        assert (failed.returncode, failed.stdout) == (5, "")
        assert failed.stderr.startswith("batcher: the list of models could not be had from http://127.0.0.1")
        assert failed.stderr.endswith("; nothing has changed\n")
        assert failed.stderr.count("\n") == 1
    assert kept(program).read_bytes() == before


def test_other_models_stand_after_the_shipped_ones(program: Program) -> None:
    schema = {
        "required": ["image"],
        "properties": {"image": {"type": "string"}, "steps": {"type": "integer"}},
    }
    keep(
        program,
        {"slug": "painter", "title": "P", "retired": True, "parameters_schema": schema},
        {"slug": "a"},
    )
    lines = program("models").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == [model.slug for model in models()]
    assert lines[-1].split() == ["painter", "retired", "P"]
    shown = program("models", "painter").stdout
    assert "painter is retired" in shown
    assert "steps" in shown
    found = json.loads(program("models", "painter", "--json").stdout)
    assert (found["origin"], found["retired"], found["required"]) == ("list", True, ["image"])
    assert [one["slug"] for one in json.loads(program("models", "--json").stdout)][-2:] == ["a", "painter"]


def test_a_run_warns_before_it_pays(program: Program) -> None:
    schema = {"properties": {"image": {"type": "string"}, "steps": {"type": "integer", "maximum": 5}}}
    keep(program, {"slug": "painter", "retired": True, "parameters_schema": schema})
    path = program.manifest(1, model="painter", params={"image": "https://a.example/a.png", "steps": 9})
    for command in (("plan", str(path)), ("validate", str(path))):
        done = program(*command)
        assert done.returncode == 0
        assert "warning: painter is retired, says the provider's list of 2026-11-29" in done.stderr
        assert "warning: steps: 9 is out of range; it takes at most 5" in done.stderr
