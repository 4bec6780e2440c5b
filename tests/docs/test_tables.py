"""The tables of the pages say what the code says, and the lines of a real run are as they say."""

from __future__ import annotations

import io
import json
from typing import get_args

import click
import jsonschema
import pytest

from batcher.cli import COMMANDS, root
from batcher.progress import Event, event_name
from batcher.progress.lines import JsonLines
from tests.tools.golden import events
from tests.tools.tables import TABLES, drawn_in, redrawn, schema

NARROW = 80


@pytest.mark.parametrize("name", TABLES)
def test_the_page_has_the_table_that_the_code_draws(name: str) -> None:
    path, table = TABLES[name]
    assert drawn_in(path.read_text("utf-8"), name) == table(), "`make tables` draws it anew"


def test_a_stale_table_is_replaced_and_the_text_around_it_stays() -> None:
    marks = [f"<!-- {name}: `make tables` -->\nSTALE\n<!-- end -->" for name in TABLES]
    page = "\nbetween\n".join(["before", *marks, "after"])
    for name in TABLES:
        page = redrawn(page, name)
    assert page.startswith("before\n")
    assert page.endswith("\nafter")
    assert page.count("\nbetween\n") == len(TABLES) + 1
    assert "STALE" not in page


def test_a_page_without_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="0 tables of options"):
        redrawn("no table here", "options")


async def test_every_line_of_a_real_run_is_as_the_schema_says() -> None:
    stream = io.StringIO()
    tell = JsonLines(stream, now=lambda: 1_767_614_400.0)
    for event in await events():
        tell(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    validator = jsonschema.Draft202012Validator(schema())
    for line in lines:
        validator.validate(line)
    assert {line["event"] for line in lines} == {event_name(kind) for kind in get_args(Event)}
    assert lines[-1]["event"] == "finished"
    more, fewer = lines[-1] | {"more": 1}, {k: v for k, v in lines[-1].items() if k != "causes"}
    assert not validator.is_valid(more)
    assert not validator.is_valid(fewer)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_80_columns_and_explains_every_option(name: str) -> None:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    context = click.Context(command, info_name=f"batcher {name}", terminal_width=NARROW)
    text = command.get_help(context)
    assert max(map(len, text.splitlines())) <= NARROW
    assert "RANGE" not in text, "metavar says what a number stands for"
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, f"{option.name} has no help"
        if isinstance(option, click.Option) and option.help:
            assert option.help.endswith((".", "]", ")")), "a sentence"
