"""Delivered pictures are set aside, and taken back: `batcher reject` and `batcher keep`, beside a run too.

Rule: the intent is on disk before a file moves, and the fact after it: whoever opens the ledger next ends a
move that was cut off. Files move inside a transaction, so that no two processes move one at once.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from batcher import errors
from batcher.job.plan import name_key
from batcher.ledger import check_verdicts, reviews, stale_records
from batcher.ledger.database import folder_of_files, transaction
from batcher.ledger.reviews import Look
from batcher.storage.destination import IMAGES, REJECTED, Destination

AT_ONCE = 32
"""Files that move in one transaction, on a disk; of a store it is one: a run beside waits for its end."""

NAMED = """
SELECT id, name, state, coalesce(root, key) FROM tasks WHERE key = ?1 OR (name_key = ?2 AND name = ?1)
UNION SELECT t.id, t.name, t.state, coalesce(t.root, t.key) FROM files f JOIN tasks t ON t.id = f.task
WHERE (f.name = ?3 OR (f.name > ?3 || '.' AND f.name < ?3 || '/')) AND (?4 = '' OR f.folder = ?4)
"""
FITTING = """
SELECT t.id, t.name, t.state, coalesce(t.root, t.key) FROM tasks t WHERE name GLOB ?1 OR EXISTS
  (SELECT 1 FROM files f WHERE f.task = t.id AND (f.name GLOB ?1 OR f.folder || '/' || f.name GLOB ?1))
"""

SET_ASIDE = """
UPDATE tasks SET state = 'rejected', reason = ?, rejected_by = ?, rejected_at = ?
WHERE id = ? AND state = 'done'
"""
WANTED = """
UPDATE tasks SET redo_wanted = 1 + (
  SELECT max(redo) FROM tasks m WHERE m.state IN ('rejected', 'done')
  AND (m.key = coalesce(tasks.root, tasks.key) OR m.root = coalesce(tasks.root, tasks.key)))
WHERE id = ? AND state = 'rejected'
"""
"""A person asks for one replacement more, of the number that follows."""
WITHDRAWN = """
UPDATE tasks SET plan = 0 WHERE state = 'planned' AND redo > 0
AND root = (SELECT coalesce(root, key) FROM tasks WHERE id = ?)
"""
"""A replacement that waits is not made: the cell has its picture. It stays where something may ask again."""
TAKEN_BACK = """
UPDATE tasks SET state = 'done', reason = NULL, rejected_by = NULL, rejected_at = NULL, redo_wanted = 0
WHERE id = ? AND state = 'rejected'
"""
OTHER_REASON = """
UPDATE tasks SET reason = ?, rejected_by = ?, rejected_at = ? WHERE id = ? AND state = 'rejected'
"""
STANDS = "SELECT state, reason, rejected_by, rejected_at, redo_wanted FROM tasks WHERE id = ?"
REJECTED_PICTURES = """
SELECT position, rejected_by, reason FROM picture_checks WHERE task = ? AND rejected_by IS NOT NULL
"""
NOT_FORGIVEN = "UPDATE picture_checks SET rejected_by = ?, reason = ? WHERE task = ? AND position = ?"
FILES = """
SELECT f.position, f.name, f.sha256, t.name, t.key, (SELECT count(*) FROM files o WHERE o.task = t.id)
FROM files f JOIN tasks t ON t.id = f.task WHERE t.id = ? AND f.folder <> ? ORDER BY f.position
"""
TO_MOVE = """
UPDATE files SET moved_from = folder || '/' || name, folder = ?, name = ? WHERE task = ? AND position = ?
"""
MOVES = """
SELECT f.task, f.position, f.moved_from, f.folder, f.name, f.sha256, t.key
FROM files f JOIN tasks t ON t.id = f.task WHERE f.moved_from IS NOT NULL ORDER BY f.task, f.position LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class NamedTask:
    """A task that somebody named, and where it stands; `cell` is the key of the first task of its name."""

    id: int
    name: str
    state: str
    cell: str


def named(connection: sqlite3.Connection, entry: str) -> list[NamedTask]:
    """The tasks that `entry` means, of any plan: a task's name or key, a file's name with or without its
    folder and its suffix; else a glob over names."""
    folder, _, file = entry.rpartition("/")
    # Where the name is in both folders, a picture and its replacement, the folder tells which is meant; else
    # it may have moved since the name was written down.
    for where in dict.fromkeys((folder if folder in (IMAGES, REJECTED) else "", "")):
        rows = connection.execute(NAMED, (entry, name_key(entry), file, where)).fetchall()
        if rows:
            break
    rows = rows or connection.execute(FITTING, (entry,)).fetchall()
    return [NamedTask(*row) for row in rows]


