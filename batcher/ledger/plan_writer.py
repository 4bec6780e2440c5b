"""The plan enters the ledger: one transaction, rolled back on any error.

Rule: what is paid for keeps its name and its place; a task is known by its key alone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from batcher import errors
from batcher.job.plan import name_key
from batcher.ledger import relabelling
from batcher.ledger.database import meta, set_meta, transaction
from batcher.ledger.shard_plan import WholePlan
from batcher.shard import Shard
from batcher.task import Task

BATCH = 2_000
COLLISIONS_TOLD = 20
LONGEST_EXAMPLE = 120
"""Characters of a task's columns in a sentence."""

INDICES = {
    "task_keys": "CREATE UNIQUE INDEX task_keys ON tasks (key)",
    "task_names": "CREATE INDEX task_names ON tasks (name_key)",
    "task_states": "CREATE INDEX task_states ON tasks (state, plan)",
}

INSERT = """
INSERT INTO tasks
  (id, key, name, name_key, plan, images, repeat, params, columns, media, redo, replaces, root)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
UPSERT = f"""{INSERT}
ON CONFLICT (key) DO UPDATE SET
  plan = excluded.plan, params = excluded.params, columns = excluded.columns, media = excluded.media,
  name_key = CASE WHEN state IN ('planned', 'failed') THEN excluded.name_key ELSE name_key END,
  name = CASE WHEN state IN ('planned', 'failed') THEN excluded.name ELSE name END
"""

# Of two tasks that want one name, the one that is paid for keeps it; a replacement has its cell's name.
TAKEN = """
SELECT t.id, t.key, t.name, other.name
FROM tasks t JOIN tasks other ON other.name_key = t.name_key AND other.id <> t.id
  AND coalesce(other.root, other.key) <> coalesce(t.root, t.key)
WHERE t.plan = ?1 AND t.state IN ('planned', 'failed')
  AND other.state NOT IN ('planned', 'failed')
GROUP BY t.id
"""
ANY_COLLISION = "SELECT 1 FROM tasks GROUP BY name_key HAVING count(*) > 1 LIMIT 1"
"""Read from the index of names alone: almost always it is the answer."""
COLLISIONS = """
SELECT name, count(*), min(id), max(id) FROM tasks WHERE {which} AND redo = 0
GROUP BY name_key HAVING count(*) > 1 ORDER BY min(id) LIMIT ?
"""


REPLACEMENTS = "SELECT count(*) FROM tasks WHERE root IS NOT NULL AND plan = ?"


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What planning did: tasks in the present plan, how many were unknown before, sentences to be told."""

    total: int
    new: int
    warnings: tuple[str, ...] = ()


def plan(
    connection: sqlite3.Connection,
    tasks: Iterable[Task],
    fingerprint: str,
    *,
    shard: Shard | None = None,
    progress: Callable[[int], None] = lambda total: None,
    settled: Callable[[], bool] = lambda: True,
    replace: Callable[[sqlite3.Connection, int], object] = lambda connection, number: None,
    check: Callable[[sqlite3.Connection, int], None] = lambda connection, number: None,
) -> PlanResult:
    """Makes `tasks` the present plan, or that share of them. Raises ManifestError (nothing changed) when two
    want one name, and what `check` raises, which sees the plan of this number before it is for good.
    `replace` adds the replacements of what is rejected in it.

    What is left out on the way is told to a `LeftOutRows` of the same connection. Where the sources are not
    `settled` in the end, the next run plans anew.
    """
    with transaction(connection):
        number = int(meta(connection, "plan") or 0) + 1
        connection.execute("DELETE FROM left_out")
        connection.execute("DELETE FROM passed_over")
        before = connection.execute("SELECT count(*) FROM tasks").fetchone()[0]
        whole = None if shard is None else WholePlan(connection, shard)
        rows = (
            (row_of(None, task, number) for task in tasks)
            if whole is None
            else (row_of(place, task, number) for place, task in whole.shared(tasks))
        )
        with relabelling.count_relabelled(connection) as relabelled:
            total = _write(connection, rows, fresh=before == 0, progress=progress)
        if whole is not None:
            whole.note()
        warnings = _settle_names(connection, number)
        if changed := relabelling.changed_text(relabelled.number, "the job's inputs"):
            warnings.append(changed)
        replace(connection, number)
        check(connection, number)
        after = connection.execute("SELECT count(*) FROM tasks").fetchone()[0]
        total += connection.execute(REPLACEMENTS, (number,)).fetchone()[0]
        set_meta(connection, "plan", str(number))
        set_meta(connection, "fingerprint", fingerprint if settled() else "")
    return PlanResult(total, after - before, tuple(warnings))


def _write(
    connection: sqlite3.Connection,
    rows: Iterator[tuple[Any, ...]],
    *,
    fresh: bool,
    progress: Callable[[int], None],
) -> int:
    """Into an empty ledger the rows go first and the indices are built over them: three times as fast."""
    if fresh:
        for name in INDICES:
            connection.execute(f"DROP INDEX IF EXISTS {name}")
    total = 0
    while batch := list(islice(rows, BATCH)):
        connection.executemany(INSERT if fresh else UPSERT, batch)
        total += len(batch)
        progress(total)
    if fresh:
        for statement in INDICES.values():
            connection.execute(statement)
    return total


