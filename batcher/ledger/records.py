"""The lines of metadata.jsonl and errors.jsonl, read from the ledger.

Rule: a line says where the picture came from, how it was asked for, and what it cost; and can be built
again at any time from the ledger alone.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from batcher.job.geometry import LABEL_COLUMNS, are_objects
from batcher.job.labels import names_label_file
from batcher.ledger import database, placements
from batcher.ledger.plan_models import PlanModels
from batcher.ledger.totals import PERHAPS_PAID, SHORT, SHORTFALL, credits
from batcher.task import State

if TYPE_CHECKING:  # only exports read label files
    from batcher.ledger.corrected_labels import CorrectedLabels

DELIVERED = """
SELECT t.name, t.plan, t.columns, t.params, t.media, {facts}, {file}, t.key,
       s.request_id, s.result_seed, s.cost, (SELECT count(*) FROM files o WHERE o.task = t.id),
       s.submitted_at, s.queue_time, s.inference_time, s.total_time, {checked}, {redo}, f.bytes,
       f.delivered_at
FROM files f JOIN tasks t ON t.id = f.task JOIN submissions s ON s.id = f.submission {kept}
WHERE {which}
ORDER BY t.id, f.position
"""
KEPT = "LEFT JOIN source_pictures k ON k.task = t.id"
CHECKED = "LEFT JOIN picture_checks c ON c.task = f.task AND c.position = f.position"

OF_THE_SOURCE = frozenset({*LABEL_COLUMNS, "mask", "instance_mask", "placement"})
"""Columns that speak of the source: true of the delivered picture only where its geometry carries them."""

MISSED = """
SELECT t.id, t.key, t.name, t.state, t.attempts, t.columns, t.params,
       CASE WHEN t.state = 'done' THEN '{shortfall}'
            ELSE coalesce(t.reason, s.detail, 'its files could not be fetched yet') END,
       s.detail
FROM tasks t LEFT JOIN submissions s ON s.id = t.submission
WHERE (t.state IN ('failed', 'doubtful', 'submitted', 'ready') OR ({short})) AND t.plan = ? {only}
ORDER BY t.id
"""

PAID = """
SELECT outcome, total(images), total(cost), group_concat(request_id)
FROM submissions WHERE task = ? GROUP BY outcome
"""


@dataclass(frozen=True, slots=True)
class DeliveredPicture:
    """One delivered picture: its metadata line, its bytes, and the task it came from (its name, what it was
    of, and the number of the latest plan that has it); `delivered_at`: its file is no younger (Unix s)."""

    task: str
    columns: Mapping[str, Any]
    params: Mapping[str, Any]
    media: Mapping[str, str]
    line: Mapping[str, Any]
    size: int
    plan: int
    delivered_at: float = 0.0


def delivered(
    connection: sqlite3.Connection, tasks: Collection[int] | None = None
) -> Iterator[dict[str, Any]]:
    """The metadata line of each delivered picture, in the plan's order; of these tasks only, if given."""
    return (dict(picture.line) for picture in pictures(connection, tasks))


