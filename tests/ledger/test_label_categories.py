"""The classes of a job belong to its plan."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from batcher.errors import ManifestError, Problem
from batcher.job.labels.categories import Category
from batcher.ledger import label_categories
from tests.support.bookkeeping import a_ledger, a_task

CLASSES = (Category(17, "cat", "animal"), Category(3, "dog"))


def noting(*categories: Category, fails: bool = False):  # type: ignore[no-untyped-def]
    def check(connection: sqlite3.Connection, number: int) -> None:
        label_categories.note(connection, categories)
        if fails:
            raise ManifestError([Problem("no")])

    return check


async def test_they_are_of_the_present_plan_alone(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "ledger.sqlite", 1) as ledger:
        assert ledger.read(label_categories.read) == ()
        ledger.plan([a_task(0)], "one", check=noting(*CLASSES))
        assert ledger.read(label_categories.read) == CLASSES
        with pytest.raises(ManifestError):
            ledger.plan([a_task(0)], "two", check=noting(fails=True))
        assert ledger.read(label_categories.read) == CLASSES
        ledger.plan([a_task(0)], "three", check=noting())
        assert ledger.read(label_categories.read) == ()
