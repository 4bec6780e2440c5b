"""What a run leaves for programs: report.json, metadata.jsonl and errors.jsonl, rebuilt from the ledger.

Law: each file is written anew as a whole, or stays as it was.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any

from batcher import destination, place
from batcher.destination import Destination
from batcher.ledger import records, store, totals
from batcher.report.standing import Report


def write_records(report: Report) -> None:
    """Writes report.json, metadata.jsonl and errors.jsonl anew. Raises DiskError, LedgerError."""
    with _reading(report) as (connection, where):
        where.replace("metadata.jsonl", map(line, records.delivered(connection)))
        each = totals.money(connection).per_image(totals.price(connection))
        wrong = chain(records.left_out(connection), records.missed(connection, each))
        where.replace("errors.jsonl", map(line, wrong))
        where.replace("report.json", [_facts(report)])


def begin(report: Report) -> None:
    """Writes report.json as it is before a run. Raises DiskError, LedgerError."""
    with _reading(report) as (_, where):
        where.replace("report.json", [_facts(report)])


@contextmanager
def _reading(report: Report) -> Iterator[tuple[sqlite3.Connection, Destination]]:
    path = place.ledger_of(report.output)
    with store.disk_errors(path), closing(store.open_for_reading(path)) as connection:
        yield connection, destination.at(store.meta(connection, "destination"), report.output)


def _facts(report: Report) -> str:
    facts = {
        **report.as_json(),
        "model": report.model,
        "left_out": report.left_out,
        "exit_code": report.exit_code,
        "causes": list(report.causes),
        "audit": None if report.audit is None else dict(report.audit),
    }
    return json.dumps(facts, ensure_ascii=False, indent=2) + "\n"


def line(record: Mapping[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(record, ensure_ascii=False) + "\n"
