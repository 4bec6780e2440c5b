"""The tests lie as the code does, and what two of them need lies apart: CONTRIBUTING.md, "Tests"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CODE = TESTS.parent / "batcher"
APART = {"bench", "browser", "docs", "support", "tools"}
"""Folders of tests/ that mirror nothing in the code."""
FILES = sorted(TESTS.rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """The dotted names that a module imports, with what it takes from each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def from_a_test(name: str) -> bool:
    """Whether a name of tests/ is in a module of tests, or of fixtures."""
    top, *parts = name.split(".")
    return top == "tests" and any(part.startswith("test_") or part == "conftest" for part in parts)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(TESTS)) for path in FILES])
def test_nothing_is_imported_from_a_test_or_a_conftest(path: Path) -> None:
    assert [name for name in imported(path.read_text("utf-8")) if from_a_test(name)] == []


def test_an_import_from_a_test_is_noticed_however_it_is_written() -> None:
    source = "from tests.api.test_wire import a\nfrom tests.api import test_wire\nimport tests.conftest\n"
    assert all(map(from_a_test, imported(source)))
    assert not any(map(from_a_test, imported("from tests.support.buckets import Bucket\nimport test_me")))


def test_every_folder_mirrors_one_of_the_code_or_is_named_as_apart() -> None:
    folders = {path.parent.relative_to(TESTS) for path in FILES} - {Path()}
    strange = {
        str(folder)
        for folder in folders
        if folder.parts[0] not in APART and not (CODE / folder / "__init__.py").exists()
    }
    assert strange == set()


def test_every_folder_is_a_package_so_that_two_may_have_files_of_one_name() -> None:
    assert {path.parent for path in FILES} == {path.parent for path in TESTS.rglob("__init__.py")}


def test_a_file_at_the_top_mirrors_a_module_at_the_top() -> None:
    tested = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}
    assert tested <= {path.stem for path in CODE.glob("*.py")}


def test_what_the_makefile_names_of_the_tests_is_there() -> None:
    text = (TESTS.parent / "Makefile").read_text("utf-8")
    modules = [name.replace(".", "/") for name in re.findall(r"-m (tests[\w.]+)", text)]
    assert modules
    for path in (*re.findall(r"\btests/[\w/.]+", text), *modules):
        place = TESTS.parent / path
        assert place.exists() or place.with_suffix(".py").exists(), path
