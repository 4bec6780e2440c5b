"""The live block and the closing summary, as a terminal of a given width shows them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from batcher.progress import Event, Message, Planning, Snapshot
from batcher.progress.terminal import INDENT, Block, Terminal, apportion
from batcher.task import State
from tests.support.scenes import COMMAND, MIDDLE, STARTED, counts, course, ended
from tests.support.screen import ESCAPE, Clock, Screen, console, screen_lines

WIDTHS = (40, 60, 80, 120)
SHOW_CURSOR = "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def shown(snapshot: Snapshot, width: int) -> list[str]:
    """The block as text, line by line."""
    screen = Screen()
    console(width, screen).print(Block(snapshot))
    return ESCAPE.sub("", screen.getvalue()).splitlines()


def said(events: Sequence[Event], width: int = 80) -> list[str]:
    """What stands on the terminal after events without snapshots."""
    screen = Screen()
    terminal = Terminal(COMMAND, console=console(width, screen), clock=Clock())
    for event in events:
        terminal(event)
    return ESCAPE.sub("", screen.getvalue()).splitlines()


def test_the_block_of_a_part_goes_by_that_part() -> None:
    part = replace(MIDDLE, waiting="", this_time=counts(submitted=1, done=3))
    head, bar, _, numbers, _, now, *_ = shown(part, 80)
    assert head.endswith("75 % of 4 this time   10:41")
    assert (bar.count("█"), bar.count("▒")) == (60, 20)
    assert numbers.split() == ["0", "1", "0", "3", "0"]
    assert now == "now      all submitted, waiting for results"


def test_the_block_at_80_columns() -> None:
    assert shown(MIDDLE, 80) == [
        "streets  sd1.5-outpaint                                    61 % of 1,000   10:41",
        "███████████████████████████████████████████████×▓▓▒▒▒▒▒░░░░░░░░░░░░░░░░░░░░░░░░░",
        "░ planned       ▒ in flight     ▓ fetching      █ done          × failed",
        "  324             48              12              608             8",
        "",
        "now      at the limit of 60 a minute",
        "pace     57.3 images/min  limit 60 a minute  3.1 calls/image  2 x 429",
        "         up to 83 in flight (auto)",
        "money    15.20 credits spent  about 24.85 in all  1.20 reserved  0.05 doubtful",
        "left     6 to 7 min",
        "failed   5 x FAILED: CUDA out of memory",
        "         1 x FAILED: the prompt was blocked by the content rules of this model,…",
        "         1 x NOT_AN_IMAGE: photos/notes.jpg is not a picture that any decoder r…",
        "         1 x REJECTED: guidance_scale must be at most 25",
    ]


def test_the_block_at_120_columns_is_no_wider_than_can_be_read() -> None:
    lines = shown(MIDDLE, 120)
    assert lines[0].endswith("61 % of 1,000   10:41")
    assert {len(line) for line in lines[:2]} == {100}
    assert any(line.endswith("see the usage policy") for line in lines)


def test_the_block_at_60_columns_keeps_every_figure() -> None:
    text = " ".join(" ".join(shown(MIDDLE, 60)).split())
    for fact in (
        "324 48 12 608 8",
        "57.3 images/min",
        "2 x 429",
        "0.05 doubtful",
        "about 24.85",
        "6 to 7 min",
    ):
        assert fact in text


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    busy = replace(
        MIDDLE,
        job="a-rather-long-name-of-a-job-that-goes-on-and-on-冬冬冬冬冬冬",
        total=123_456_789,
        counts=counts(planned=100_000_000, submitted=456_789, doubtful=1_000_000, done=22_000_000),
        stopping="SIGTERM; " * 20,
        cost={"spent": 1_234_567.891, "reserved": 12_345.6, "doubtful": 1234.5, "lost": 0.00001},
    )
    for snapshot in (MIDDLE, busy, *course(10)):
        assert max(cell_len(line) for line in shown(snapshot, width)) <= width


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("exit_code", [0, 1, 3, 4, 5, 10, 130, 143])
def test_no_line_of_the_summary_is_wider_than_the_terminal_but_what_is_to_be_copied(
    width: int, exit_code: int
) -> None:
    finished = ended(
        exit_code,
        "a cause of some length " * 5,
        counts=counts(done=900, failed=8, planned=92),
        failures=MIDDLE.failures,
    )
    lines = said([STARTED, finished], width)
    assert f"         {COMMAND} --retry-failed" in lines
    assert max(len(line) for line in lines if COMMAND not in line) <= width


def test_every_label_stands_apart_from_its_text_and_all_texts_begin_in_one_column() -> None:
    finished = replace(
        ended(3, "a cause", counts=counts(done=992, failed=8), failures={"FAILED: x": 8}), left_out=4
    )
    lines = said([STARTED, finished])
    assert "left out 4 rows that cannot be used as they are" in lines
    assert {line[INDENT - 1] for line in lines[1:]} == {" "}
    assert all(line[INDENT] != " " for line in lines[1:])


def test_doubtful_tasks_have_a_column_while_there_are_any() -> None:
    assert "? doubtful" in shown(replace(MIDDLE, counts={**MIDDLE.counts, State.DOUBTFUL: 3}), 80)[2]


def test_more_than_a_few_reasons_are_told_as_a_number() -> None:
    many = replace(MIDDLE, failures={f"FAILED: reason {place}": 9 - place for place in range(9)})
    assert shown(many, 80)[-1] == "         21 x (6 other reasons)"


def test_notes_stand_above_the_block_and_are_not_markup() -> None:
    lines = said([Message("2 tasks are [red]identical[/red] \x1b[31m!"), Message("by the way", "info")])
    assert lines[0] == "warning: 2 tasks are [red]identical[/red] \N{REPLACEMENT CHARACTER}[31m!"
    assert lines[1] == "by the way"


def test_a_whole_run_ends_with_the_summary_in_place_of_the_block() -> None:
    screen = Screen()
    with Terminal(COMMAND, console=console(80, screen), clock=Clock()) as terminal:
        terminal(Planning(500))
        terminal(STARTED)
        for snapshot in course(20):
            terminal(snapshot)
        terminal(Message("look out"))
        terminal(ended(0))
    standing = screen_lines(screen.getvalue())
    assert standing[0] == "warning: look out"
    assert standing[1] == "streets: all done, 1,000 tasks, after 17 min 43 s"
    assert not any("planned" in line for line in standing)
    assert SHOW_CURSOR in screen.getvalue()


def test_a_run_that_breaks_leaves_its_last_block() -> None:
    screen = Screen()

    def breaks() -> None:
        with Terminal(COMMAND, console=console(80, screen), clock=Clock()) as terminal:
            terminal(MIDDLE)
            raise KeyError

    with pytest.raises(KeyError):
        breaks()
    assert screen_lines(screen.getvalue()) == shown(MIDDLE, 80)
    assert screen.getvalue().endswith(SHOW_CURSOR)


def test_each_drawing_is_one_write() -> None:
    screen = Screen()
    with Terminal(COMMAND, console=console(80, screen), clock=Clock()) as terminal:
        terminal(MIDDLE)
        before = screen.writes
        for snapshot in course(10):
            terminal(snapshot)
        assert screen.writes - before == 11


def test_at_most_five_drawings_a_second_but_a_stop_shows_at_once() -> None:
    screen = Screen()
    time = 0.0
    with Terminal(COMMAND, console=console(80, screen), clock=lambda: time) as terminal:
        terminal(MIDDLE)
        before = screen.writes
        for tick in range(1, 101):
            time = tick / 100
            terminal(MIDDLE)
        assert screen.writes - before <= 5
        before = screen.writes
        terminal(replace(MIDDLE, stopping="SIGINT"))
        assert screen.writes - before == 1


def test_a_narrowed_terminal_is_cleared_of_what_it_folded() -> None:
    screen = Screen()
    terminal_console = console(80, screen)
    with Terminal(COMMAND, console=terminal_console, clock=Clock()) as terminal:
        terminal(MIDDLE)
        start = len(screen.getvalue())
        terminal_console.width = 60
        terminal(MIDDLE)
        ups = screen.getvalue()[start:].count("\x1b[1A")
    folded = sum((len(line) - 1) // 60 for line in shown(MIDDLE, 80) if line)
    assert ups == len(shown(MIDDLE, 80)) - 1 + folded


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_leaves_weight_and_cursor_but_no_colour(environment: dict[str, str], coloured: bool) -> None:
    screen = Screen()
    with Terminal(COMMAND, console=console(80, screen, **environment), clock=Clock()) as terminal:
        terminal(MIDDLE)
        terminal(ended(3, "x", failures=MIDDLE.failures))
    assert (
        any(re.search(r"(?<!\d)[349]\d(?!\d)", code) for code in COLOUR.findall(screen.getvalue()))
        is coloured
    )


def test_what_is_no_terminal_gets_no_escape_codes() -> None:
    screen = Screen()
    plain = Console(file=screen, width=80, force_terminal=False, _environ={})
    with Terminal(COMMAND, console=plain, clock=Clock()) as terminal:
        terminal(MIDDLE)
        terminal(ended(0))
    assert "\x1b" not in screen.getvalue()


def test_a_terminal_without_unicode_gets_ascii() -> None:
    screen = Screen()
    screen.encoding = "ascii"
    with Terminal(COMMAND, console=console(80, screen), clock=Clock()) as terminal:
        terminal(Message("café"))
        terminal(MIDDLE)
        terminal(ended(3, failures={"FAILED: café": 1}))
    screen.getvalue().encode("ascii")


def test_standard_output_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal(COMMAND, console=console()) as terminal:
        terminal(MIDDLE)
        before = sys.stdout
        print("{}")
    assert sys.stdout is before
    assert capsys.readouterr().out == "{}\n"


@pytest.mark.parametrize("ending", ["", "\n"])
def test_what_others_write_to_standard_error_stands_above_the_block_as_it_is(ending: str) -> None:
    screen = Screen()
    with Terminal(COMMAND, console=console(80, screen), clock=Clock()) as terminal:
        terminal(MIDDLE)
        print("open [/tmp/a] [red]:smile: [/]", end=ending, file=sys.stderr, flush=True)
        terminal(MIDDLE)
    assert screen_lines(screen.getvalue())[:2] == ["open [/tmp/a] [red]:smile: [/]", shown(MIDDLE, 80)[0]]


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
def test_a_terminal_that_is_gone_does_not_stop_the_run(
    error: type[OSError], capfd: pytest.CaptureFixture[str]
) -> None:
    class Gone(Screen):
        gone = False

        def write(self, text: str) -> int:
            if self.gone:
                raise error
            return super().write(text)

    screen = Gone()
    with Terminal(COMMAND, console=console(80, screen), clock=Clock()) as terminal:
        terminal(MIDDLE)
        screen.gone = True
        terminal(MIDDLE)
        terminal(ended(0))


@given(st.lists(st.integers(0, 10**7), min_size=6, max_size=6), st.integers(20, 100))
def test_the_bar_is_full_and_shows_whatever_is_there(amounts: list[int], cells: int) -> None:
    given_cells = apportion(amounts, cells)
    assert sum(given_cells) == (cells if any(amounts) else 0)
    assert [bool(amount) for amount in amounts] == [bool(cell) for cell in given_cells]
