"""What CONTRIBUTING.md draws and names is what the code has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from batcher.task import TRANSITIONS, State
from diagram import diagram, drawn_in, redrawn

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_diagram_is_the_one_that_the_transitions_draw() -> None:
    assert drawn_in(PAGE) == diagram(TRANSITIONS), "`make diagram` draws it anew"


def test_every_state_and_every_move_is_drawn() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", diagram(TRANSITIONS), re.MULTILINE))
    assert drawn == {(origin, target) for origin in State for target in TRANSITIONS[origin]}


def test_a_stale_diagram_is_replaced_and_the_text_around_it_stays() -> None:
    stale = "before\n```mermaid\nstateDiagram-v2\n    old --> older\n```\nafter\n"
    assert redrawn(stale) == f"before\n{diagram(TRANSITIONS)}\nafter\n"


def test_a_page_without_a_diagram_is_refused() -> None:
    with pytest.raises(ValueError, match="0 mermaid diagrams"):
        redrawn("no diagram here")


def test_the_house_has_the_floors_of_the_import_contract() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(len(layers), 0, -1))
    floors = [[f"batcher.{room}" for room in re.findall(r"`(\w+)`", rooms)] for _, rooms in rows]
    assert floors == [floor.split(" | ") for floor in layers]


def test_every_module_has_its_room_in_the_house() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = {room for floor in layers for room in floor.split(" | ")}
    inside = (ROOT / "batcher").iterdir()
    modules = {path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {f"batcher.{module}" for module in modules - {"__init__", "sandbox"}} == rooms


@pytest.mark.parametrize("kind", ["base", "test", "check", "browser"])
def test_every_dependency_has_its_reason(kind: str) -> None:
    project = PROJECT["project"]
    declared = project["dependencies"] if kind == "base" else project["optional-dependencies"][kind]
    explained = re.findall(rf"^\| ([^|]+) \| {kind} \| \S", PAGE, re.MULTILINE)
    names = {name.strip() for row in explained for name in row.split(",")}
    assert names == {re.split(r"[^\w.-]", requirement)[0] for requirement in declared}


def test_every_promise_names_a_test_that_exists() -> None:
    section = PAGE.split("## Promises")[1].split("\n## ")[0]
    named = re.findall(r"\| `([\w/.]+)(?:::(\w+))?` \|$", section, re.MULTILINE)
    assert len(named) == len(re.findall(r"^\| [^|]+ \| [^|]+ \|$", section, re.MULTILINE)) - 1
    for file, test in named:
        source = (ROOT / "tests" / file).read_text("utf-8")
        assert f"def {test or 'test_'}" in source, f"{file} has no {test}"
