"""The lines of metadata.jsonl and errors.jsonl, read from the ledger.

Law: a line says where the picture came from, how it was asked for, and what it cost; and can be built
again at any time from the ledger alone.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from batcher.ledger import labels
from batcher.ledger.models import Models
from batcher.ledger.store import meta
from batcher.ledger.totals import PERHAPS_PAID, credits

DELIVERED = """
SELECT t.name, t.plan, t.columns, t.params, t.media, {facts}, f.name, f.sha256, f.width, f.height, t.key,
       s.request_id, s.result_seed, s.cost, (SELECT count(*) FROM files o WHERE o.task = t.id),
       s.submitted_at, s.queue_time, s.inference_time, s.total_time, f.bytes
FROM files f JOIN tasks t ON t.id = f.task JOIN submissions s ON s.id = f.submission {kept}
WHERE f.delivered_at IS NOT NULL AND t.state = 'done' {only}
ORDER BY t.id, f.position
"""
KEPT = "LEFT JOIN source_pictures k ON k.task = t.id"

OF_THE_SOURCE = frozenset({"boxes", "box_classes", "mask", "placement"})
"""Columns that speak of the source: true of the delivered picture only where its geometry carries them."""

MISSED = """
SELECT t.id, t.key, t.name, t.state, t.attempts, t.columns, t.params,
       coalesce(t.reason, s.detail, 'its files could not be fetched yet')
FROM tasks t LEFT JOIN submissions s ON s.id = t.submission
WHERE t.state IN ('failed', 'doubtful', 'submitted', 'ready') AND t.plan = ? {only}
ORDER BY t.id
"""

PAID = """
SELECT outcome, total(images), total(cost), group_concat(request_id)
FROM submissions WHERE task = ? GROUP BY outcome
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One delivered picture: its metadata line, its bytes, and the task it came from (its name, and what it
    was of)."""

    task: str
    columns: Mapping[str, Any]
    params: Mapping[str, Any]
    media: Mapping[str, str]
    line: Mapping[str, Any]
    size: int


def delivered(
    connection: sqlite3.Connection, tasks: Collection[int] | None = None
) -> Iterator[dict[str, Any]]:
    """The metadata line of each delivered picture, in the plan's order; of these tasks only, if given."""
    return (dict(picture.line) for picture in pictures(connection, tasks))


def pictures(connection: sqlite3.Connection, tasks: Collection[int] | None = None) -> Iterator[Picture]:
    """Each delivered picture, in the plan's order; of these tasks only, if given."""
    only = "" if tasks is None else f"AND t.id IN ({','.join(str(int(task)) for task in tasks)})"
    kept = tasks is not None or _has(connection, "source_pictures")
    query = DELIVERED.format(only=only, kept=KEPT if kept else "", facts="k.facts" if kept else "NULL")
    models = Models(connection)
    for name, plan, columns, params, media, facts, *row, size in connection.execute(query):
        model = models.of(plan)
        of, asked, inputs = json.loads(columns), json.loads(params), json.loads(media)
        line = _line(model, of, asked, inputs, *row)
        rule = partial(models.geometry, model)
        line |= labels.of_picture(rule, facts, of, asked, (line["width"], line["height"]))
        yield Picture(name, of, asked, inputs, line, size or 0)


def _line(
    model: str,
    columns: Mapping[str, Any],
    asked: Mapping[str, Any],
    media: Mapping[str, str],
    name: str,
    sha256: str,
    width: int,
    height: int,
    key: str,
    request_id: str | None,
    result_seed: str | None,
    cost: int | None,
    files: int,
    submitted_at: float,
    queue_time: float | None,
    inference_time: float | None,
    total_time: float | None,
) -> dict[str, Any]:
    # Kept as source_image, source_file_name... A list of pictures goes as a whole.
    made_of = {place.partition(".")[0] for place in media} | set(media) | {"image", "file_name"}
    body = {param: value for param, value in asked.items() if param not in made_of}
    facts: dict[str, Any] = {
        "model": model,
        "seed": _seed(result_seed, asked),
        "request_id": request_id,
        "cost": None if cost is None else credits(cost / files),
        "submitted_at": submitted_at,
        "queue_time": queue_time,
        "inference_time": inference_time,
        "total_time": total_time,
        "width": width,
        "height": height,
        "key": key,
        "sha256": sha256,
    }
    line: dict[str, Any] = {"file_name": f"images/{name}"}
    for column, value in columns.items():
        differs = column in body and body[column] != value
        labelled = column in OF_THE_SOURCE or (column == "labels" and labels.names_file(value))
        clashes = column in ("image", "file_name") or column in facts or labelled or differs
        line[f"source_{column}" if clashes else column] = value
    for param in made_of & asked.keys():
        line.setdefault(f"source_{param}", asked[param])
    return line | body | facts


def _seed(told: str | None, asked: Mapping[str, Any]) -> Any:
    """The seed the provider used, as a number where it is one; else the one it was asked for."""
    if told is None:
        return asked.get("seed")
    return int(told) if re.fullmatch(r"-?[0-9]{1,30}", told) else told


def left_out(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """The errors line of each row that the present plan left out, or passed over as it was allowed to."""
    for table in ("left_out", "passed_over"):
        if not _has(connection, table):
            continue
        for file, line, reason in connection.execute(f"SELECT file, line, reason FROM {table} ORDER BY id"):
            yield {"state": table, "file": file, "line": line, "reason": reason}


def _has(connection: sqlite3.Connection, table: str) -> bool:
    """A ledger of an older schema that is only read may lack a table; a run's own has it."""
    look = "SELECT 1 FROM sqlite_master WHERE name = ?"
    return connection.execute(look, (table,)).fetchone() is not None


def missed(connection: sqlite3.Connection, each: float, task: int | None = None) -> Iterator[dict[str, Any]]:
    """The errors line of each task that was tried and is not delivered: the reason and the money. `each` is
    what an image costs (micro-credits): by it is valued what was perhaps paid, or lost."""
    only = "" if task is None else f"AND t.id = {int(task)}"
    number = int(meta(connection, "plan") or 0)
    rows = connection.execute(MISSED.format(only=only), (number,))
    for identity, key, name, state, attempts, columns, params, reason in rows:
        cost = {"spent": 0.0, "doubtful": 0.0, "lost": 0.0}
        requests: list[str] = []
        for outcome, images, spent, ids in connection.execute(PAID, (identity,)):
            cost["spent"] += credits(spent)
            cost["doubtful"] += credits(images * each) if outcome in PERHAPS_PAID else 0.0
            cost["lost"] += credits(images * each) if outcome == "lost" else 0.0
            requests += ids.split(",") if ids else []
        yield {
            "name": name,
            "key": key,
            "state": state,
            "reason": reason,
            "attempts": attempts,
            "cost": cost,
            "request_ids": requests,
            "columns": json.loads(columns),
            "params": json.loads(params),
        }
