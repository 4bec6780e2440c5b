"""Results in other ledgers that a task of this one may take over, for it has the same key.

Rule: only what is done there, whole. A submission of no images is one that was paid for elsewhere: no sum of
money and no pace counts it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

PAGE = 500
"""Tasks that are looked up at a time."""

PLANNED = """
SELECT id, key FROM tasks WHERE state = 'planned' AND plan = ? AND id > ? ORDER BY id LIMIT ?
"""
# The + keeps SQLite from going by the state, which most tasks have.
DONE = """
SELECT t.key, f.position, f.name, f.sha256, f.bytes, f.url, s.api, s.submitted_at, s.answered_at,
       s.request_id, s.status_url, s.response_url, s.completed_at, s.queue_time, s.inference_time,
       s.total_time, s.result_seed
FROM tasks t JOIN files f ON f.task = t.id JOIN submissions s ON s.id = f.submission
WHERE t.key IN ({keys}) AND +t.state = 'done' ORDER BY t.key, f.position
"""
IMAGES = """
SELECT count(*) FROM submissions s JOIN files f ON f.task = s.task AND f.submission = s.id
WHERE s.images = 0 AND f.delivered_at IS NOT NULL
"""


class PlannedTask(NamedTuple):
    """A task that nothing was sent for."""

    id: int
    key: str


class ReusableFile(NamedTuple):
    """A delivered picture of another output folder: `images/<name>` there. `size` in bytes."""

    position: int
    name: str
    sha256: str
    size: int
    url: str | None


class PaidRequest(NamedTuple):
    """The request that was paid for there, as its submission has it. Seconds, and Unix seconds."""

    api: str
    submitted_at: float
    answered_at: float | None
    request_id: str | None
    status_url: str | None
    response_url: str | None
    completed_at: float
    queue_time: float | None
    inference_time: float | None
    total_time: float | None
    result_seed: str | None


@dataclass(frozen=True, slots=True)
class ReusableResult:
    """What another folder has of a task."""

    request: PaidRequest
    files: tuple[ReusableFile, ...]


def planned(connection: sqlite3.Connection, plan: int) -> Iterator[list[PlannedTask]]:
    """The planned tasks of a plan, in pages and in its order; they may move meanwhile."""
    after = 0
    while rows := connection.execute(PLANNED, (plan, after, PAGE)).fetchall():
        page = [PlannedTask(*row) for row in rows]
        after = page[-1].id
        yield page


def done(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, ReusableResult]:
    """Of these keys, what the ledger behind `connection` has done."""
    found: dict[str, ReusableResult] = {}
    query = DONE.format(keys=", ".join("?" * len(keys)))
    for key, position, name, sha256, size, url, *request in connection.execute(query, tuple(keys)):
        before = found[key].files if key in found else ()
        file = ReusableFile(position, name, sha256, size, url)
        found[key] = ReusableResult(PaidRequest(*request), (*before, file))
    return found


def images_of_others(connection: sqlite3.Connection) -> int:
    """Delivered pictures that were taken over from other folders, in the ledger's life."""
    return int(connection.execute(IMAGES).fetchone()[0])
