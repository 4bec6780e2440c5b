"""The pages that people read, as a program reads them: their code blocks, recipes and commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
MANIFEST, DATASETS, REFERENCE = "examples/manifest.md", "examples/datasets.md", "examples/reference.md"
NAMES = (
    "README.md",
    MANIFEST,
    DATASETS,
    "examples/agents.md",
    "examples/trouble.md",
    "examples/machines.md",
    "examples/sandbox.md",
    REFERENCE,
    "tests/bench/README.md",
)
"""What a user reads. Every command of these pages is run as it is written."""
PAGES = {name: (ROOT / name).read_text("utf-8") for name in NAMES}
README = PAGES["README.md"]
BLOCK = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the name of the file that it is (``yaml seasons.yaml``), if any, and its
    text."""

    language: str
    name: str
    body: str


def blocks(text: str) -> list[Block]:
    """Every fenced block of a page or a section."""
    return [Block(*found) for found in BLOCK.findall(text)]


def sections(page: str) -> dict[str, str]:
    """A page by its headings of every level; what stands above the first has none."""
    parts = re.split(r"^#+ (.+)\n", BLOCK.sub(_without_headings, page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.replace(HASH, "#") for part in parts[2::2]), strict=True))


HASH = "\x00"


def _without_headings(block: re.Match[str]) -> str:
    """A remark in a block begins as a heading does."""
    return block[0].replace("#", HASH)


def recipe(page: str, title: str, folder: Path) -> list[str]:
    """Writes the files of a page's section into `folder`; gives its commands."""
    found = blocks(sections(PAGES[page])[title])
    for block in found:
        if block.name:
            (folder / block.name).write_text(block.body, "utf-8")
    return [block.body for block in found if block.language == "sh"]


def run(script: str, folder: Path, environment: dict[str, str]) -> str:
    """What the commands print; they must end well."""
    ended = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
