"""Each command's help begins with an example that can be typed."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from batcher.cli import COMMANDS, root
from batcher.cli.examples import EXAMPLES


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_begins_with_an_example_of_the_command(name: str) -> None:
    for _ in range(2):
        told = CliRunner().invoke(root, [name, "--help"], prog_name="batcher").output
        lines = told.splitlines()
        assert lines[0].startswith(f"Usage: batcher {name}")
        assert lines[2].strip() == f"$ {EXAMPLES[name]}"
        prose = told.partition("Options:")[0]
        assert not re.search(r"\S {2,}\S", prose), "its paragraphs are one block, folded"
        assert sum("$ batcher" in line for line in lines) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_one_that_the_command_takes(name: str) -> None:
    program, called, *arguments = shlex.split(EXAMPLES[name].partition(" > ")[0])
    assert (program, called) == ("batcher", name)
    command = root.get_command(click.Context(root), name)
    assert command is not None
    command.make_context(name, arguments)


def test_the_list_of_commands_says_what_each_does() -> None:
    lines = CliRunner().invoke(root, ["--help"]).output.splitlines()
    assert not any("$ batcher" in line for line in lines[lines.index("Commands:") :])
