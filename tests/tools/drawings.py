"""The pictures of README.md: a terminal in the middle of a run, and the report of the demo.

python -m tests.tools.drawings         draws examples/pictures/ anew (`make pictures`; needs Chromium)
"""

from __future__ import annotations

import html
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.terminal_theme import TerminalTheme

from batcher.progress import Event, Snapshot
from batcher.progress.terminal import Block, plain_console
from tests.tools import golden

FOLDER = Path(__file__).parents[2] / "examples" / "pictures"
ROOT = Path(__file__).parents[2]
COMMAND = "$ batcher run streets.yaml"
WIDTH = 80
MOMENT = 60.0
"""Seconds after the run's start."""
WIDE = 1180
PARTS = {"report": ("body", 735), "gallery": ("#gallery", 525)}
"""What is shown of the report: from which element on, and how much of it, in CSS pixels."""
THEME = TerminalTheme(
    (20, 23, 26),
    (222, 226, 230),
    [(20, 23, 26), (240, 113, 103), (63, 185, 80), (219, 171, 9), (88, 166, 255), (188, 140, 255),
     (57, 197, 207), (222, 226, 230)],
)  # fmt: skip
FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
"""Rich's template asks a CDN for its font; the picture shall need nothing but itself."""


def terminal(heard: Sequence[Event]) -> str:
    """The terminal as SVG."""
    moment = next(event for event in heard if isinstance(event, Snapshot) and event.elapsed >= MOMENT)
    console = plain_console(
        io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="standard", _environ={}
    )
    console.print(COMMAND, "\n")
    console.print(Block(moment))
    return console.export_svg(title="", theme=THEME, code_format=FONTS.sub("", CONSOLE_SVG_FORMAT))


def written_in(svg: str) -> list[str]:
    """The lines of text in the picture of a terminal."""
    parts = re.findall(r'<text class="[^"]*-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', svg)
    lines: dict[float, str] = {}
    for x, y, text in parts:
        column = round(float(x) / 12.2)
        shown = html.unescape(text).replace("\xa0", " ").rstrip("\n")
        lines[float(y)] = lines.get(float(y), "").ljust(column) + shown
    return [lines[y].rstrip() for y in sorted(lines)]


def report(folder: Path) -> None:
    """Parts of the demo's report, as a browser shows them, into `folder`."""
    from tests.support.window import PATIENCE, Window, browser

    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        command = [sys.executable, "-m", "batcher", "demo", "-q", "-o", str(room / "out")]
        subprocess.run(command, cwd=ROOT, check=True, timeout=4 * PATIENCE)
        with browser(room / "profile") as chromium:
            window = Window(chromium, room)
            chromium.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
            for part, (element, height) in PARTS.items():
                window.look(width=WIDE, height=height, dark=False)
                window.open((room / "out-sandbox" / "report.html").as_uri())
                window.until(lambda: window.all("#grid .card"))
                script = "document.querySelector(arguments[0]).scrollIntoView({behavior: 'instant'})"
                window.run(script, element)
                window.until(lambda: window.seen("#grid li:nth-child(-n+8) img"))
                window.keep(part)
                with Image.open(room / f"{part}.png") as picture:
                    picture.convert("RGB").save(folder / f"{part}.webp", "WEBP", quality=82, method=6)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "terminal.svg").write_text(terminal(golden.run()), "utf-8")
    report(FOLDER)
