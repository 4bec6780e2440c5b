"""Which model made a task's picture, and where its source lies in it.

Rule: a plan is of one model, and a task's key hangs on it: the model of a picture is that of the latest plan
that holds its task, whatever the job is made with since.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from functools import cache

from batcher.job import geometry
from batcher.job.geometry import Geometry
from batcher.ledger.database import meta, set_meta


class PlanModels:
    """The models of a ledger's plans, as its runs noted them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._first, self._models = _noted(connection)
        self.geometry = cache(self._geometry)

    def of(self, plan: int) -> str:
        """The model of the plan of this number; empty where none is known."""
        at = bisect_right(self._first, plan) - 1
        return self._models[max(at, 0)] if self._models else ""

    def _geometry(self, model: str) -> Geometry | None:
        """The rule of a model: as a run noted it, else that of the shipped catalogue."""
        noted = meta(self._connection, f"geometry:{model}")
        if noted is None and model == (meta(self._connection, "model") or ""):
            noted = meta(self._connection, "geometry")
        if noted is not None:
            return geometry.from_text(noted)
        # Read by every reader of records; the catalogue is wanted only here, for ledgers of an older run.
        from batcher.job import catalog

        page = catalog.find(model)
        return None if page is None else page.geometry


def present_geometry(connection: sqlite3.Connection) -> Geometry | None:
    """The rule of the present plan's model."""
    return PlanModels(connection).geometry(meta(connection, "model") or "")


def note(connection: sqlite3.Connection, plan: int, model: str, rule: str) -> None:
    """The plan of this number, and those after it, are of `model`, whose geometry is `rule`; inside the
    transaction that is open."""
    first, models = _noted(connection)
    if not models or models[-1] != model:
        first, models = [*first, plan], [*models, model]
    set_meta(connection, "models", json.dumps([*zip(first, models, strict=True)]))
    set_meta(connection, "model", model)
    set_meta(connection, "geometry", rule)
    set_meta(connection, f"geometry:{model}", rule)


def _noted(connection: sqlite3.Connection) -> tuple[list[int], list[str]]:
    """From which plan on which model; of a ledger that older runs wrote, its one model."""
    models = meta(connection, "models")
    if models is not None:
        pairs = json.loads(models)
        return [int(plan) for plan, _ in pairs], [str(model) for _, model in pairs]
    model = meta(connection, "model")
    return ([], []) if model is None else ([0], [model])
