"""The diagram of a task's life, drawn from TRANSITIONS: CONTRIBUTING.md has it, and this file keeps it true.

python -m tests.tools.diagram          writes it anew (`make diagram`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path

from batcher.task import FINAL, TRANSITIONS, State

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
BLOCK = re.compile(r"```mermaid\n.*?```", re.DOTALL)


def diagram(transitions: Mapping[State, Set[State]]) -> str:
    """The moves as a mermaid state diagram, in the order in which a task passes its states."""
    moves = [
        f"    {origin} --> {target}"
        for origin, targets in transitions.items()
        for target in State
        if target in targets
    ]
    ends = [f"    {state} --> [*]" for state in State if state in FINAL]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {State.PLANNED}", *moves, *ends, "```"])


def drawn_in(page: str) -> str:
    """The diagram that a page has. Raises ValueError unless it has exactly one."""
    found = BLOCK.findall(page)
    if len(found) != 1:
        raise ValueError(f"the page has {len(found)} mermaid diagrams; it should have one")
    return str(found[0])


def redrawn(page: str) -> str:
    """The page with its diagram as TRANSITIONS say it."""
    return page.replace(drawn_in(page), diagram(TRANSITIONS))


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text("utf-8")), "utf-8")
