"""What `batcher verify` asks the ledger, and the moves by which a repair tells it the truth.

Rule: a delivery is withdrawn only while its job's lock is held. What was paid stays paid: a submission's
outcome and cost are never touched here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from batcher.ledger.database import folder_of_files, meta, transaction
from batcher.storage.destination import IMAGES
from batcher.task import State

PAGE = 512

DELIVERED = """
SELECT task, position, name, sha256, {folder}, {moved_from} FROM files WHERE delivered_at IS NOT NULL AND
"""

UNDELIVERED = """
SELECT f.task, f.position, coalesce(f.name, t.name), f.spool IS NOT NULL
FROM tasks t JOIN files f ON f.task = t.id
WHERE t.state = 'ready' AND f.delivered_at IS NULL
ORDER BY f.task, f.position
"""

SPOOLED = "SELECT f.task, f.position, t.state FROM files f JOIN tasks t ON t.id = f.task WHERE f.spool = ?"

# Bytes are in the spool before their result is in the ledger.
ON_ITS_WAY = "SELECT 1 FROM tasks WHERE submission = ? AND state IN ('submitting', 'doubtful', 'submitted')"

WITHDRAWN = """
UPDATE files SET delivered_at = NULL, bytes = NULL, width = NULL, height = NULL
WHERE task = ? AND position = ?
"""
READY_AGAIN = "UPDATE tasks SET state = 'ready' WHERE id = ? AND state = 'done'"
PLANNED_AGAIN = """
UPDATE tasks SET state = 'planned', submission = NULL, reason = NULL, attempts = 0, not_before = 0
WHERE id = ? AND state = 'ready'
"""


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file that the ledger says stands in `folder` (images or rejected) under `name`; or still at
    `moved_from`, where its move was begun."""

    task: int
    position: int
    name: str
    sha256: str
    folder: str = IMAGES
    moved_from: str | None = None

    @property
    def path(self) -> str:
        """Where it belongs, from the output folder."""
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True, slots=True)
class UndeliveredFile:
    """A file of a ready task that is not delivered; `inside`: its bytes came inside the answer.

    `name` is its task's where it has none yet.
    """

    task: int
    position: int
    name: str
    inside: bool


def delivered(connection: sqlite3.Connection) -> Iterator[Sequence[DeliveredFile]]:
    """Every delivered file, in pages: each is a read of its own, so that a run beside is not held up."""
    query = _delivered(connection) + "(task, position) > (?, ?) ORDER BY task, position LIMIT ?"
    after = (-1, -1)
    while rows := connection.execute(query, (*after, PAGE)).fetchall():
        page = [DeliveredFile(*row) for row in rows]
        after = (page[-1].task, page[-1].position)
        yield page


def delivered_of(connection: sqlite3.Connection, task: int) -> list[DeliveredFile]:
    """The delivered files of one task."""
    query = _delivered(connection) + "task = ? ORDER BY position"
    rows = connection.execute(query, (task,)).fetchall()
    return [DeliveredFile(*row) for row in rows]


def _delivered(connection: sqlite3.Connection) -> str:
    folder, moved_from = folder_of_files(connection)
    return DELIVERED.format(folder=folder, moved_from=moved_from)


def undelivered(connection: sqlite3.Connection) -> list[UndeliveredFile]:
    """The files that are paid for and not delivered."""
    rows = connection.execute(UNDELIVERED)
    return [UndeliveredFile(task, position, name, bool(inside)) for task, position, name, inside in rows]


def has_name(connection: sqlite3.Connection, name: str, folder: str = IMAGES) -> bool:
    """Whether some file has, or is about to have, this final name in that folder, or is about to leave it."""
    where, moved_from = folder_of_files(connection)
    look = f"SELECT 1 FROM files WHERE (name = ?1 AND {where} = ?2) OR {moved_from} = ?2 || '/' || ?1"
    return connection.execute(look, (name, folder)).fetchone() is not None


def is_ready(connection: sqlite3.Connection, task: int) -> bool:
    """Whether the task's files are being fetched, or will be."""
    query = "SELECT 1 FROM tasks WHERE id = ? AND state = 'ready'"
    return connection.execute(query, (task,)).fetchone() is not None


def needs_spool(
    connection: sqlite3.Connection, name: str, submission: int, lost: Collection[tuple[int, int]]
) -> bool:
    """Whether bytes in the spool are still to become a file: one of a ready task, one of the `lost` (task,
    position), or one of a result that is on its way."""
    for task, position, state in connection.execute(SPOOLED, (name,)):
        if state == State.READY or (task, position) in lost:
            return True
    return connection.execute(ON_ITS_WAY, (submission,)).fetchone() is not None


def state_and_reason(connection: sqlite3.Connection, task: int) -> tuple[str, str]:
    """A task's state, and the reason where it failed."""
    state, reason = connection.execute(
        "SELECT state, coalesce(reason, '') FROM tasks WHERE id = ?", (task,)
    ).fetchone()
    return str(state), str(reason)


def withdraw(connection: sqlite3.Connection, files: Iterable[tuple[int, int]]) -> None:
    """These files (task, position) are not delivered any more; tasks that were done are ready again.

    Name and sha256 stay, so that a file that is put back is known again.
    """
    with transaction(connection):
        for task, position in files:
            connection.execute(WITHDRAWN, (task, position))
            connection.execute(READY_AGAIN, (task,))


def plan_again(connection: sqlite3.Connection, tasks: Iterable[int]) -> None:
    """These ready tasks are to be submitted once more; what they cost so far stays spent."""
    with transaction(connection):
        connection.executemany(PLANNED_AGAIN, ((task,) for task in tasks))


def in_present_plan(connection: sqlite3.Connection, task: int) -> bool:
    """Whether a run would submit this task, were it planned."""
    row = connection.execute("SELECT plan FROM tasks WHERE id = ?", (task,)).fetchone()
    return row is not None and row[0] == _plan(connection)


def images_of(connection: sqlite3.Connection, tasks: Iterable[int]) -> int:
    """Pictures that one submit of each of these tasks gives."""
    query = "SELECT images FROM tasks WHERE id = ?"
    return sum(int(connection.execute(query, (task,)).fetchone()[0]) for task in tasks)


def _plan(connection: sqlite3.Connection) -> int:
    return int(meta(connection, "plan") or 0)
