"""What a run leaves for programs: report.json, metadata.jsonl and errors.jsonl, rebuilt from the ledger.

Law: each file is written anew as a whole, or stays as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from batcher import place
from batcher.ledger import records, store
from batcher.report.standing import Report


def write_records(report: Report) -> None:
    """Writes report.json, metadata.jsonl and errors.jsonl anew. Raises DiskError, LedgerError."""
    output = report.output
    path = place.ledger_of(output)
    with store.disk_errors(path), closing(store.open_for_reading(path)) as connection:
        model = store.meta(connection, "model") or ""
        replace(output / "metadata.jsonl", map(line, records.delivered(connection, model)))
        replace(output / "errors.jsonl", map(line, records.missed(connection)))
        facts = {
            **report.as_json(),
            "model": model,
            "exit_code": report.exit_code,
            "causes": list(report.causes),
            "audit": None if report.audit is None else dict(report.audit),
        }
        replace(output / "report.json", [json.dumps(facts, ensure_ascii=False, indent=2) + "\n"])


def line(record: Mapping[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(record, ensure_ascii=False) + "\n"


def replace(path: Path, lines: Iterable[str]) -> None:
    """The file as a whole, or as it was."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    with open(unfinished, "w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