def row_of(place: int | None, task: Task, number: int) -> tuple[Any, ...]:
    """A task as INSERT and UPSERT take it, at this place (None: the next) of the plan of this number."""
    key, name, params, columns, media, repeat, images, redo, replaces, root = task
    return (
        place,
        key,
        name,
        name_key(name),
        number,
        images,
        repeat,
        compact(params),
        compact(columns),
        compact(media) if media else "{}",
        redo,
        replaces,
        root,
    )


def compact(value: Any) -> str:
    """JSON as it stands in the ledger."""
    return "".join(_CHUNKS(value, 0))


def _chunks() -> Callable[[Any, int], Iterable[str]]:
    """What `encode` of a JSONEncoder makes anew for every value, made once: a plan has two for each task.
    Where Python has it no more, or otherwise, `encode` itself."""
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
    try:
        make: Any = vars(json.encoder)["c_make_encoder"]
        # Without a list of what it is in: nothing that was read from JSON, YAML or a table holds itself.
        made = make(None, encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, True)
        if "".join(made({"a": [1, "é"]}, 0)) == '{"a":[1,"é"]}':
            return cast(Callable[[Any, int], Iterable[str]], made)
    except (KeyError, TypeError):
        pass
    return lambda value, level: encoder.encode(value)


_CHUNKS = _chunks()


def _settle_names(connection: sqlite3.Connection, number: int) -> list[str]:
    if connection.execute(ANY_COLLISION).fetchone() is None:
        return []
    problems = _collisions(connection, "plan = ? AND state IN ('planned', 'failed')", number)
    renamed = []
    for identity, key, name, other in connection.execute(TAKEN, (number,)).fetchall():
        anew = f"{name}-{key[:8]}"
        connection.execute(
            "UPDATE tasks SET name = ?, name_key = ? WHERE id = ?", (anew, name_key(anew), identity)
        )
        renamed.append((other, anew))
    warnings = _renamed_text(renamed)
    if warnings:
        problems = problems or _collisions(connection, "plan = ?", number)
    if problems:
        raise errors.ManifestError(problems)
    return warnings


def _renamed_text(renamed: Sequence[tuple[str, str]]) -> list[str]:
    """One sentence, however many new tasks (the name that is held, their own) had to be named otherwise."""
    if not renamed:
        return []
    held, anew = renamed[0]
    if len(renamed) == 1:
        return [f"the name {held!r} is held by a paid picture; the new task is named {anew!r}"]
    return [
        f"{len(renamed):,} names are held by paid pictures; the new tasks get 8 digits of their keys behind "
        f"them (first: {held!r} is held, the new task is named {anew!r})"
    ]


def _collisions(connection: sqlite3.Connection, which: str, number: int) -> list[errors.Problem]:
    """One problem for each name that several of these tasks would have."""
    problems = []
    rows = connection.execute(COLLISIONS.format(which=which), (number, COLLISIONS_TOLD)).fetchall()
    for name, count, first, last in rows:
        one, two = (_columns(connection, identity) for identity in (first, last))
        problems.append(errors.Problem(_collision(name, count, one, two), key="output.name"))
    return problems


def _collision(name: str, count: int, one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """What tells two of these tasks apart is what the name lacks."""
    differ = [column for column in {**one, **two} if one.get(column) != two.get(column)]
    differ.sort(key=lambda column: column in ("image", "name", "suffix", "seed"))
    if not differ:
        return (
            f"{count} tasks would be named {name!r}, and no column tells them apart; "
            "give the rows a column that does, and put it into the name"
        )
    examples = " and ".join(f"[{_spelled(row, differ)}]" for row in (one, two))
    named = [column for column in differ if not _is_path(one.get(column)) and not _is_path(two.get(column))]
    if not named:
        return (
            f"{count} tasks would be named {name!r}, for example {examples}; "
            "give the rows a column with a name for each, and put it into `output.name`"
        )
    lacking = " or ".join(f"{{{{ {column} }}}}" for column in named[:3])
    return (
        f"{count} tasks would be named {name!r}, for example {examples}; "
        f"make the name differ, for example with {lacking}"
    )


def _is_path(value: Any) -> bool:
    """Whether it would put a folder of this machine into the name of a file."""
    return isinstance(value, str) and (value.startswith("/") or "://" in value)


def _spelled(columns: Mapping[str, Any], names: Sequence[str]) -> str:
    shown = ", ".join(f"{name}={columns[name]}" for name in names if name in columns)
    return shown if len(shown) <= LONGEST_EXAMPLE else f"{shown[: LONGEST_EXAMPLE - 1]}…"


def _columns(connection: sqlite3.Connection, identity: int) -> dict[str, Any]:
    row = connection.execute("SELECT columns FROM tasks WHERE id = ?", (identity,)).fetchone()
    return dict(json.loads(row[0]))


class LeftOutRows:
    """Takes the rows that a plan leaves out while it is made, or passes over where that is allowed; they
    belong to it, and go with it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __call__(self, problem: errors.Problem) -> None:
        table = "passed_over" if problem.skipped_by_manifest else "left_out"
        self._connection.execute(
            f"INSERT OR IGNORE INTO {table} (file, line, reason) VALUES (?, ?, ?)",
            (problem.file, problem.line, problem.message),
        )


def left_out(connection: sqlite3.Connection, most: int) -> tuple[int, list[errors.Problem]]:
    """How many rows the present plan left out, and the first of them."""
    (number,) = connection.execute("SELECT count(*) FROM left_out").fetchone()
    rows = connection.execute("SELECT reason, file, line FROM left_out ORDER BY id LIMIT ?", (most,))
    return int(number), [errors.Problem(*row) for row in rows]
