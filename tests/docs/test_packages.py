"""Each package's docstring is its map: it lists the package's files, all of them and no others.

A line of the map begins with one file or several (`writer.py`, `schema.sql`, `wire/`, `*.yaml`) and says, two
spaces after them or more, what they hold.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [path.parent for path in sorted((ROOT / "batcher").rglob("__init__.py"))]
ONE = r"(?:[\w.*-]+\.(?:py|sql|yaml|js|css|html)|\w+/)"
LINE = re.compile(rf"^ *({ONE}(?:, {ONE})*)  +\S", re.MULTILINE)


def listed(package: Path) -> set[str]:
    """The files that the docstring lists."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    return {name for line in LINE.findall(text) for name in line.split(", ")}


def modules(package: Path) -> set[str]:
    """The modules of a package, and the packages in it."""
    inside = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    return inside | {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}


@pytest.mark.parametrize("package", PACKAGES, ids=[str(path.relative_to(ROOT)) for path in PACKAGES])
def test_the_docstring_of_a_package_lists_its_files(package: Path) -> None:
    """Data may be listed too, with a pattern."""
    names = listed(package)
    data = {name for name in names if not name.endswith((".py", "/"))}
    folders = {name for name in names if name.endswith("/")}
    assert modules(package) <= names, "a file is not listed"
    assert names - data - folders <= modules(package), "a file is listed that is not there"
    assert all(any(package.glob(name.rstrip("/"))) for name in data | folders)
