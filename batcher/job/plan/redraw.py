"""The replacement of a rejected picture: the same cell, drawn anew.

Rule: its key hangs on its cell's first task and its number alone, so that it is known before it is drawn, and
whoever makes it makes the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from batcher.job.catalog import Model, canvas, check
from batcher.job.manifest import Manifest
from batcher.job.manifest.draws import model_draws
from batcher.job.plan.body import Body
from batcher.job.plan.param_templates import BadValue
from batcher.job.plan.plan_context import PlanContext
from batcher.job.row import Row
from batcher.task import Task

MOST_DRAWS = 64
"""Few choices fall on the same again: so often it is drawn until the body is another one."""
USED_UP = "its choices are used up, and another try would buy the same picture"


class CannotRedraw(Exception):
    """A cell whose parameters cannot be drawn anew; why, in words."""


def replacement_key(root: str, redo: int) -> str:
    """The key of a cell's replacement of this number (from 1); `root` is the key of its first task."""
    return blake2b(f"{root}\nredo {redo}".encode(), digest_size=16).hexdigest()


class Redraw:
    """Draws the replacements of one job's tasks."""

    def __init__(self, manifest: Manifest, model: Model | None, plan_context: PlanContext) -> None:
        self._manifest = manifest
        self._model = model
        self._body = Body(manifest, model, plan_context)
        self._drawn = {param.name for param in self._body.seeded}
        self._model_draws = model_draws(manifest.params, model)

    def of(self, first: Task, rejected: Sequence[Task], redo: int) -> Task:
        """The replacement of this number for the last of `rejected`, the rejected tasks of the cell that
        began with `first`. Its body is another one than each of them had, unless the model draws. Raises
        CannotRedraw."""
        had = [task.params for task in rejected]
        for draw in range(MOST_DRAWS if self._drawn else 1):
            params, media, columns = self._draw(first, redo, draw)
            if params not in had:
                break
        else:
            if not self._model_draws:
                raise CannotRedraw(USED_UP)
        findings = check(self._model, params, self._manifest.unchecked) if self._model is not None else ()
        for finding in findings:
            if not finding.warning:
                raise CannotRedraw(f"{finding.parameter}: {finding.message}")
        return first._replace(
            key=replacement_key(first.key, redo),
            params=params,
            columns=columns,
            media=media,
            redo=redo,
            replaces=rejected[-1].key,
            root=first.key,
        )

    def _draw(
        self, first: Task, redo: int, draw: int
    ) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
        """Body, digests of its files, and columns."""
        drawn_from = f"{self._manifest.seed}\n{first.key}\n{redo}{f' {draw}' if draw else ''}"
        columns = dict(first.columns)
        values: dict[str, Any] = {**columns, "repeat": first.repeat}
        if self._manifest.seed is not None:
            values["seed"] = int.from_bytes(blake2b(drawn_from.encode(), digest_size=4).digest())
            if "seed" in columns:
                columns["seed"] = values["seed"]
        params = dict(first.params) | dict.fromkeys(self._drawn)
        media = {
            place: digest
            for place, digest in first.media.items()
            if place.partition(".")[0] not in self._drawn
        }
        row = Row(first.columns, str(self._manifest.path), folder=str(self._manifest.folder))
        wrong: list[BadValue] = []
        self._body.fill_seeded(params, media, row, values, drawn_from, wrong)
        if self._body.arranges and canvas.KEY in self._drawn and not wrong:
            self._body.arrange(params, row, wrong)
        if wrong:
            raise CannotRedraw(f"{wrong[0].param.name}: {wrong[0]}")
        return params, media, columns
