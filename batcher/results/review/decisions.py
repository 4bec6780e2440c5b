"""Pictures are rejected and taken back, by name, beside a run or without one.

Rule: a name that means no picture changes nothing at all. Where no run goes on, the records are written anew;
else the run does that at its end. Who is killed between the two leaves them stale: the ledger knows that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

from batcher import errors
from batcher.ledger import database, rejections, stale_records
from batcher.ledger.rejections import PERSON, NamedTask
from batcher.ledger.reviews import Look
from batcher.results import report
from batcher.results.review import who
from batcher.storage import destination, layout, lock
from batcher.task import State

NAMES_TOLD = 5
"""Names that mean nothing, of which a refusal tells so many."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What came of it: `tasks` changed their state; those `skipped` were in another state than the one that
    this is about; `lost` are paths of files that are nowhere. `running`: a run goes on there."""

    job: str
    tasks: int
    skipped: tuple[NamedTask, ...]
    running: bool
    lost: tuple[str, ...] = field(default=())


def reject(
    output: Path,
    entries: Sequence[str],
    *,
    reason: str,
    now: Callable[[], float],
    by: str = PERSON,
) -> Decisions:
    """Sets aside the delivered pictures that `entries` name (see `rejections.named`), for this reason.

    Raises UsageError where an entry names no picture, or nothing was ever run; LedgerError, DiskError.
    """

    def decide(connection: sqlite3.Connection, tasks: list[int]) -> int:
        look = Look(now(), who.reviewer()) if by == PERSON else None
        return rejections.reject(connection, tasks, reason=reason, by=by, at=now(), look=look)

    return _decide(output, entries, State.DONE, decide, now)


def keep(output: Path, entries: Sequence[str], *, now: Callable[[], float]) -> Decisions:
    """Takes rejected pictures back. Raises as `reject`."""

    def decide(connection: sqlite3.Connection, tasks: list[int]) -> int:
        return rejections.keep(connection, tasks, look=Look(now(), who.reviewer()))

    return _decide(output, entries, State.REJECTED, decide, now)


def _decide(
    output: Path,
    entries: Sequence[str],
    state: State,
    decide: Callable[[sqlite3.Connection, list[int]], int],
    now: Callable[[], float],
) -> Decisions:
    path = layout.ledger_path(output)
    if not path.exists():
        raise errors.UsageError(f"nothing was run yet in {output}; `batcher run` starts it")
    since = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.hold(layout.lock_path(output), since=since)).cover(path)
            running = False
        except errors.Locked:
            running = True
        with database.disk_errors(path), closing(database.open_file(path)) as connection:
            where = destination.open_destination(database.meta(connection, "destination"), output)
            tasks = _named(connection, entries)
            rejections.end_moves(connection, where)
            changed = decide(connection, [task.id for task in tasks if task.state == state])
            lost = rejections.end_moves(connection, where)
            job = database.meta(connection, "job") or output.name
            stale = stale_records.last_unwritten(connection)
        if stale and not running:
            report.write(report.of_folder(output, now=now(), running=False))
    skipped = tuple(task for task in tasks if task.state != state)
    return Decisions(job, changed, skipped, running, tuple(lost))


def _named(connection: sqlite3.Connection, entries: Sequence[str]) -> list[NamedTask]:
    """The tasks of all entries, each once. Raises UsageError where an entry has none."""
    tasks: dict[int, NamedTask] = {}
    unknown = []
    for entry in dict.fromkeys(entries):
        found = rejections.named(connection, entry)
        tasks |= {task.id: task for task in found}
        if not found:
            unknown.append(entry)
    if unknown:
        more = f" and {len(unknown) - NAMES_TOLD:,} more" if len(unknown) > NAMES_TOLD else ""
        near = _near(connection, unknown[0])
        raise errors.UsageError(
            f"no picture of this job is called {', '.join(unknown[:NAMES_TOLD])}{more}{near}; "
            "nothing was changed"
        )
    return list(tasks.values())


def _near(connection: sqlite3.Connection, entry: str) -> str:
    names = [name for (name,) in connection.execute("SELECT name FROM tasks ORDER BY id LIMIT 10000")]
    near = get_close_matches(entry, names, 1)
    return f" (did you mean {near[0]}?)" if near else ""
