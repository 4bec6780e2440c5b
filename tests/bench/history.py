"""What full runs of the benchmark told, commit by commit: a line of ratios each.

Rule: only ratios, and figures with a bar, are kept; `machine` is what a fixed loop took here, in seconds, so
that runs of different machines and days can be told apart.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench import pictures
from tests.bench.figures import Figure

ROUNDS = 400_000
FEWEST = 2
"""Runs that make a history."""
NAMES, WORDS, HEIGHT = 400, 60, 34
"""Of the picture: room for the names and for the last value, and the height of a figure's line."""
LONGEST = 64
CUT = 2.0
"""What is farther from its bar is drawn there."""


def remembered(path: Path, figures: Sequence[Figure]) -> None:
    """Adds a line for this run."""
    line = {
        "commit": commit(path.parent),
        "machine": round(calibration(), 3),
        "figures": {
            name(figure): round(figure.value, 4)
            for figure in figures
            if figure.measured and figure.sense != "-"
        },
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def calibration() -> float:
    """Seconds that a fixed loop takes: what this machine does at this hour."""
    began = time.perf_counter()
    digest = b""
    for number in range(ROUNDS):
        digest = hashlib.sha256(digest + number.to_bytes(4, "big")).digest()
    return time.perf_counter() - began


def commit(folder: Path) -> str:
    """The commit that is measured; a + behind it where the folder has changes."""
    words = ["git", "-C", str(folder), "describe", "--always", "--dirty=+"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def draw(path: Path, figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Draws `history.svg`: how far from its bar each of these figures was in the runs so far; the file."""
    lines = read(path)
    bars = [one for one in figures if one.measured and one.sense != "-" and one.bar > 0]
    series = [(one, [over_bar(one, line["figures"].get(name(one))) for line in lines]) for one in bars]
    series = [(one, values) for one, values in series if any(value is not None for value in values)]
    if len(lines) < FEWEST or not series:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    drawn = folder / "history.svg"
    drawn.write_text("\n".join(_picture(lines, series)) + "\n", "utf-8")
    return [drawn]


def read(path: Path) -> list[dict[str, Any]]:
    """The lines so far, the oldest first; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def name(figure: Figure) -> str:
    """By this a figure is found again in later lines."""
    return f"{figure.row}: {figure.what}"


def over_bar(figure: Figure, value: float | None) -> float | None:
    """1 is the bar, less is better, whichever way the figure goes; None: it was not measured then."""
    if value is None or (figure.sense == ">=" and value <= 0):
        return None
    return value / figure.bar if figure.sense == "<=" else figure.bar / value


def _picture(
    lines: Sequence[dict[str, Any]], series: Sequence[tuple[Figure, list[float | None]]]
) -> Iterator[str]:
    """A line of dots for each figure, from the oldest run to the newest; the dashes are its bar."""
    step = (pictures.WIDTH - NAMES - WORDS) / max(len(lines) - 1, 1)
    yield pictures.head(
        64 + HEIGHT * len(series), "Figures over their bars, run by run (below the dashes: kept)"
    )
    for number, (figure, values) in enumerate(series):
        bottom = 48 + HEIGHT * (number + 1)
        scale = (HEIGHT - 12) / CUT
        yield pictures.text(NAMES - 10, bottom - 8, name(figure)[:LONGEST], anchor="end")
        yield pictures.line(
            NAMES, bottom - scale, pictures.WIDTH - WORDS, bottom - scale, "#9ca3af", dashed=True
        )
        known = [(place, value) for place, value in enumerate(values) if value is not None]
        points = [(NAMES + step * place, bottom - scale * min(value, CUT)) for place, value in known]
        yield pictures.path(points, pictures.COLOURS[0])
        for (x, y), (_, value) in zip(points, known, strict=True):
            colour = pictures.COLOURS[0] if value <= 1 else pictures.COLOURS[2]
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'
        yield pictures.text(pictures.WIDTH - WORDS + 8, bottom - 8, f"{known[-1][1]:.2f}")
    ends = f"{lines[0]['commit']} to {lines[-1]['commit']}, {len(lines)} runs"
    yield pictures.text(NAMES, 60 + HEIGHT * len(series), ends)
    yield "</svg>"
