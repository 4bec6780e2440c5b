"""The pictures of README.md are there, small, of today, and need nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from tests.tools import golden
from tests.tools.drawings import COMMAND, FOLDER, PARTS, WIDE, WIDTH, written_in

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
MOST_BYTES = 300_000


def test_the_terminal_in_the_picture_is_the_golden_one() -> None:
    frames = (golden.FOLDER / f"{WIDTH}.txt").read_text("utf-8").split("--- ")
    (frame,) = (frame.splitlines()[1:] for frame in frames if frame.startswith("after 60 s"))
    block = frame[next(n for n, line in enumerate(frame) if line.startswith("streets")) :]
    drawn = written_in((FOLDER / "terminal.svg").read_text("utf-8"))
    assert drawn == [COMMAND, *filter(None, block)], "`make pictures` draws it anew"


def test_a_picture_loads_nothing() -> None:
    svg = (FOLDER / "terminal.svg").read_text("utf-8")
    assert set(re.findall(r"https?://[^\s\"')]+", svg)) <= {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",  # a comment, by which rich says that it drew this
    }
    assert "url(http" not in svg


def test_every_picture_is_shown_and_all_are_small() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {"terminal.svg", *(f"{part}.webp" for part in PARTS)}
    assert names == set(re.findall(r"\(examples/pictures/([\w.]+)\)", README))
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MOST_BYTES
    for part, (_, height) in PARTS.items():
        with Image.open(FOLDER / f"{part}.webp") as picture:
            assert picture.size == (WIDE, height)
