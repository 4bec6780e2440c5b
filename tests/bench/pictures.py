"""The two pictures of README.md, as SVG: makespan over the ideal, and calls per image over the delay.

Rule: drawn from the figures alone, so that the JSON and the pictures cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from tests.bench.figures import Figure, short

COLOURS = ("#2563eb", "#9ca3af", "#d97706", "#b45309", "#6b7280")
OVER_IDEAL = "makespan over the ideal"
OVER_DELAY = "calls over delay"
DELIVERED = "delivered"
WIDTH, LEFT, RIGHT = 720, 262, 60
WORDS = 190
"""Room for the words behind the longest bar."""
CUT = 3.0
"""Bars longer than so many times the ideal are cut off, and say their number."""


def draw(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Draws what the figures allow; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    bars = [figure for figure in figures if figure.what == OVER_IDEAL]
    points = [figure for figure in figures if figure.row.startswith(OVER_DELAY)]
    delivered = {figure.row: figure for figure in figures if figure.what == DELIVERED}
    for name, lines in (("makespan", makespan(bars, delivered)), ("calls", calls(points))):
        if text := "\n".join(lines):
            path = folder / f"{name}.svg"
            path.write_text(text + "\n", "utf-8")
            drawn.append(path)
    return drawn


def makespan(figures: Sequence[Figure], delivered: Mapping[str, Figure]) -> Iterator[str]:
    """Bars: how long each contender took, over what was possible for what it delivered in the end."""
    if not figures:
        return
    names = list(dict.fromkeys(["batcher", *(name for figure in figures for name in figure.others)]))
    height = 60 + sum(22 + 16 * (1 + len(figure.others)) for figure in figures)
    scale = (WIDTH - LEFT - WORDS) / CUT
    yield head(height, "Makespan over the strict ideal (1 = not possible to be faster)")
    yield line(LEFT + scale, 34, LEFT + scale, height - 8, "#111827", dashed=True)
    y = 48
    for figure in figures:
        yield text(LEFT - 10, y + 8, figure.row.partition(" (")[0], anchor="end", bold=True)
        for name, value in {"batcher": figure.value, **figure.others}.items():
            colour = COLOURS[names.index(name) % len(COLOURS)]
            length = min(value, CUT) * scale
            yield f'<rect x="{LEFT}" y="{y - 2}" width="{length:.1f}" height="12" fill="{colour}"/>'
            yield text(
                LEFT + length + 6, y + 8, f"{value:.2f} {name}{_lost(name, delivered.get(figure.row))}"
            )
            y += 16
        y += 22
    yield "</svg>"


def _lost(name: str, delivered: Figure | None) -> str:
    """What a contender did not deliver, in words; its time is of the rest."""
    if delivered is None or delivered.bar is None:
        return ""
    number = delivered.value if name == "batcher" else delivered.others.get(name, delivered.bar)
    return "" if number >= delivered.bar else f", {number:.0f} of {delivered.bar:.0f} delivered"


def calls(figures: Sequence[Figure]) -> Iterator[str]:
    """Two lines: calls per image over the mean delay, learned polls and polls at a fixed interval."""
    if not figures:
        return
    height, bottom, top = 360, 310, 50
    widest = max(figure.others["delay"] for figure in figures) * 1.08
    highest = max(figure.value for figure in figures) * 1.08
    yield head(height, "Calls per image over the delay until a result is noticed (15 s jobs)")

    def place(figure: Figure) -> tuple[float, float]:
        x = 60 + (WIDTH - 60 - RIGHT) * figure.others["delay"] / widest
        return x, bottom - (bottom - top) * figure.value / highest

    for mark in range(0, int(highest) + 1, max(1, int(highest / 6))):
        y = bottom - (bottom - top) * mark / highest
        yield line(60, y, WIDTH - RIGHT, y, "#e5e7eb")
        yield text(52, y + 4, str(mark), anchor="end")
    for mark in range(int(widest) + 1):
        yield text(60 + (WIDTH - 60 - RIGHT) * mark / widest, bottom + 18, f"{mark} s", anchor="middle")
    groups = (("learned", "delay", COLOURS[0]), ("fixed interval", "polled", COLOURS[2]))
    for name, start, colour in groups:
        group = sorted((place(figure), figure) for figure in figures if figure.what.startswith(start))
        yield path((point for point, _ in group), colour)
        for (x, y), figure in group:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
            below = 16 if start == "delay" else -6
            yield text(x + 6, y + below, f"{short(figure.value)}  {name}", colour=colour)
    yield "</svg>"


def head(height: float, title: str) -> str:
    style = 'font-family="system-ui, sans-serif" font-size="12"'
    frame = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
    return "\n".join([svg, frame, text(16, 22, title, bold=True)])


def text(
    x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False, colour: str = "#111827"
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(words)}</text>'
    )


def line(x: float, y: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dash}/>'


def path(points: Iterable[tuple[float, float]], colour: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'
