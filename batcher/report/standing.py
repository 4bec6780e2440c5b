"""Where a job stands: the one JSON object of `run --json`, `status --json` and report.json.

Law: nothing is invented. Every number is a count over the ledger's rows, and the counts add up to the total.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batcher import errors, lock, place
from batcher.ledger import ending, store, totals
from batcher.task import IN_FLIGHT, State

CALLS = ("submit", "status", "result", "sync", "upload", "download", "throttled")


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a job, so far. Money in credits; `exit_code`, `causes` and `audit`
    (opening, spent, closing, difference) tell how the last run ended. `per_image` is what an image costs:
    the mean of those that were paid, else the price; `left_out` counts the rows that the plan left out."""

    job: str
    state: str
    total: int
    counts: Mapping[str, int]
    images: int
    cost: Mapping[str, float]
    calls: Mapping[str, int]
    failures: Mapping[str, int]
    updated_at: str
    output: Path
    exit_code: int = 0
    causes: tuple[str, ...] = field(default=())
    audit: Mapping[str, float] | None = None
    model: str = ""
    per_image: float = 0.0
    left_out: int = 0

    def as_json(self) -> dict[str, Any]:
        """The object of `run --json` and `status --json`."""
        return {
            "job": self.job,
            "state": self.state,
            "total": self.total,
            "counts": dict(self.counts),
            "images": self.images,
            "cost": dict(self.cost),
            "calls": dict(self.calls),
            "failures": dict(self.failures),
            "updated_at": self.updated_at,
        }


def of_folder(output: Path, *, now: float, running: bool | None = None) -> Report:
    """The report of an output folder, read beside whatever run may hold it.

    `running` None: asked of the lock. Raises UsageError when nothing was ever run there, LedgerError.
    """
    path = place.ledger_of(output)
    if not path.exists():
        raise errors.UsageError(f"nothing was run yet in {output}; `batcher run` starts it")
    if running is None:
        running = lock.holder(place.lock_of(output)) is not None
    with store.disk_errors(path), closing(store.open_for_reading(path)) as connection:
        connection.execute("BEGIN")
        return of_ledger(connection, output, now=now, running=running)


def of_ledger(connection: sqlite3.Connection, output: Path, *, now: float, running: bool) -> Report:
    """The same of a ledger that is open, inside whatever transaction is."""
    counts = totals.counts(connection)
    price = totals.price(connection)
    money = totals.money(connection)
    unfinished = any(counts[state] for state in (State.PLANNED, *IN_FLIGHT))
    calls = totals.calls(connection)
    last = ending.last(connection)
    return Report(
        job=store.meta(connection, "job") or output.name,
        state="running" if running else "idle" if unfinished or not counts else "finished",
        total=sum(counts.values()),
        counts={state.value: n for state, n in counts.items()},
        images=totals.images(connection),
        cost=money.in_credits(price),
        calls={kind: calls[kind] for kind in CALLS},
        failures=totals.failures(connection),
        updated_at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        output=output,
        exit_code=last.exit_code,
        causes=last.causes,
        audit=last.audit,
        model=store.meta(connection, "model") or "",
        per_image=totals.credits(money.per_image(price)),
        left_out=totals.left_out(connection),
    )
