"""Shell completion, as examples/reference.md sets it up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import click
import pytest

from batcher.cli import COMMANDS
from batcher.cli.cmd_export import export_command
from batcher.results.export import ExportFormat
from tests.support.pages import PAGES, REFERENCE

PATIENCE = 30.0


def batcher(**environment: str) -> str:
    """What the program prints for a shell."""
    return subprocess.run(
        [sys.executable, "-m", "batcher"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    ).stdout


@pytest.mark.process
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script_by_the_line_that_the_page_has(shell: str) -> None:
    assert f"_BATCHER_COMPLETE={shell}_source batcher" in PAGES[REFERENCE]
    script = batcher(_BATCHER_COMPLETE=f"{shell}_source")
    assert f"_BATCHER_COMPLETE={shell}_complete" in script
    assert "_batcher_completion" in script


@pytest.mark.process
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("batcher ", set(COMMANDS)),
        ("batcher re", {name for name in COMMANDS if name.startswith("re")}),
        ("batcher run --max", {"--max-cost", "--max-duration"}),
        ("batcher sandbox --metered ", {"submits", "all"}),
        ("batcher models sd1.5-i", {"sd1.5-img2img", "sd1.5-inpainting"}),
    ],
)
def test_the_shells_are_offered_what_fits(typed: str, offered: set[str]) -> None:
    words = typed.split(" ")
    line = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    bash = batcher(_BATCHER_COMPLETE="bash_complete", **line)
    assert set(re.findall(r"^plain,(.+)$", bash, re.MULTILINE)) == offered
    zsh = batcher(_BATCHER_COMPLETE="zsh_complete", **line).splitlines()
    assert set(zsh[1::3]) == offered
    fish = batcher(_BATCHER_COMPLETE="fish_complete", COMP_WORDS=typed, COMP_CWORD=words[-1])
    assert offered <= set(re.split(r"[,\t\n]", fish))


@pytest.mark.process
def test_bash_completes_with_it(tmp_path: Path) -> None:
    """The script itself, in the shell that every machine here has."""
    starter = tmp_path / "batcher"
    starter.write_text(f'#!/bin/sh\nexec {sys.executable} -m batcher "$@"\n')
    starter.chmod(0o755)
    told = subprocess.run(
        [
            "bash",
            "--norc",
            "-c",
            'eval "$(_BATCHER_COMPLETE=bash_source batcher)"; COMP_WORDS=(batcher sta); COMP_CWORD=1; '
            '_batcher_completion batcher; echo "${COMPREPLY[@]}"',
        ],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert told.stdout == "status\n"


def test_the_words_of_export_to_are_the_forms_that_there_are() -> None:
    (to,) = (option for option in export_command.params if option.name == "to")
    assert list(cast(click.Choice[str], to.type).choices) == list(ExportFormat)
