"""Whether a result is the same picture as an earlier one, asked of the ledger."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator

import pytest

from batcher.ledger import check_verdicts
from batcher.ledger.check_verdicts import CheckVerdict
from batcher.storage import look
from tests.support.bookkeeping import blank_ledger

DICE = random.Random(7)
SKY = bytes([200] * look.GREYS + [128] * (2 * look.TINTS**2))


@pytest.fixture
def ledger() -> Iterator[sqlite3.Connection]:
    connection = blank_ledger()
    yield connection
    connection.close()


def judged(ledger: sqlite3.Connection, task: int, sha256: str, cells: bytes) -> None:
    ledger.execute(
        "INSERT INTO tasks (id, key, name, name_key, plan, images, repeat, params, columns, media) "
        "VALUES (?1, ?2, ?2, ?2, 1, 1, 0, '{}', '{}', '{}')",
        (task, f"task-{task}"),
    )
    row = check_verdicts.row_of(task, 0, sha256, cells, CheckVerdict(), is_compared=True)
    ledger.execute(check_verdicts.KEEP, row)


def steps(ledger: sqlite3.Connection, task: int, sha256: str, cells: bytes) -> int:
    """What the question costs, in instructions of SQLite's machine."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    ledger.set_progress_handler(step, 1)
    check_verdicts.like(ledger, task, 0, sha256, cells)
    ledger.set_progress_handler(None, 0)
    return taken


def noisy() -> bytes:
    return DICE.randbytes(len(SKY))


def test_the_first_of_equal_pictures_is_named_and_never_the_picture_itself(
    ledger: sqlite3.Connection,
) -> None:
    cells = noisy()
    judged(ledger, 1, "one", cells)
    assert check_verdicts.like(ledger, 1, 0, "one", cells) is None
    judged(ledger, 2, "one", cells)
    judged(ledger, 3, "other", noisy())
    assert check_verdicts.like(ledger, 9, 0, "one", cells) == "task-1"
    assert check_verdicts.like(ledger, 1, 0, "one", cells) == "task-2"


def test_a_nearly_equal_picture_is_found_among_others(ledger: sqlite3.Connection) -> None:
    cells = noisy()
    judged(ledger, 1, "one", noisy())
    judged(ledger, 2, "two", cells)
    nearly = bytes(min(255, value + 1) for value in cells)
    assert check_verdicts.like(ledger, 9, 0, "nine", nearly) == "task-2"
    assert check_verdicts.like(ledger, 9, 0, "nine", noisy()) is None


@pytest.mark.parametrize("same", [True, False], ids=["one content", "contents that look alike"])
def test_what_a_question_costs_does_not_grow_with_the_pictures_that_are_alike(
    ledger: sqlite3.Connection, same: bool
) -> None:
    # Unlike by their shades, alike in every band: all are candidates, and none of them is near.
    for task in range(1, 201):
        judged(ledger, task, "one" if same else f"content {task}", SKY)
    few = steps(ledger, 9999, "one" if same else "new", bytes(len(SKY)))
    for task in range(201, 2001):
        judged(ledger, task, "one" if same else f"content {task}", SKY)
    assert steps(ledger, 9999, "one" if same else "new", bytes(len(SKY))) <= 1.1 * few
