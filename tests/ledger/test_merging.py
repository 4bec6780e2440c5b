"""Ledgers of shares come together: nothing that a ledger can hold is left behind."""

from __future__ import annotations

import re
from contextlib import closing

from batcher.ledger import merging, store

ANEW = {"meta", "transitions"}
"""Tables that the merged ledger has of its own."""


def test_every_table_of_the_schema_is_brought() -> None:
    with closing(store.blank()) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    statements = " ".join((*merging.ROWS, merging.INSERT_FILE))
    brought = set(re.findall(r"INSERT (?:OR \w+ )?INTO (\w+)", statements))
    assert {name for (name,) in rows} == brought | ANEW
