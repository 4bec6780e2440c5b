"""A small model and its files, and plans that are made with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from batcher.errors import ManifestError, Problem
from batcher.job.catalog import Model, Parameter
from batcher.job.diagnostics import Diagnostics, RowSink, Warn, silent
from batcher.job.manifest import Manifest
from batcher.job.plan import PlanContext, expand
from batcher.job.row import Row
from batcher.task import Task
from tests.support.manifests import parse

FOLDER = Path("/jobs")
FILES = {"/p/a.png": "aa", "/p/b.png": "bb", "/p/copy.png": "aa", "/jobs/logo.png": "11", "/t/a.png": "ta"}

MODEL = Model(
    "painter",
    parameters={
        one.name: one
        for one in (
            Parameter("image", "string", media="image"),
            Parameter("mask", "string", media="mask"),
            Parameter("prompt", "string", required=True),
            Parameter("steps", "integer", minimum=1, maximum=100),
            Parameter("strength", "number", minimum=0, maximum=1),
            Parameter("base64", "boolean"),
            Parameter("sampler", "string", allowed=("a", "b"), allowed_total=4),
            Parameter("seed", "integer", role="seed"),
            Parameter("samples", "integer", role="count", default=1, minimum=1, maximum=4),
        )
    },
)


def digest(path: str) -> str:
    if path == "/p/locked.png":
        raise PermissionError(13, "Permission denied", path)
    try:
        return FILES[path]
    except KeyError:
        raise FileNotFoundError(2, "No such file", path) from None


def counter() -> Callable[[bytes], int]:
    seen: Counter[bytes] = Counter()

    def duplicates(identity: bytes) -> int:
        seen[identity] += 1
        return seen[identity] - 1

    return duplicates


def expanded(
    manifest: Manifest,
    model: Model | None,
    rows: Iterable[Row],
    *,
    warn: Warn = silent,
    sink: RowSink | None = None,
    **plan_context: Any,
) -> list[Task]:
    """The tasks of these rows; without a `sink` one wrong row is an error."""
    asked = PlanContext(**{"digest": digest, "duplicates": counter(), **plan_context})
    return list(expand(manifest, model, rows, asked, Diagnostics("job.yaml", warn=warn, sink=sink)))


def plan(
    text: str,
    rows: Iterable[Row | Mapping[str, Any]] = ({},),
    *,
    model: Model | None = MODEL,
    notes: list[str] | None = None,
) -> list[Task]:
    made = [row if isinstance(row, Row) else Row(row, "rows", number=i) for i, row in enumerate(rows, 1)]
    manifest = parse(f"model: painter\ninputs: {{table: t.csv}}\n{text}", "job.yaml", FOLDER)
    return expanded(manifest, model, made, warn=silent if notes is None else notes.append)


def problems(
    text: str, rows: Iterable[Row | Mapping[str, Any]] = ({},), model: Model | None = MODEL
) -> list[Problem]:
    with pytest.raises(ManifestError) as caught:
        plan(text, rows, model=model)
    return list(caught.value.problems)


def picture_row(stem: str, **columns: Any) -> Row:
    return Row({"image": f"/p/{stem}.png", "stem": stem, **columns}, f"/p/{stem}.png", folder=str(FOLDER))


def cell(number: int, **columns: str) -> Row:
    return Row(columns, "t.csv", number + 1, number, "/t", frozenset(columns))


def keys(tasks: Iterable[Task]) -> set[str]:
    return {task.key for task in tasks}