def rejected(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """The rejected line of each picture that was set aside, in the plan's order: its metadata line, and why,
    by whom (`person`, or a check's name) and when (Unix s)."""
    for picture in rejected_pictures(connection):
        reason, by, at = connection.execute(REJECTION, (picture.line["key"],)).fetchone()
        yield {**picture.line, "reason": reason, "by": by, "at": at}


def rejected_pictures(connection: sqlite3.Connection) -> Iterator[DeliveredPicture]:
    """Each picture that was set aside, in the plan's order."""
    if "rejected_by" in database.columns(connection, "tasks"):
        yield from pictures(connection, state=State.REJECTED)


REJECTION = "SELECT reason, rejected_by, rejected_at FROM tasks WHERE key = ?"


def pictures(
    connection: sqlite3.Connection,
    tasks: Collection[int] | None = None,
    *,
    state: State = State.DONE,
    corrected: CorrectedLabels | None = None,
) -> Iterator[DeliveredPicture]:
    """Each delivered picture of tasks that are done, or in another state, in the plan's order; of these tasks
    only, if given; with its labels as `corrected` reads them anew."""
    only = "" if tasks is None else f" AND t.id IN ({','.join(str(int(task)) for task in tasks)})"
    folder, _ = database.folder_of_files(connection)
    file = f"{folder} || '/' || f.name, f.sha256, f.width, f.height"
    which = f"f.delivered_at IS NOT NULL AND t.state = '{state}'{only}"
    return _pictures(connection, file, which, {}, newest=tasks is not None, corrected=corrected)


def coming(
    connection: sqlite3.Connection, task: int, position: int, path: str, sha256: str, size: tuple[int, int]
) -> dict[str, Any]:
    """The metadata line that a picture of a ready task will have, once it stands at `path`."""
    values = {"task": task, "position": position, "path": path, "sha256": sha256}
    values |= {"width": size[0], "height": size[1]}
    which = "f.task = :task AND f.position = :position"
    found = _pictures(connection, ":path, :sha256, :width, :height", which, values, newest=True)
    return dict(next(found).line)


def _pictures(
    connection: sqlite3.Connection,
    file: str,
    which: str,
    values: Mapping[str, Any],
    *,
    newest: bool,
    corrected: CorrectedLabels | None = None,
) -> Iterator[DeliveredPicture]:
    """`newest`: the ledger is known to be of the newest schema; one that is only read may be older."""
    kept = newest or _has(connection, "source_pictures")
    checked = newest or _has(connection, "picture_checks")
    redone = newest or "redo" in database.columns(connection, "tasks")
    query = DELIVERED.format(
        file=file,
        which=which,
        kept=f"{KEPT if kept else ''} {CHECKED if checked else ''}",
        facts="k.facts" if kept else "NULL",
        checked="c.warnings, c.duplicate_of" if checked else "NULL, NULL",
        redo="t.redo, t.replaces" if redone else "0, NULL",
    )
    models = PlanModels(connection)
    for name, plan, columns, params, media, facts, *row, size, at in connection.execute(query, values):
        model = models.of(plan)
        source, body, inputs = json.loads(columns), json.loads(params), json.loads(media)
        if corrected is not None:
            source = corrected.row(source)
        line = _line(model, source, body, inputs, *row)
        rule = partial(models.geometry, model)
        if corrected is not None and (shape := rule()) is not None:
            facts = corrected.of(facts, source, body.get(shape.input))
        line |= placements.of_picture(rule, facts, source, body, (line["width"], line["height"]))
        yield DeliveredPicture(name, source, body, inputs, line, size or 0, plan, at or 0.0)


def _line(
    model: str,
    columns: Mapping[str, Any],
    params: Mapping[str, Any],
    media: Mapping[str, str],
    path: str,
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
    warnings: str | None,
    duplicate_of: str | None,
    redo: int,
    replaces: str | None,
) -> dict[str, Any]:
    # Kept as source_image, source_file_name... A list of pictures goes as a whole.
    inputs = {place.partition(".")[0] for place in media} | set(media) | {"image", "file_name"}
    body = {param: value for param, value in params.items() if param not in inputs}
    facts: dict[str, Any] = {
        "model": model,
        "seed": _seed(result_seed, params),
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
    if warnings is not None:
        facts["warnings"] = json.loads(warnings)
    if duplicate_of is not None:
        facts["duplicate_of"] = duplicate_of
    if redo:
        facts |= {"redo": redo, "replaces": replaces}
    line: dict[str, Any] = {"file_name": path}
    for column, value in columns.items():
        differs = column in body and body[column] != value
        labelled = (
            column in OF_THE_SOURCE
            or (column == "labels" and names_label_file(value))
            or (column == "objects" and are_objects(value))
        )
        clashes = column in ("image", "file_name") or column in facts or labelled or differs
        line[f"source_{column}" if clashes else column] = value
    for param in inputs & params.keys():
        line.setdefault(f"source_{param}", params[param])
    return line | body | facts


def _seed(result_seed: str | None, params: Mapping[str, Any]) -> Any:
    """The seed the provider used, as a number where it is one; else the one it was asked for."""
    if result_seed is None:
        return params.get("seed")
    return int(result_seed) if re.fullmatch(r"-?[0-9]{1,30}", result_seed) else result_seed


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


def missed(
    connection: sqlite3.Connection, per_image: float, task: int | None = None
) -> Iterator[dict[str, Any]]:
    """The errors line of each task that was tried and is not delivered, or not with every picture: the reason
    and the money. `per_image` is
    what an image costs (micro-credits): by it is valued what was perhaps paid, or lost."""
    only = "" if task is None else f"AND t.id = {int(task)}"
    number = int(database.meta(connection, "plan") or 0)
    rows = connection.execute(MISSED.format(only=only, short=SHORT, shortfall=SHORTFALL), (number,))
    for identity, key, name, state, attempts, columns, params, reason, detail in rows:
        cost = {"spent": 0.0, "doubtful": 0.0, "lost": 0.0}
        requests: list[str] = []
        for outcome, images, spent, ids in connection.execute(PAID, (identity,)):
            cost["spent"] += credits(spent)
            cost["doubtful"] += credits(images * per_image) if outcome in PERHAPS_PAID else 0.0
            cost["lost"] += credits(images * per_image) if outcome == "lost" else 0.0
            requests += ids.split(",") if ids else []
        yield {
            "name": name,
            "key": key,
            "state": state,
            "reason": reason,
            **({"detail": detail} if detail and detail != reason else {}),
            "attempts": attempts,
            "cost": cost,
            "request_ids": requests,
            "columns": json.loads(columns),
            "params": json.loads(params),
        }