def reject(
    connection: sqlite3.Connection,
    tasks: Iterable[int],
    *,
    reason: str,
    by: str,
    at: float,
    look: Look | None = None,
    again: Iterable[int] = (),
) -> int:
    """These tasks, as far as they are done, are rejected, and their files are to move; how many tasks.
    `look`: who looked at them for that; `again`: for those of them, and those that are rejected already, a
    replacement is asked for."""
    with _deciding(connection) as changed:
        changed += [task for task in tasks if _reject(connection, task, reason, by, at)]
        _note_looks(connection, changed, look)
        for task in again:
            connection.execute(WANTED, (task,))
    return len(changed)


def _reject(connection: sqlite3.Connection, task: int, reason: str, by: str, at: float) -> bool:
    changed = connection.execute(SET_ASIDE, (reason, by, at, task)).rowcount
    if changed:
        to_move(connection, task, REJECTED)
    return bool(changed)


def keep(connection: sqlite3.Connection, tasks: Iterable[int], *, look: Look | None = None) -> int:
    """These tasks, as far as they are rejected, are done again, and their files are to move; how many.
    `look`: who looked at them for that."""
    with _deciding(connection) as changed:
        changed += [task for task in tasks if _keep(connection, task)]
        _note_looks(connection, changed, look)
    return len(changed)


def _keep(connection: sqlite3.Connection, task: int) -> bool:
    changed = connection.execute(TAKEN_BACK, (task,)).rowcount
    if changed:
        connection.execute(check_verdicts.FORGIVEN, (task,))
        connection.execute(WITHDRAWN, (task,))
        to_move(connection, task, IMAGES)
    return bool(changed)


def give_reason(
    connection: sqlite3.Connection, task: int, *, reason: str, by: str, at: float, look: Look
) -> bool:
    """A task that is rejected is so for another reason, and by somebody else; whether it is rejected."""
    with _deciding(connection) as changed:
        if connection.execute(OTHER_REASON, (reason, by, at, task)).rowcount:
            changed.append(task)
        _note_looks(connection, changed, look)
    return bool(changed)


# --- a decision is taken back


@dataclass(frozen=True, slots=True)
class ReviewStatus:
    """What a review shows of a task: its state, who rejected it (`by` a check or a person), when (Unix s)
    and why; the number of the replacement that a person asked for (0: of none); of its pictures those that a
    check rejected, by position; and who looked at it last."""

    task: int
    state: str
    reason: str | None
    by: str | None
    at: float | None
    wanted: int
    verdicts: tuple[tuple[int, str, str], ...]
    look: Look | None

    @property
    def decision(self) -> tuple[object, ...]:
        """What the records tell of it."""
        return self.state, self.reason, self.by, self.at


def review_status(connection: sqlite3.Connection, task: int) -> ReviewStatus | None:
    """How a task stands now; None: there is none of this number."""
    row = connection.execute(STANDS, (task,)).fetchone()
    if row is None:
        return None
    state, reason, by, at, wanted = row
    verdicts = tuple(connection.execute(REJECTED_PICTURES, (task,)).fetchall())
    return ReviewStatus(task, state, reason, by, at, wanted, verdicts, reviews.look_of(connection, task))


def restore(connection: sqlite3.Connection, before: ReviewStatus, after: ReviewStatus) -> bool:
    """The task stands as before a decision, if it still stands as that left it (`after`); whether it does."""
    task = before.task
    with _deciding(connection) as changed:
        if review_status(connection, task) != after:
            return False
        if before.decision != after.decision:
            changed.append(task)
        if before.state == "done":
            _keep(connection, task)
        elif not connection.execute(OTHER_REASON, (before.reason, before.by, before.at, task)).rowcount:
            connection.execute(SET_ASIDE, (before.reason, before.by, before.at, task))
            to_move(connection, task, REJECTED)
        if after.wanted > before.wanted:
            connection.execute(WITHDRAWN, (task,))
        connection.execute("UPDATE tasks SET redo_wanted = ? WHERE id = ?", (before.wanted, task))
        for position, by, reason in before.verdicts:
            connection.execute(NOT_FORGIVEN, (by, reason, task, position))
        reviews.forget(connection, task)
        _note_looks(connection, [task], before.look)
    return True


@contextmanager
def _deciding(connection: sqlite3.Connection) -> Iterator[list[int]]:
    """One transaction, after which the records are stale if the block changed any of these tasks."""
    with transaction(connection):
        changed: list[int] = []
        yield changed
        if changed:
            stale_records.note_decision(connection)


