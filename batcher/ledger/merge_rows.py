"""Ledgers of shares come together in a new one.

Rule: every row of every share is there, with every column of it, under a number of its own that keeps the
order of the whole; nothing is counted twice.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.ledger import label_categories, mask_outside, prompt_templates, totals
from batcher.ledger.database import columns, copy_statement, meta, set_meta, transaction
from batcher.shard import Shard
from batcher.task import IN_FLIGHT, State

SHARED_NOTES = (
    "job", "model", "price", "geometry", "origin", prompt_templates.NOTE, label_categories.NOTE,
    mask_outside.NOTE,
)  # fmt: skip
"""Notes that the merged ledger has of its shares."""

TABLES = (
    "runs", "tasks", "submissions", "files", "source_pictures", "picture_checks", "reviews", "calls",
    "left_out", "passed_over", "task_notices", "row_notices", "uploads", "digests",
)  # fmt: skip
"""In the order in which their rows refer to each other. What is not here is the merged ledger's own."""

ROW_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "runs": ("id",),
    "tasks": ("id", "submission"),
    "submissions": ("id", "task", "run"),
    "files": ("task", "submission"),
    "source_pictures": ("task",),
    "task_notices": ("task",),
    "picture_checks": ("id", "task"),
    "reviews": ("task",),
}
"""Columns that hold the number of a row, which is another one in the merged ledger."""

CHANGED: Mapping[str, Mapping[str, str]] = {
    "runs": {"finished_at": "coalesce(finished_at, started_at)"},
    "tasks": {"plan": "plan = {plan}"},
    "left_out": {"id": "NULL"},
    "passed_over": {"id": "NULL"},
}
"""Columns that are not copied as they are. Of a share's plans only the present one goes on, as plan 1."""

CONFLICTS: Mapping[str, str] = {
    "calls": "ON CONFLICT DO UPDATE SET n = n + excluded.n",
    "left_out": "ORDER BY id ON CONFLICT DO NOTHING",
    "passed_over": "ORDER BY id ON CONFLICT DO NOTHING",
    "row_notices": "ON CONFLICT DO NOTHING",
    "uploads": "ON CONFLICT DO NOTHING",
    "digests": "ON CONFLICT DO NOTHING",
}
"""Where several shares have a row of one key."""

UNFINISHED = """
SELECT state, count(*) FROM tasks
WHERE (state = 'planned' AND plan = ?) OR state IN ({in_flight}) GROUP BY state
"""
DUPLICATE_TASK = "SELECT one.name FROM main.tasks one JOIN share.tasks other ON other.key = one.key LIMIT 1"

PlacePicture = Callable[[str, str, Sequence[str], str], str]
"""Brings the share's picture of this folder and name, with this sha256, under the first of these names that
is free there, and returns that."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one share's ledger says of itself. `whole` identifies the plan it is a share of, which has `total`
    tasks; `tasks` are its own, without the replacements of those that were rejected; `unfinished` counts what
    a run would still do; `digest` is of all it holds."""

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


def read_share(connection: sqlite3.Connection) -> Share | None:
    """What a ledger says of its share; None when it is the ledger of no share."""
    shard, whole = meta(connection, "shard"), meta(connection, "whole")
    if not shard or not whole:
        return None
    counts = totals.counts(connection)
    delivered = connection.execute("SELECT total(delivered_at) FROM files").fetchone()
    content = [counts, totals.calls(connection), asdict(totals.money(connection)), delivered]
    digest = blake2b(json.dumps([shard, whole, content], sort_keys=True).encode(), digest_size=16)
    plan = int(meta(connection, "plan") or 0)
    in_flight = ", ".join(f"'{state}'" for state in sorted(IN_FLIGHT))
    return Share(
        shard=Shard.parse(shard),
        whole=whole,
        total=int(whole.partition(" ")[0]),
        tasks=sum(counts.values()) - _replacements(connection, plan),
        plan=plan,
        unfinished=dict(connection.execute(UNFINISHED.format(in_flight=in_flight), (plan,)).fetchall()),
        notes={key: meta(connection, key) for key in (*SHARED_NOTES, "destination")},
        digest=digest.hexdigest(),
    )


