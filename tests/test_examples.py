"""The examples do what they say, and README.md names only what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click import Command, Context
from PIL import Image

from batcher import manifest
from batcher.cli import COMMANDS, root
from batcher.run import outlook

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


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


def test_the_manifest_of_the_readme_is_valid() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    job = manifest.parse(text, "README.md", ROOT / "jobs")
    assert outlook(job, job.output.dir).total > 0


def test_the_readme_names_every_command_and_no_other() -> None:
    named = set(re.findall(r"^\| `batcher ([a-z]+)", README, re.MULTILINE))
    assert named == set(COMMANDS)


def test_every_option_that_the_readme_names_exists() -> None:
    context = Context(root)
    commands = [found for name in COMMANDS if (found := root.get_command(context, name))]
    existing = {option for command in commands for option in _options(command)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= existing | {"--help", "--version"}


def _options(command: Command) -> list[str]:
    return [name for parameter in command.params for name in parameter.opts]


def _python_api(folder: Path) -> str:
    script = ROOT / "examples" / "python_api.py"
    ended = subprocess.run(
        [sys.executable, script, "out"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
