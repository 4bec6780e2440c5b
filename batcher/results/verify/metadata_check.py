"""metadata.jsonl against the ledger.

Rule: memory does not grow with the file; what it says is kept in a temporary database while it is compared.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import blake2b
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from batcher.ledger import records
from batcher.storage.destination import Destination, disk

LONGEST_LINE = 1 << 24
OTHERWISE = "the ledger says otherwise"
SAID = """
CREATE TABLE said (name TEXT PRIMARY KEY, line INTEGER, digest BLOB, known INTEGER DEFAULT 0) WITHOUT ROWID
"""
SAY = "INSERT OR IGNORE INTO said (name, line, digest) VALUES (?, ?, ?)"


METADATA = "metadata.jsonl"


def disagreements(connection: sqlite3.Connection, where: Destination) -> Iterator[str]:
    """Every way in which metadata.jsonl differs from what the ledger would write; nobody is writing it.

    Raises DiskError.
    """
    with _said(where) as (said, unreadable):
        yield from unreadable
        for name, line in _compared(connection, said):
            yield f"has no line about {name}" if line is None else f"line {line}: {name}: {OTHERWISE}"
        for name, line in said.execute("SELECT name, line FROM said WHERE NOT known ORDER BY line"):
            yield f"line {line}: {name} is not delivered, as the ledger knows it"


def contradictions(connection: sqlite3.Connection, where: Destination) -> Iterator[str]:
    """The lines that a run beside us cannot explain: a delivered picture, described otherwise."""
    with _said(where) as (said, _):
        for name, line in _compared(connection, said):
            if line is not None:
                yield f"line {line}: {name}: {OTHERWISE}"


def _compared(connection: sqlite3.Connection, said: sqlite3.Connection) -> Iterator[tuple[str, int | None]]:
    """The delivered pictures about which nothing (no line), or something else, is said."""
    for record in records.delivered(connection):
        name = record["file_name"]
        row = said.execute(
            "UPDATE said SET known = 1 WHERE name = ? RETURNING line, digest", (name,)
        ).fetchall()
        if not row:
            yield name, None
        elif row[0][1] != _digest(record):
            yield name, row[0][0]


@contextmanager
def _said(where: Destination) -> Iterator[tuple[sqlite3.Connection, list[str]]]:
    """What the file says, by picture, and the sentences about lines that say nothing."""
    unreadable: list[str] = []
    with closing(sqlite3.connect("", isolation_level=None)) as said:
        said.execute("PRAGMA synchronous=OFF")
        said.execute(SAID)
        said.execute("BEGIN")
        for number, record in _lines(where):
            if record is None:
                unreadable.append(f"line {number}: is no record of a picture")
                continue
            row = (record["file_name"], number, _digest(record))
            if not said.execute(SAY, row).rowcount:
                unreadable.append(f"line {number}: {record['file_name']} has a line already")
        yield said, unreadable


def _lines(where: Destination) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Each line's number and record; None where it is none."""
    with disk(Path(where.where)):
        try:
            content = where.open(METADATA)
        except FileNotFoundError:
            return
        with TextIOWrapper(content, encoding="utf-8", errors="replace") as file:
            number = 0
            while line := file.readline(LONGEST_LINE):
                number += 1
                yield number, _record(line)


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        record["file_name"].encode()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return record if isinstance(record, dict) else None


def _digest(record: Mapping[str, Any]) -> bytes:
    """Of what is said, whatever the order of the keys."""
    return blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).digest()
