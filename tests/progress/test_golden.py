"""The terminal of a whole run is the one that is kept in tests/progress/frames/, at every width."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from batcher.progress import Event
from tests.tools.golden import FOLDER, WIDTHS, drawn, events


@pytest.fixture
async def heard() -> list[Event]:
    """All that the run tells."""
    return await events()


async def test_the_frames_are_the_ones_that_the_engine_draws(heard: list[Event]) -> None:
    for width in WIDTHS:
        kept = (FOLDER / f"{width}.txt").read_text("utf-8")
        assert drawn(heard, width) == kept, "look at the difference; `make frames` draws them anew"


@pytest.mark.parametrize("width", WIDTHS)
def test_no_frame_is_wider_than_its_terminal(width: int) -> None:
    lines = (FOLDER / f"{width}.txt").read_text("utf-8").splitlines()
    assert max(map(cell_len, lines)) <= width
