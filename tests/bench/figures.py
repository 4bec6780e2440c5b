"""A figure, its bar and its verdict; the table for people, the JSON for programs.

Rule: a figure that misses its bar says so; nothing is rounded into the bar.
"""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Sense = Literal["<=", ">=", "-"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number against its bar. `sense` "-": shown for comparison, with no bar. `others`: the same number
    of the peers, by name; `note`: what else there is to say of it."""

    row: str
    what: str
    value: float
    sense: Sense = "-"
    bar: float = 0.0
    unit: str = ""
    others: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def kept(self) -> bool | None:
        """Whether the bar is kept; None where there is none."""
        if self.sense == "-":
            return None
        return self.value <= self.bar if self.sense == "<=" else self.value >= self.bar

    @property
    def measured(self) -> bool:
        """Whether there is a number at all."""
        return not math.isnan(self.value)

    @property
    def verdict(self) -> str:
        """The word in the table; rows that could not be measured keep no bar."""
        if not self.measured:
            return "FAILED"
        return {True: "kept", False: "MISSED", None: ""}[self.kept]


def table(figures: Sequence[Figure]) -> str:
    """All figures, one line each, in Markdown."""
    head = ("row", "figure", "bar", "batcher", "verdict", "others", "note")
    lines = [head]
    before = ""
    for figure in figures:
        bar = "" if figure.sense == "-" else f"{figure.sense} {short(figure.bar)} {figure.unit}".strip()
        others = ", ".join(f"{name} {short(value)}" for name, value in figure.others.items())
        row = figure.row if figure.row != before else ""
        before = figure.row
        value = f"{short(figure.value)} {figure.unit}".strip()
        lines.append((row, figure.what, bar, value, figure.verdict, others, figure.note))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rows = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(rows)


def short(value: float) -> str:
    """Four digits are enough, and tell a bar that is just missed from one that is kept."""
    if math.isnan(value):
        return ""
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def machine() -> dict[str, Any]:
    """Where it was measured."""
    import os

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }


def write(path: Path, figures: Sequence[Figure], facts: dict[str, Any]) -> None:
    """Everything, as JSON."""
    found = [{**asdict(figure), "verdict": figure.verdict} for figure in figures if figure.measured]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts, "figures": found}, indent=1) + "\n", "utf-8")
