"""Where a job stands: the one JSON object of `run --json`, `status --json` and report.json.

Rule: nothing is invented. Every number is a count over the ledger's rows, and the counts add up to the total.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcher import errors
from batcher.ledger import (
    acceptance,
    check_verdicts,
    controls,
    database,
    in_flight_note,
    last_run,
    notices,
    replacement_cells,
    totals,
)
from batcher.ledger.acceptance import AcceptStatus
from batcher.ledger.in_flight_note import InFlightNote
from batcher.storage import layout, lock
from batcher.task import IN_FLIGHT, State

if TYPE_CHECKING:
    import pandas

CALLS = ("submit", "status", "result", "sync", "upload", "download", "history", "throttled")


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a job, so far. Money in credits; `exit_code`, `causes` and `balance`
    (opening, spent, closing, difference) tell how the last run ended. `per_image` is what an image costs:
    the mean of those that were paid, else the price; `left_out` counts the rows that the plan left out.

    `news` counts the troubles that came up since a run last came to its end and told of them, by kind
    (`notices.KINDS`); `known_failures` are older ones, `acked` those that a person has seen,
    `unseen` all others. `images` are all that came, `rejected_images` those of them that are set aside.
    `warned` pictures have a warning, and `warnings` counts each text.
    Until `record_ends_at` (Unix s) the oldest request in flight can be fetched. `sharing` says with whom a
    run that goes on shares the limit; empty: with nobody. `in_flight` is how many may be, as that run
    noted it last; None: none goes on, or it has just begun. `set_limits`: what `batcher set` said and holds,
    as `limits.rpm 7`. `replacements`: so many were asked for, which the next run plans, or the one that goes
    on. `has_ended`: the last run told how it ended, at `ended_at` (Unix s; None: that is not known); False:
    it did not (it was killed); None: none ran yet, or one goes on. `accept`: how its groups stand, where that
    was asked for."""

    job: str
    state: str
    total: int
    counts: Mapping[str, int]
    images: int
    cost: Mapping[str, float]
    calls: Mapping[str, int]
    failures: Mapping[str, int]
    rejections: Mapping[str, int]
    updated_at: str
    output: Path
    exit_code: int = 0
    causes: tuple[str, ...] = field(default=())
    balance: Mapping[str, float] | None = None
    unsure: Mapping[str, int] = field(default_factory=dict)
    model: str = ""
    per_image: float = 0.0
    left_out: int = 0
    news: Mapping[str, int] = field(default_factory=dict)
    known_failures: int = 0
    acked: int = 0
    unseen: int = 0
    record_ends_at: float | None = None
    warnings: Mapping[str, int] = field(default_factory=dict)
    warned: int = 0
    sharing: str = ""
    in_flight: InFlightNote | None = None
    set_limits: tuple[str, ...] = ()
    rejected_images: int = 0
    replacements: int = 0
    ended_at: float | None = None
    has_ended: bool | None = None
    accept: AcceptStatus | None = None

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
            "rejections": dict(self.rejections),
            "news": dict(self.news),
            "exit_code": self.exit_code if self.has_ended else None,
            "causes": list(self.causes),
            "ended_at": None if self.ended_at is None else stamp(self.ended_at),
            **({"accept": self.accept.as_json()} if self.accept is not None else {}),
            "updated_at": self.updated_at,
        }

    def pictures(self) -> Iterator[dict[str, Any]]:
        """The metadata line of each delivered picture, in the plan's order, with its `path`: a Path, or the
        URL (str) of one that lies in an object store. Sizes in pixels, cost in credits, times in seconds,
        `submitted_at` in Unix seconds; a column of the source that is called `path` is `source_path`.

        Read from the ledger as it is now. Raises LedgerError, DiskError.
        """
        from batcher.results.report.record_files import pictures

        return pictures(self)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each delivered picture, with the columns of `pictures` (`path` as text), and no row
        where nothing is delivered. Raises UsageError where pandas is not installed, LedgerError, DiskError.
        """
        try:
            import pandas
        except ImportError:
            raise errors.UsageError("pandas is not installed: pip install pandas") from None
        lines = [{**line, "path": str(line["path"])} for line in self.pictures()]
        return pandas.DataFrame(lines, columns=None if lines else ["file_name", "path"])

    def _repr_html_(self) -> str:
        """What a notebook shows: the totals, and the newest pictures."""
        from batcher.results.report.notebook_view import as_html

        return as_html(self)


def of_folder(output: Path, *, now: float, running: bool | None = None) -> Report:
    """The report of an output folder, read beside whatever run may hold it.

    `running` None: asked of the lock. Raises UsageError when nothing was ever run there, LedgerError.
    """
    path = layout.ledger_path(output)
    if not path.exists():
        raise errors.UsageError(layout.nothing_run_text(output))
    if running is None:
        running = lock.holder(layout.lock_path(output)) is not None
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        connection.execute("BEGIN")
        report = of_ledger(connection, output, now=now, running=running)
        return replace(report, accept=acceptance.accept_status(connection))


def of_ledger(connection: sqlite3.Connection, output: Path, *, now: float, running: bool) -> Report:
    """The same of a ledger that is open, inside whatever transaction is."""
    counts = totals.counts(connection)
    price = totals.price(connection)
    money = totals.money(connection)
    calls = totals.calls(connection)
    last = last_run.last(connection)
    troubles = notices.count(connection)
    news = troubles.news if last.news is None else last.news
    return Report(
        job=database.meta(connection, "job") or output.name,
        state=job_state(connection, counts, running=running),
        total=sum(counts.values()),
        counts={state.value: n for state, n in counts.items()},
        images=totals.images(connection),
        rejected_images=totals.rejected_images(connection),
        cost=money.in_credits(price),
        unsure=money.unsure,
        calls={kind: calls[kind] for kind in CALLS},
        failures=totals.failures(connection),
        rejections=totals.rejections(connection),
        updated_at=stamp(now),
        output=output,
        exit_code=last.exit_code,
        causes=last.causes,
        balance=last.balance,
        model=database.meta(connection, "model") or "",
        per_image=totals.credits(money.per_image(price)),
        left_out=totals.left_out(connection),
        news=news,
        known_failures=max(0, troubles.failures - sum(news.values()) + news.get("rejected", 0)),
        acked=troubles.acked,
        record_ends_at=_record_ends_at(connection),
        unseen=troubles.failures,
        warnings=check_verdicts.warnings(connection),
        warned=check_verdicts.warned(connection),
        sharing=(database.meta(connection, last_run.SHARING) or "") if running else "",
        in_flight=in_flight_note.read(connection) if running else None,
        set_limits=tuple(
            f"limits.{key} {controls.limit_text(key, one.value)}"
            for key, one in controls.limits(connection).items()
            if one.value != one.manifest
        ),
        replacements=replacement_cells.asked_for(connection),
        ended_at=last.ended_at,
        has_ended=None if running else last_run.has_ended(connection),
    )


def stamp(at: float) -> str:
    """A moment (Unix s) as JSON has it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def job_state(connection: sqlite3.Connection, counts: Mapping[State, int], *, running: bool) -> str:
    """running, paused, idle or finished. A job that is paused is so with and without a process, as long as
    there is something to do."""
    asked = replacement_cells.asked_for(connection)
    unfinished = (
        not counts
        or any(counts[state] for state in IN_FLIGHT)
        or acceptance.needed(connection, counts[State.PLANNED], asked) > 0
    )
    if unfinished and controls.paused_since(connection) is not None:
        return "paused"
    return "running" if running else "idle" if unfinished else "finished"


def _record_ends_at(connection: sqlite3.Connection) -> float | None:
    if database.meta(connection, "origin") == database.SANDBOX_ORIGIN:
        return None  # what was in flight has ended with its sandbox
    first, ttl = totals.first_submitted(connection), database.meta(connection, "result_ttl")
    return None if first is None or ttl is None else first + float(ttl)
