"""The classes of a job's objects, as its present plan found them in its data sets.

Rule: they belong to the plan, and are written with it: a plan that is rolled back leaves those of the one
before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from batcher.job.labels.categories import Category, as_text, from_text
from batcher.ledger.database import meta, set_meta

NOTE = "label_categories"


def read(connection: sqlite3.Connection) -> tuple[Category, ...]:
    """The classes in their order; none where no data set of the job says any, or an older run planned it."""
    return from_text(meta(connection, NOTE) or "[]")


def note(connection: sqlite3.Connection, categories: Iterable[Category]) -> None:
    """Notes the classes of the plan that is being made, inside its transaction."""
    set_meta(connection, NOTE, as_text(categories))