def _replacements(connection: sqlite3.Connection, plan: int) -> int:
    """How many tasks of this plan are replacements; a ledger of an older schema has none."""
    if "root" not in columns(connection, "tasks"):
        return 0
    query = "SELECT count(*) FROM tasks WHERE root IS NOT NULL AND plan = ?"
    return int(connection.execute(query, (plan,)).fetchone()[0])


def write_notes(connection: sqlite3.Connection, shares: Sequence[Share], merged: str) -> None:
    """Writes the new ledger's notes; `merged` says of what it was made."""
    for key in SHARED_NOTES:
        value = next((share.notes[key] for share in shares if share.notes[key] is not None), None)
        if value is not None:
            set_meta(connection, key, value)
    set_meta(connection, "plan", "1")
    set_meta(connection, "merged", merged)


def copy_share(connection: sqlite3.Connection, path: Path, share: Share, place: PlacePicture) -> None:
    """All of the share's ledger at `path` into the new one. Raises UsageError when a task is there already,
    and what `place` raises."""
    connection.execute("ATTACH ? AS share", (f"{path.absolute().as_uri()}?mode=ro",))
    with transaction(connection):
        duplicate = connection.execute(DUPLICATE_TASK).fetchone()
        if duplicate is not None:
            raise errors.UsageError(
                f"the task {duplicate[0]} is in share {share.shard} and in another one too"
            )
        for table in TABLES:
            if table == "files":
                _copy_files(connection, share, place)
            else:
                connection.execute(_copy_statement(connection, table, share))
    connection.execute("DETACH share")


def _copy_statement(connection: sqlite3.Connection, table: str, share: Share) -> str:
    changed = {name: text.format(plan=share.plan) for name, text in CHANGED.get(table, {}).items()}
    return copy_statement(
        connection,
        table,
        "share",
        {column: share.numbered(column) for column in ROW_NUMBERS.get(table, ())} | changed,
        conflict=CONFLICTS.get(table, ""),
    )


def _copy_files(connection: sqlite3.Connection, share: Share, place: PlacePicture) -> None:
    """Row by row, for each picture comes along under a name that is free."""
    names = columns(connection, "files")
    insert = f"INSERT INTO files ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
    for file, key in _files(connection, share, names):
        # Bytes of another submission may lie in the spool under the old number.
        if file["spool"] is not None:
            file["spool"] = f"{file['submission']}-{file['position']}.bytes"
        if file["delivered_at"] is None:
            file["name"] = None
        else:
            folder, name, sha256 = file["folder"], file["name"], file["sha256"]
            free = [one for one in _names(name, key, sha256) if _is_free(connection, one, folder)]
            file["name"] = place(folder, name, free, sha256)
        connection.execute(insert, file)


def _files(
    connection: sqlite3.Connection, share: Share, names: Sequence[str]
) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of the share's files as the merged ledger numbers them, each with its task's key."""
    selected = [share.numbered(name) if name in ROW_NUMBERS["files"] else name for name in names]
    query = f"SELECT {', '.join(selected)}, (SELECT key FROM share.tasks WHERE id = task) FROM share.files"
    for *row, key in connection.execute(f"{query} ORDER BY task, position"):
        yield dict(zip(names, row, strict=True)), key


def _names(name: str, key: str, sha256: str) -> tuple[str, ...]:
    """As a delivery chooses them."""
    stem, suffix = os.path.splitext(name)
    return name, f"{stem}-{key[:8]}{suffix}", f"{stem}-{key[:8]}-{sha256[:8]}{suffix}"


def _is_free(connection: sqlite3.Connection, name: str, folder: str) -> bool:
    look = "SELECT 1 FROM main.files WHERE name = ? AND folder = ?"
    return connection.execute(look, (name, folder)).fetchone() is None


def unfinished_words(share: Share) -> str:
    """What is left to do in a share, in words."""
    return ", ".join(f"{share.unfinished[state]:,} {state}" for state in State if state in share.unfinished)