def _note_looks(connection: sqlite3.Connection, tasks: Iterable[int], look: Look | None) -> None:
    if look is not None:
        for task in tasks:
            reviews.note(connection, task, look)


def files_of(connection: sqlite3.Connection, tasks: Sequence[int], cell: str) -> list[str]:
    """The first file of each of these tasks that is of this cell, with its folder."""
    query = (
        "SELECT f.folder || '/' || f.name FROM files f JOIN tasks t ON t.id = f.task "
        "WHERE f.task = ? AND f.position = 0 AND coalesce(t.root, t.key) = ?"
    )
    found = (connection.execute(query, (task, cell)).fetchone() for task in tasks)
    return [str(row[0]) for row in found if row is not None]


def has_another(connection: sqlite3.Connection, task: int) -> bool:
    """Whether another task of its cell is delivered, or on its way."""
    query = (
        "SELECT 1 FROM tasks t JOIN tasks o ON o.root = coalesce(t.root, t.key) OR o.key = t.root "
        "WHERE t.id = ? AND o.id <> t.id AND o.state NOT IN ('planned', 'failed', 'rejected') LIMIT 1"
    )
    return connection.execute(query, (task,)).fetchone() is not None


def to_move(connection: sqlite3.Connection, task: int, folder: str) -> None:
    """The files of a task that are elsewhere are to move there."""
    for position, name, sha256, called, key, files in connection.execute(FILES, (task, folder)).fetchall():
        stem = f"{called}-{position}" if files > 1 or position > 0 else called
        suffix = os.path.splitext(name)[1]
        target = next(one for one in names(stem, suffix, key, sha256) if _is_free(connection, one, folder))
        connection.execute(TO_MOVE, (folder, target, task, position))


def names(stem: str, suffix: str, key: str, sha256: str) -> Iterator[str]:
    """What a file may be called, as a delivery chooses, and then numbers."""
    yield f"{stem}{suffix}"
    yield f"{stem}-{key[:8]}{suffix}"
    for number in range(1 << 30):
        yield f"{stem}-{key[:8]}-{sha256[:8]}{f'-{number}' if number else ''}{suffix}"


def _is_free(connection: sqlite3.Connection, name: str, folder: str) -> bool:
    look = "SELECT 1 FROM files WHERE name = ? AND folder = ?"
    return connection.execute(look, (name, folder)).fetchone() is None


# --- the files follow


@dataclass(frozen=True, slots=True)
class FileMove:
    """A file that is to go from `moved_from` to `folder/name`, or went there when nobody could note it."""

    task: int
    position: int
    moved_from: str
    folder: str
    name: str
    sha256: str
    key: str

    @property
    def path(self) -> str:
        """Where it belongs."""
        return f"{self.folder}/{self.name}"


def moves(connection: sqlite3.Connection, most: int = -1) -> list[FileMove]:
    """The moves of files that were begun, and are not known to have ended."""
    if folder_of_files(connection)[0] != "folder":
        return []
    return [FileMove(*row) for row in connection.execute(MOVES, (most,))]


def end_moves(connection: sqlite3.Connection, where: Destination) -> list[str]:
    """Every file stands where the ledger says when this returns; the paths of those that are nowhere.

    Raises DiskError.
    """
    lost: list[str] = []
    while moves(connection, 1):
        with transaction(connection):
            for move in moves(connection, 1 if where.remote else AT_ONCE):
                lost += _end(connection, where, move)
    return lost


def _end(connection: sqlite3.Connection, where: Destination, move: FileMove) -> list[str]:
    stem, suffix = os.path.splitext(move.name)
    for name in (move.name, *_others(connection, move, stem, suffix)):
        try:
            where.move(move.moved_from, f"{move.folder}/{name}", move.sha256)
        except FileExistsError:
            continue  # a file that is not ours
        except FileNotFoundError:
            _note(connection, move, move.name)
            return [move.path]
        except errors.StoreError as error:
            raise errors.DiskError(error.message) from error
        _note(connection, move, name)
        return []
    raise errors.DiskError(f"every name that {where.address(move.path)} could have is taken")


def _others(connection: sqlite3.Connection, move: FileMove, stem: str, suffix: str) -> Iterator[str]:
    free = (name for name in names(stem, suffix, move.key, move.sha256) if name != move.name)
    return (name for _, name in zip(range(8), free, strict=False) if _is_free(connection, name, move.folder))


def _note(connection: sqlite3.Connection, move: FileMove, name: str) -> None:
    connection.execute(
        "UPDATE files SET moved_from = NULL, name = ? WHERE task = ? AND position = ?",
        (name, move.task, move.position),
    )
