"""A run in a notebook's cell: one output, drawn anew in its place."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from batcher.progress import Message, Planning, Snapshot, notebook
from tests.support.scenes import MIDDLE, STARTED, counts, ended


class Cell:
    """What a cell shows: IPython's `display`, and its handle."""

    def __init__(self, *, gone: bool = False) -> None:
        self.drawings: list[Any] = []
        self._gone = gone

    def display(self, drawing: Any, *, display_id: bool) -> Cell:
        assert display_id
        self.update(drawing)
        return self

    def update(self, drawing: Any) -> None:
        if self._gone:
            raise BrokenPipeError
        self.drawings.append(drawing)

    @property
    def text(self) -> str:
        console = Console(width=100, force_terminal=False, color_system=None)
        with console.capture() as captured:
            console.print(self.drawings[-1])
        return captured.get()


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


def shown(cell: Cell, clock: list[float]) -> notebook.NotebookBlock:
    return notebook.NotebookBlock(cell.display, clock=lambda: clock[0])


def test_the_block_is_drawn_twice_a_second_and_ends_as_the_summary(clock: list[float]) -> None:
    cell = Cell()
    block = shown(cell, clock)
    for event in (Planning(7), STARTED, MIDDLE, MIDDLE):
        block(event)
    assert len(cell.drawings) == 1
    clock[0] = 1.0
    block(MIDDLE)
    assert "608" in cell.text
    block(Message("the key [b]x[/b] is \x1b[31mbad"))
    assert "warning: the key [b]x[/b] is \N{REPLACEMENT CHARACTER}[31mbad" in cell.text
    assert "608" in cell.text
    block(ended(5, "the API is down", counts=counts(planned=10, done=990)))
    assert "warning: the key" in cell.text
    assert "await run(job)" in cell.text
    assert "images   out/streets/images" in cell.text


def test_failed_tasks_are_tried_again_by_a_command_that_there_is(clock: list[float]) -> None:
    cell = Cell()
    block = shown(cell, clock)
    block(STARTED)
    block(ended(3, counts=counts(failed=10, done=990)))
    assert "--retry-failed" not in cell.text
    assert "batcher retry out/streets, then await run(job)" in cell.text


def test_a_front_end_that_is_gone_takes_no_run_with_it(clock: list[float]) -> None:
    block = shown(Cell(gone=True), clock)
    block(MIDDLE)
    block(ended(0))


def test_where_there_is_no_notebook_nobody_listens() -> None:
    assert notebook.listener() is None


def test_html_shows_foreign_text_as_text(clock: list[float]) -> None:
    cell = Cell()
    block = shown(cell, clock)
    block(Message("<script>"))
    assert isinstance(MIDDLE, Snapshot)
    html = cell.drawings[-1]._repr_mimebundle_([], [])["text/html"]
    assert "<script>" not in html
