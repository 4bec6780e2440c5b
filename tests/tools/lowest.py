"""The oldest versions that pyproject.toml declares, as exact requirements: what `make test-lowest` installs.

    python -m tests.tools.lowest     what the program and its tests require, one `name==version` a line

Rule: every range has a lower bound, and it is the one that was tested.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
BOUND = re.compile(r"([A-Za-z0-9._-]+(?:\[[^\]]*\])?)\s*(?:>=|==)\s*([^\s,;]+)")


def lowest(requirements: Iterable[str]) -> Iterator[str]:
    """Each requirement at its lower bound. Raises ValueError for one that has none."""
    for requirement in requirements:
        bound = BOUND.match(requirement)
        if bound is None:
            raise ValueError(f"{requirement!r} declares no lower bound")
        yield f"{bound[1]}=={bound[2]}"


if __name__ == "__main__":
    declared = tomllib.loads(PROJECT.read_text("utf-8"))
    requirements = [*declared["project"]["dependencies"], *declared["dependency-groups"]["test"]]
    sys.stdout.writelines(f"{one}\n" for one in lowest(requirements))
