"""Ledgers of shares come together in a new one.

Law: every row of every share is there, under a number of its own that keeps the order of the whole; nothing
is counted twice.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from batcher import errors
from batcher.ledger import totals
from batcher.ledger.store import meta, set_meta, transaction
from batcher.shard import Shard
from batcher.task import IN_FLIGHT, State

COMMON = ("job", "model", "price", "geometry", "origin")
"""Notes that the merged ledger has of its shares."""

UNFINISHED = """
SELECT state, count(*) FROM tasks
WHERE (state = 'planned' AND plan = ?) OR state IN ({in_flight}) GROUP BY state
"""
TWICE = "SELECT one.name FROM main.tasks one JOIN share.tasks other ON other.key = one.key LIMIT 1"

ROWS = (
    """
    INSERT INTO runs
    SELECT {id}, started_at, coalesce(finished_at, started_at), opening_balance, closing_balance
    FROM share.runs
    """,
    """
    INSERT INTO tasks
    SELECT {id}, key, name, name_key, plan = {plan}, images, repeat, params, columns, media, state, attempts,
           not_before, {submission}, reason
    FROM share.tasks
    """,
    """
    INSERT INTO submissions
    SELECT {id}, {task}, {run}, attempt, api, submitted_at, answered_at, request_id, status_url, response_url,
           outcome, images, reserved, cost, completed_at, queue_time, inference_time, total_time, result_seed,
           detail
    FROM share.submissions
    """,
    "INSERT INTO source_pictures SELECT {task}, facts FROM share.source_pictures",
    "INSERT INTO calls SELECT kind, n FROM share.calls WHERE true "
    "ON CONFLICT DO UPDATE SET n = n + excluded.n",
    "INSERT OR IGNORE INTO left_out (file, line, reason) SELECT file, line, reason FROM share.left_out "
    "ORDER BY id",
    "INSERT OR IGNORE INTO passed_over (file, line, reason) SELECT file, line, reason FROM share.passed_over "
    "ORDER BY id",
    "INSERT OR IGNORE INTO uploads SELECT digest, url, uploaded_at FROM share.uploads",
    "INSERT OR REPLACE INTO digests SELECT path, size, mtime_ns, sha256 FROM share.digests",
)
FILES = """
SELECT {task}, position, {submission}, url, spool, name, sha256, bytes, width, height, delivered_at,
       (SELECT key FROM share.tasks WHERE id = task)
FROM share.files ORDER BY task, position
"""
INSERT_FILE = "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

Settle = Callable[[str, Sequence[str], str], str]
"""Brings the share's picture of this name, with this sha256, under the first of these names that is free."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one share's ledger says of itself. `whole` identifies the plan it is a share of, which has `total`
    tasks; `tasks` are its own; `unfinished` counts what a run would still do; `digest` is of all it holds."""

    shard: Shard
    whole: str
    total: int
    tasks: int
    plan: int
    unfinished: dict[str, int]
    notes: dict[str, str | None]
    digest: str

    def numbered(self, column: str) -> str:
        """A number of the share's rows as the merged ledger has it: the old one times the shares, and the
        share's own on top. The order stays, and none meet."""
        return f"{column} * {self.shard.of} + {self.shard.index - 1}"


def read(connection: sqlite3.Connection) -> Share | None:
    """What a ledger says of its share; None when it is the ledger of no share."""
    shard, whole = meta(connection, "shard"), meta(connection, "whole")
    if not shard or not whole:
        return None
    counts = totals.counts(connection)
    delivered = connection.execute("SELECT total(delivered_at) FROM files").fetchone()
    held = [counts, totals.calls(connection), asdict(totals.money(connection)), delivered]
    digest = blake2b(json.dumps([shard, whole, held], sort_keys=True).encode(), digest_size=16)
    plan = int(meta(connection, "plan") or 0)
    in_flight = ", ".join(f"'{state}'" for state in sorted(IN_FLIGHT))
    return Share(
        shard=Shard.parse(shard),
        whole=whole,
        total=int(whole.partition(" ")[0]),
        tasks=sum(counts.values()),
        plan=plan,
        unfinished=dict(connection.execute(UNFINISHED.format(in_flight=in_flight), (plan,)).fetchall()),
        notes={key: meta(connection, key) for key in (*COMMON, "destination")},
        digest=digest.hexdigest(),
    )


def begin(connection: sqlite3.Connection, shares: Sequence[Share], merged: str) -> None:
    """The new ledger's notes; `merged` says of what it was made."""
    for key in COMMON:
        value = next((share.notes[key] for share in shares if share.notes[key] is not None), None)
        if value is not None:
            set_meta(connection, key, value)
    set_meta(connection, "plan", "1")
    set_meta(connection, "merged", merged)


def bring(connection: sqlite3.Connection, path: Path, share: Share, settle: Settle) -> None:
    """All of the share's ledger at `path` into the new one. Raises UsageError when a task is there already,
    and what `settle` raises."""
    connection.execute("ATTACH ? AS share", (f"{path.absolute().as_uri()}?mode=ro",))
    with transaction(connection):
        twice = connection.execute(TWICE).fetchone()
        if twice is not None:
            raise errors.UsageError(f"the task {twice[0]} is in share {share.shard} and in another one too")
        numbers = {column: share.numbered(column) for column in ("id", "task", "run", "submission")}
        for statement in ROWS:
            connection.execute(statement.format(**numbers, plan=share.plan))
        for row in connection.execute(FILES.format(**numbers)):
            connection.execute(INSERT_FILE, _file(connection, *row, settle=settle))
    connection.execute("DETACH share")


def _file(
    connection: sqlite3.Connection,
    task: int,
    position: int,
    submission: int,
    url: str | None,
    spool: str | None,
    name: str | None,
    sha256: str | None,
    *facts: object,
    settle: Settle,
) -> tuple[object, ...]:
    *size, delivered_at, key = facts
    # Bytes of another submission may lie in the spool under the old number.
    spool = None if spool is None else f"{submission}-{position}.bytes"
    if delivered_at is None:
        name = None
    else:
        assert name is not None
        assert sha256 is not None
        name = settle(name, [one for one in _names(name, str(key), sha256) if _free(connection, one)], sha256)
    return task, position, submission, url, spool, name, sha256, *size, delivered_at


def _names(name: str, key: str, sha256: str) -> tuple[str, ...]:
    """As a delivery chooses them."""
    stem, suffix = os.path.splitext(name)
    return name, f"{stem}-{key[:8]}{suffix}", f"{stem}-{key[:8]}-{sha256[:8]}{suffix}"


def _free(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM main.files WHERE name = ?", (name,)).fetchone() is None


def unfinished_words(share: Share) -> str:
    """What is left to do in a share, in words."""
    return ", ".join(f"{share.unfinished[state]:,} {state}" for state in State if state in share.unfinished)
