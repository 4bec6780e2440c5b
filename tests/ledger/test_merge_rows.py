"""Ledgers of shares come together: nothing that a ledger can hold is left behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batcher.ledger import database, merge_rows
from batcher.ledger.ledger import Ledger
from batcher.shard import Shard
from tests.support.bookkeeping import ACCEPTED, NOW, a_result, a_task, blank_ledger

ANEW = {"meta", "transitions"}
"""Tables that the merged ledger has of its own."""


@pytest.fixture
def blank() -> Iterator[sqlite3.Connection]:
    with closing(blank_ledger()) as connection:
        yield connection


def tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def test_every_table_of_the_schema_is_copied(blank: sqlite3.Connection) -> None:
    missing = set(tables(blank)) - set(merge_rows.TABLES) - ANEW
    assert not missing, f"add {missing} to TABLES of ledger/merge_rows.py: a merge would lose its rows"
    assert set(merge_rows.TABLES) < set(tables(blank))


def test_every_column_that_refers_to_a_row_is_numbered_anew(blank: sqlite3.Connection) -> None:
    for table in merge_rows.TABLES:
        refers = {row[3] for row in blank.execute(f"PRAGMA foreign_key_list({table})")}
        own = {row[1] for row in blank.execute(f"PRAGMA table_info({table})") if row[5] and row[1] == "id"}
        numbered = {*merge_rows.ROW_NUMBERS.get(table, ()), *merge_rows.CHANGED.get(table, ())}
        assert refers | own <= numbered, (
            f"{table}: add {refers | own - numbered} to ROW_NUMBERS of ledger/merge_rows.py: "
            "a merge would refer to a row of another share"
        )
    assert "submission" in merge_rows.ROW_NUMBERS["tasks"], "it refers to a row too, though no key says so"


async def test_a_column_that_a_newer_schema_adds_is_copied_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration is all that a new column needs, in every table."""
    added = [f"ALTER TABLE {table} ADD COLUMN is_new TEXT" for table in merge_rows.TABLES if table != "meta"]
    path, merged = tmp_path / "share.sqlite", tmp_path / "merged.sqlite"
    ledger = Ledger(path, now=lambda: NOW)
    ledger.bind_share(Shard(1, 1))
    ledger.plan([a_task(1)], "", shard=Shard(1, 1))
    ledger.start_run()
    entry = ledger.submitted(ledger.submitting(ledger.entry(1), api="v2", reserved=0), ACCEPTED)
    ledger.ready(entry, a_result(), [(output, None) for output in a_result().outputs])
    ledger.count_call("submit")
    ledger.keep_upload("digest", "url")
    ledger.close()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("INSERT INTO source_pictures VALUES (1, '{}')")
        raw.execute("INSERT INTO picture_checks (task, position, sha256, is_compared) VALUES (1, 0, 'd', 0)")
        raw.execute("INSERT INTO reviews VALUES (1, 1, 'r')")
        raw.execute("INSERT INTO left_out VALUES (1, 'f', 1, 'r')")
        raw.execute("INSERT INTO passed_over VALUES (1, 'f', 1, 'r')")
        raw.execute("INSERT INTO task_notices VALUES (1, 1, 'r')")
        raw.execute("INSERT INTO row_notices VALUES ('f', 1, 'r', 1, 'r')")
        raw.execute("INSERT INTO digests VALUES ('p', 1, 1, 'd')")
        for table, statement in zip(merge_rows.TABLES, added, strict=True):
            raw.execute(statement)
            raw.execute(f"UPDATE {table} SET is_new = 'kept'")
        share = merge_rows.read_share(raw)
    assert share is not None
    with database.creating(merged) as connection:
        for statement in added:
            connection.execute(statement)
        merge_rows.copy_share(connection, path, share, lambda name, names, sha256: name)
        for table in merge_rows.TABLES:
            assert connection.execute(f"SELECT is_new FROM {table}").fetchall() == [("kept",)], table
