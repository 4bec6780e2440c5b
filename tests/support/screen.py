"""A terminal made up for tests: its bytes, its clock, and what stands on it in the end."""

from __future__ import annotations

import io
import re

from rich.console import Console

from batcher.progress.terminal import plain_console

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen(io.StringIO):
    """Where a terminal's bytes go; `writes` counts how often it is reached."""

    encoding: str = "utf-8"
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def console(width: int = 80, file: io.StringIO | None = None, **environment: str) -> Console:
    """A terminal of its own environment, whatever that of the tests is."""
    return plain_console(
        file or Screen(),
        width=width,
        height=40,
        force_terminal=True,
        legacy_windows=False,
        color_system="standard",
        _environ={"TERM": "xterm", **environment},
    )


class Clock:
    """Shows later by a second at each look, so that every event may draw."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


def screen_lines(written: str) -> list[str]:
    """What stands on a tall screen after these bytes: a terminal that knows the few codes which are used."""
    lines, row, column = [""], 0, 0
    for code, char in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|([\s\S])", written):
        if code.endswith("A"):
            row -= int(code[2:-1])
        elif code.endswith("K"):
            lines[row] = ""
        elif char == "\r":
            column = 0
        elif char == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif char:
            lines[row] = lines[row][:column].ljust(column) + char + lines[row][column + 1 :]
            column += 1
    while lines and not lines[-1]:
        lines.pop()
    return [line.rstrip() for line in lines]
