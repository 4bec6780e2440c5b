"""Pictures are rejected and taken back, by name, beside a run or without one.

Rule: a name that means no picture changes nothing at all. Where no run goes on, the records are written anew;
else the run does that at its end. Who is killed between the two leaves them stale: the ledger knows that.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

from batcher import errors
from batcher.ledger import database, rejections, repairs, replacement_cells, stale_records
from batcher.ledger.check_verdicts import PERSON
from batcher.ledger.rejections import NamedTask
from batcher.ledger.reviews import Look
from batcher.results import report
from batcher.results.review import who
from batcher.storage import destination, layout, lock
from batcher.task import State

CANNOT_REDO = (
    "another try would buy the same picture, for the params of this job draw nothing ({{ seed }}, a picker, "
    "the model's own seed of -1)"
)
NAMES_TOLD = 5
"""Names that mean nothing, of which a refusal tells so many."""
GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Decisions:
    """What came of it: `tasks` changed their state; those `skipped` were in another state than the one that
    this is about; `lost` are paths of files that are nowhere. `running`: a run goes on there. For `redo` of
    the tasks a replacement was asked for, of `redo_images` pictures in all; `with_another` that were taken
    back have one that is delivered, or on its way, beside them. `told`: the skipped ones that somebody meant,
    and not only a glob that fits others."""

    job: str
    tasks: int
    skipped: tuple[NamedTask, ...]
    running: bool
    lost: tuple[str, ...] = field(default=())
    redo: int = 0
    redo_images: int = 0
    with_another: int = 0
    told: tuple[NamedTask, ...] = ()


def reject(
    output: Path,
    entries: Sequence[str],
    *,
    reason: str,
    now: Callable[[], float],
    by: str = PERSON,
    redo: bool = False,
) -> Decisions:
    """Sets aside the delivered pictures that `entries` name (see `rejections.named`), for this reason.
    `redo`: for them, and for those that are set aside already, replacements are asked for.

    Raises UsageError where an entry names no picture, nothing was ever run, or a replacement would be the
    same picture; LedgerError, DiskError.
    """

    def decide(connection: sqlite3.Connection, tasks: list[NamedTask]) -> tuple[int, list[int], int]:
        done = [task.id for task in tasks if task.state == State.DONE]
        again: list[int] = []
        if redo:
            if not can_redo(connection):
                raise errors.UsageError(f"{CANNOT_REDO}; nothing was changed")
            again = [task.id for task in tasks if task.state in (State.DONE, State.REJECTED)]
        look = Look(now(), who.reviewer()) if by == PERSON else None
        rejected = rejections.reject(connection, done, reason=reason, by=by, at=now(), look=look, again=again)
        return rejected, again, 0

    return _decide(output, entries, {State.DONE, State.REJECTED} if redo else {State.DONE}, decide, now)


def keep(output: Path, entries: Sequence[str], *, now: Callable[[], float]) -> Decisions:
    """Takes rejected pictures back. Raises as `reject`, and UsageError where an entry means several of one
    cell: a replacement has the name of the picture before it."""

    def decide(connection: sqlite3.Connection, tasks: list[NamedTask]) -> tuple[int, list[int], int]:
        rejected = {task.id: task for task in tasks if task.state == State.REJECTED}
        cells = Counter(task.cell for task in rejected.values())
        several = next((task for task in rejected.values() if cells[task.cell] > 1), None)
        if several is not None:
            files = rejections.files_of(connection, [*rejected], several.cell)
            raise errors.UsageError(
                f"{several.name} was rejected {cells[several.cell]} times: name one of them by its file, "
                f"{' or '.join(files)}; nothing was changed"
            )
        with_another = sum(rejections.has_another(connection, task) for task in rejected)
        return rejections.keep(connection, rejected, look=Look(now(), who.reviewer())), [], with_another

    return _decide(output, entries, {State.REJECTED}, decide, now)


def can_redo(connection: sqlite3.Connection) -> bool:
    """Whether a replacement would be another picture, as far as the ledger knows."""
    return database.meta(connection, replacement_cells.DRAWS) != "0"


def _decide(
    output: Path,
    entries: Sequence[str],
    states: Collection[State],
    decide: Callable[[sqlite3.Connection, list[NamedTask]], tuple[int, list[int], int]],
    now: Callable[[], float],
) -> Decisions:
    path = layout.ledger_path(output)
    if not path.exists():
        raise errors.UsageError(layout.nothing_run_text(output))
    since = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.hold(layout.lock_path(output), since=since)).cover(path)
            running = False
        except errors.Locked:
            running = True
        with database.disk_errors(path), closing(database.open_file(path)) as connection:
            where = destination.open_destination(database.meta(connection, "destination"), output)
            tasks, named = _named(connection, entries, states)
            rejections.end_moves(connection, where)
            changed, again, with_another = decide(connection, tasks)
            images = repairs.images_of(connection, again)
            lost = rejections.end_moves(connection, where)
            job = database.meta(connection, "job") or output.name
            stale = stale_records.last_unwritten(connection)
        if stale and not running:
            report.write(report.of_folder(output, now=now(), running=False))
    meant = {task.cell for task in tasks if task.state in states}
    skipped = tuple(task for task in tasks if task.state not in states and task.cell not in meant)
    told = tuple(task for task in skipped if task.id in named)
    return Decisions(job, changed, skipped, running, tuple(lost), len(again), images, with_another, told)


def _named(
    connection: sqlite3.Connection, entries: Sequence[str], states: Collection[State]
) -> tuple[list[NamedTask], set[int]]:
    """The tasks of all entries, each once, and those (by id) that were meant: of a glob the ones in these
    states, where it fits any; that it fits others too is no mistake of whoever typed it. Raises UsageError
    where an entry has none."""
    tasks: dict[int, NamedTask] = {}
    named: set[int] = set()
    unknown = []
    for entry in dict.fromkeys(entries):
        found = rejections.named(connection, entry)
        fitting = {task.id for task in found if task.state in states} if GLOB.search(entry) else set()
        named |= fitting or {task.id for task in found}
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
    return list(tasks.values()), named


def _near(connection: sqlite3.Connection, entry: str) -> str:
    names = [name for (name,) in connection.execute("SELECT name FROM tasks ORDER BY id LIMIT 10000")]
    near = get_close_matches(entry, names, 1)
    return f" (did you mean {near[0]}?)" if near else ""
