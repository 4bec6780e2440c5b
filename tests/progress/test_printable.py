"""Foreign text: cleaned for people, escaped for programs."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.progress.printable import PrintableStream, json_text, printable, printable_lines
from tests.support.hostile import STEERING


@given(st.text())
def test_foreign_text_stays_on_its_line_and_carries_no_codes(text: str) -> None:
    clean = printable(text)
    assert clean.isprintable()
    assert len(clean) == len(text)
    printable(text, "ascii").encode("ascii")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_for_a_terminal_says_the_same_and_steers_nothing(text: str) -> None:
    shown = json_text({"text": text})
    assert json.loads(shown) == {"text": text}
    assert not set(shown) & STEERING
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize("char", sorted(STEERING), ids=lambda char: f"U+{ord(char):04X}")
def test_what_steers_a_terminal_reaches_it_neither_as_text_nor_as_json(char: str) -> None:
    assert char not in printable(f"a{char}b")
    assert char not in json_text(f"a{char}b")


def test_what_libraries_write_on_standard_error_keeps_its_lines_and_loses_its_codes() -> None:
    below = io.StringIO()
    stream = PrintableStream(below)
    stream.writelines(["first \x1b[2J\n", "second\x9b31m\rthird\n"])
    assert below.getvalue() == printable_lines("first \x1b[2J\nsecond\x9b31m\rthird\n")
    assert "\x1b" not in below.getvalue()
    assert below.getvalue().count("\n") == 2
    assert not stream.isatty()
