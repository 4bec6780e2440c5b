"""What the ledger hands out: tasks with their state, and the submission in force."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
class Entry:
    """A task as the ledger knows it."""

    id: int
    task: Task
    state: State
    attempts: int
    not_before: float
    submission: Submission | None


@dataclass(frozen=True, slots=True)
class File:
    """One picture of a result: at `url`, or as bytes in `spool`; `name` once it has one."""

    position: int
    url: str | None
    spool: str | None
    name: str | None
    sha256: str | None
    delivered_at: float | None


SELECT = """
SELECT t.id, t.key, t.name, t.params, t.columns, t.media, t.repeat, t.images, t.state, t.attempts,
       t.not_before, s.id, s.attempt, s.api, s.submitted_at, s.request_id, s.status_url, s.response_url,
       s.outcome, s.images, s.reserved
FROM tasks t LEFT JOIN submissions s ON s.id = t.submission
"""


def entries(cursor: sqlite3.Cursor) -> Iterator[Entry]:
    """Reads the rows of a SELECT into entries."""
    return (_entry(row) for row in cursor)


def _entry(row: tuple[Any, ...]) -> Entry:
    number, key, name, params, columns, media, repeat, images, state, attempts, not_before, *rest = row
    task = Task(
        key=key,
        name=name,
        params=json.loads(params),
        columns=json.loads(columns),
        media=json.loads(media),
        repeat=repeat,
        images=images,
    )
    submission = None if rest[0] is None else Submission(*rest)
    return Entry(number, task, State(state), attempts, not_before, submission)
