"""The examples do what they say, and the pages name only what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click import Command, Context
from PIL import Image

from batcher.cli import COMMANDS, root
from batcher.engine import outlook
from batcher.job.manifest import schema
from tests.support.manifests import parse
from tests.support.pages import MANIFEST, PAGES, README, ROOT, blocks, sections


@pytest.mark.process
def test_the_python_api_example_delivers_its_pictures_and_finds_them_done_the_second_time(
    tmp_path: Path,
) -> None:
    first, second = _python_api(tmp_path), _python_api(tmp_path)

    assert "demo: 4 tasks, 4 new" in first
    assert first.count(": delivered") == 4
    assert "demo: 4 tasks, 0 new" in second
    assert "delivered" not in second
    assert second.splitlines()[-4:] == first.splitlines()[-4:], "the same four pictures"
    pictures = sorted((tmp_path / "out-sandbox" / "images").iterdir())
    names = ["cat-summer", "cat-winter", "coffee-summer", "coffee-winter"]
    assert [picture.stem for picture in pictures] == names
    for picture in pictures:
        with Image.open(picture) as image:
            image.load()
            assert image.size == ((1024, 768) if "winter" in picture.stem else (768, 1024))


def test_the_readme_begins_with_the_two_commands() -> None:
    first = README.partition("```sh\n")[2].partition("```")[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]
    assert README.index("```sh") < 700, "they stand at the top"


def test_the_whole_manifest_is_valid_and_makes_what_the_page_says() -> None:
    text = next(one.body for one in blocks(PAGES[MANIFEST]) if one.language == "yaml" and not one.name)
    job = parse(text, MANIFEST, ROOT / "jobs")
    said = re.search(r"each: (\d+) tasks", " ".join(PAGES[MANIFEST].split()))
    assert said is not None
    assert outlook(job, job.output.dir).total == int(said[1])


def test_the_readme_has_every_key_of_the_manifest() -> None:
    glance = sections(README)["The manifest at a glance"]
    rows = re.findall(r"^\| (`[^|]+`) \| (.+) \|$", glance, re.MULTILINE)
    named = {word for cells in rows for cell in cells for word in re.findall(r"[a-z_]+", cell)}
    assert set(_keys(schema.schema([]))) <= named


@pytest.mark.parametrize("name", PAGES)
def test_every_option_that_a_page_names_exists(name: str) -> None:
    context = Context(root)
    commands = [found for name in COMMANDS if (found := root.get_command(context, name))]
    existing = {option for command in commands for option in _options(command)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGES[name])) <= existing | {"--help", "--version"}


def _keys(facts: Any) -> Iterator[str]:
    """The names of all properties in a JSON Schema."""
    if isinstance(facts, dict):
        yield from facts.get("properties", {})
    if isinstance(facts, dict | list):
        for inner in facts.values() if isinstance(facts, dict) else facts:
            yield from _keys(inner)


def _options(command: Command) -> list[str]:
    return [name for parameter in command.params for name in parameter.opts]


def _python_api(folder: Path) -> str:
    script = ROOT / "examples" / "python_api.py"
    ended = subprocess.run(
        [sys.executable, script, "out"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
