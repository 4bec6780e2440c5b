"""What CONTRIBUTING.md draws and names is what the code has; what pyproject.toml requires has its reason."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import batcher
from batcher.task import TRANSITIONS, State
from tests.tools.diagram import diagram, drawn_in, redrawn

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PROJECT_TEXT = (ROOT / "pyproject.toml").read_text("utf-8")
PROJECT = tomllib.loads(PROJECT_TEXT)
LAYERS = [layer.split(" | ") for layer in PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]]
APART = {"sandbox"}
"""It imports nothing of the layers."""


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


def test_the_packages_are_listed_as_the_import_contract_has_them() -> None:
    section = PAGE.split("## The packages")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == LAYERS


def test_every_module_has_its_layer() -> None:
    inside = (ROOT / "batcher").iterdir()
    modules = {path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").exists()}
    layers = {package for layer in LAYERS for package in layer}
    assert modules - {"__init__", "__main__"} - APART == layers
    assert all(f"batcher/{package}" in PAGE for package in APART)


def test_every_file_that_the_page_names_is_there() -> None:
    for name in re.findall(r"`((?:batcher|tests|jobs|examples)/[\w./]+)`", PAGE):
        assert (ROOT / name).exists(), name


def test_every_name_of_the_code_that_the_page_tells_to_add_to_is_there() -> None:
    section = PAGE.split("## How to add")[1]
    folders = (ROOT / "batcher", ROOT / "tests" / "support")
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".sql")]
    words = set(re.findall(r"\w+", " ".join(path.read_text("utf-8") for path in files)))
    for name in re.findall(r"`([\w.]+)`", section):
        if name.endswith((".py", ".sql")):
            assert any(path.name == name for path in files), name
        elif not (ROOT / name).exists():
            assert name.rpartition(".")[2] in words, name


def test_the_files_to_read_first_are_six() -> None:
    section = PAGE.split("## Read these first")[1].split("\n## ")[0]
    assert len(re.findall(r"^\d\. `batcher/", section, re.MULTILINE)) == 6


def requirements() -> Iterator[str]:
    """All that pyproject.toml requires, of whomever."""
    project = PROJECT["project"]
    yield from project["dependencies"]
    for required in (*project["optional-dependencies"].values(), *PROJECT["dependency-groups"].values()):
        yield from required


@pytest.mark.parametrize("requirement", sorted(set(requirements())))
def test_every_requirement_has_its_reason_beside_it(requirement: str) -> None:
    lines = [line for line in PROJECT_TEXT.splitlines() if f'"{requirement}"' in line]
    assert lines
    assert all(re.search(r'",\s+# \S', line) for line in lines)


def test_an_extra_declares_the_versions_that_the_tests_run_on() -> None:
    extras = [one for required in PROJECT["project"]["optional-dependencies"].values() for one in required]
    groups = [one for required in PROJECT["dependency-groups"].values() for one in required]
    names = {re.split(r"[^\w.-]", one)[0] for one in groups}
    assert [one for one in extras if re.split(r"[^\w.-]", one)[0] in names and one not in groups] == []


def test_the_version_stands_once_and_the_changelog_has_it() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "batcher/__init__.py"
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## \[([\d.]+)\]", changelog, re.MULTILINE)[0] == batcher.__version__
    written = [path for path in (ROOT / "batcher").rglob("*.py") if "batcher/0." in path.read_text("utf-8")]
    assert written == []


def test_every_promise_names_a_test_that_exists() -> None:
    section = PAGE.split("## Promises")[1].split("\n## ")[0]
    named = re.findall(r"\| `([\w/.]+)(?:::(\w+))?` \|$", section, re.MULTILINE)
    assert len(named) == len(re.findall(r"^\| [^|]+ \| [^|]+ \|$", section, re.MULTILINE)) - 1
    for file, test in named:
        source = (ROOT / "tests" / file).read_text("utf-8")
        assert f"def {test or 'test_'}" in source, f"{file} has no {test}"
