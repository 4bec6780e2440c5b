"""What the ledger hands out: tasks with their state, and the submission in force."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batcher import errors
from batcher.task import State, Task


@dataclass(frozen=True, slots=True)
class Submission:
    """One POST: `submitted_at` (Unix s) was taken before it; the record's hour counts from there."""

    id: int
    attempt: int
    api: str
    submitted_at: float
    request_id: str | None
    status_url: str | None
    response_url: str | None
    outcome: str
    images: int
    reserved: int


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A task as the ledger knows it."""

    id: int
    task: Task
    state: State
    attempts: int
    not_before: float
    submission: Submission | None


def current_submission(entry: TaskEntry) -> Submission:
    """The submission of a task that has one. Raises LedgerError."""
    if entry.submission is None:
        raise errors.LedgerError(f"task {entry.task.name} has no submission in force")
    return entry.submission


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One picture of a result: at `url`, or as bytes in `spool`; `name` once it has one."""

    position: int
    url: str | None
    spool: str | None
    name: str | None
    sha256: str | None
    delivered_at: float | None
    folder: str = "images"


_COLUMNS = """
SELECT t.id, t.key, t.name, t.params, t.columns, t.media, t.repeat, t.images, t.state, t.attempts,
       t.not_before, t.redo, t.replaces, t.root, s.id, s.attempt, s.api, s.submitted_at,
       s.request_id, s.status_url, s.response_url, s.outcome, s.images, s.reserved
"""
SELECT = _COLUMNS + "FROM tasks t LEFT JOIN submissions s ON s.id = t.submission\n"
SELECT_SUBMISSIONS = _COLUMNS + "FROM submissions s JOIN tasks t ON t.id = s.task\n"
"""Every submission with its task, not those in force alone."""


def entries(cursor: sqlite3.Cursor) -> Iterator[TaskEntry]:
    """Reads the rows of a SELECT into entries."""
    return (_entry(row) for row in cursor)


def _entry(row: tuple[Any, ...]) -> TaskEntry:
    number, key, name, params, columns, media, repeat, images, state, attempts, not_before = row[:11]
    redo, replaces, root, *rest = row[11:]
    task = Task(
        key=key,
        name=name,
        params=json.loads(params),
        columns=json.loads(columns),
        media=json.loads(media),
        repeat=repeat,
        images=images,
        redo=redo,
        replaces=replaces,
        root=root,
    )
    submission = None if rest[0] is None else Submission(*rest)
    return TaskEntry(number, task, State(state), attempts, not_before, submission)
