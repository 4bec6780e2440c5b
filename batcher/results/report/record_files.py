"""What a run leaves for programs: report.json, metadata.jsonl, rejected.jsonl and errors.jsonl, rebuilt from
the ledger.

Rule: each file is written anew as a whole, or stays as it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from batcher.ledger import database, records, stale_records, totals
from batcher.progress.printable import json_text
from batcher.results.report.status import Report
from batcher.storage import destination, layout
from batcher.storage.destination import Destination
from batcher.task import State


def write_records(report: Report) -> None:
    """Writes report.json, metadata.jsonl and errors.jsonl anew, and rejected.jsonl where pictures are, or
    were, rejected. Raises DiskError, LedgerError."""
    with _reading(report) as (connection, where):
        decision = stale_records.last_unwritten(connection)
        where.replace("metadata.jsonl", map(line, records.delivered(connection)))
        if report.counts[State.REJECTED] or _is_there(where, REJECTED):
            where.replace(REJECTED, map(line, records.rejected(connection)))
        each = totals.money(connection).per_image(totals.price(connection))
        wrong = chain(records.left_out(connection), records.missed(connection, each))
        where.replace("errors.jsonl", map(line, wrong))
        where.replace("report.json", [_facts(report)])
    if decision:
        _note_written(report, decision)


def _note_written(report: Report, decision: int) -> None:
    path = layout.ledger_path(report.output)
    with database.disk_errors(path), closing(database.open_file(path)) as connection:
        stale_records.note_written(connection, decision)


def pictures(report: Report) -> Iterator[dict[str, Any]]:
    """The metadata line of each delivered picture, and where it lies. Raises DiskError, LedgerError."""
    with _reading(report) as (connection, where):
        for picture in records.delivered(connection):
            if "path" in picture:
                picture["source_path"] = picture.pop("path")
            address = where.address(picture["file_name"])
            yield {**picture, "path": address if where.remote else Path(address)}


REJECTED = "rejected.jsonl"


def _is_there(where: Destination, path: str) -> bool:
    try:
        where.open(path).close()
    except OSError:
        return False
    return True


def begin(report: Report) -> None:
    """Writes report.json as it is before a run. Raises DiskError, LedgerError."""
    with _reading(report) as (_, where):
        where.replace("report.json", [_facts(report)])


@contextmanager
def _reading(report: Report) -> Iterator[tuple[sqlite3.Connection, Destination]]:
    path = layout.ledger_path(report.output)
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        yield (
            connection,
            destination.open_destination(database.meta(connection, "destination"), report.output),
        )


def _facts(report: Report) -> str:
    facts = {
        **report.as_json(),
        "model": report.model,
        "left_out": report.left_out,
        "warnings": dict(report.warnings),
        "exit_code": report.exit_code,
        "causes": list(report.causes),
        "balance": None if report.balance is None else dict(report.balance),
    }
    return json_text(facts, indent=2) + "\n"


def line(record: Mapping[str, Any]) -> str:
    """One line of JSON, whatever is taken for the end of a line: `str.splitlines` knows more of them than
    JSON Lines does."""
    return f"{json_text(record)}\n"
