"""One edited value can make a whole archive anew: which one it was, in a sentence, for how many pictures.

Rule: compared with what the last run began with, whatever was planned and refused since. Pictures and rows
that come and go make nothing anew, and are no edit: a new task is an old one made anew where it is of the
same row, or of the same picture.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batcher.job.manifest import Manifest
from batcher.ledger import database
from batcher.progress.summary import credits, several

RUN_PLAN = "run_plan"
"""The ledger's note of the plan that its last run began with."""
MADE_OF = "made_of"
"""Its note of the manifest's values that every key hangs on, as JSON."""
LONGEST_VALUE = 60
"""Characters of a value in a sentence."""

LEFT = "state = 'done' AND plan >= ?1 AND plan < ?2"
DROPPED = f"SELECT count(*) FROM tasks WHERE {LEFT}"
ROW = "json_remove(columns{axes})"
"""A task's row without the axes that were edited."""
# Each set is gathered once: as subqueries of a list they are no loop in a loop, however long a plan is.
ANEW = """
SELECT count(*) FROM tasks WHERE state = 'planned' AND plan = ?2 AND (
  {row} || repeat IN (SELECT {row} || repeat FROM tasks WHERE {left})
  OR media <> '{{}}' AND media IN (SELECT media FROM tasks WHERE {left}))
"""
A_ROW = "SELECT columns FROM tasks WHERE {} LIMIT 1"


@dataclass(frozen=True, slots=True)
class ManifestEdit:
    """Values that have changed since the last run (`params.strength` from 0.6 to 0.5), and how many delivered
    pictures leave the plan by that while as many are new in it."""

    changes: tuple[tuple[str, Any, Any], ...]
    anew: int

    def sentence(self, per_task: float | None) -> str:
        """What happened, and for how much; `per_task`: what a task costs in credits (None: not known)."""
        if len(self.changes) == 1:
            ((key, old, new),) = self.changes
            what = f"{key} has changed from {_spelled(old)} to {_spelled(new)}"
        else:
            shown = (f"{key} (from {_spelled(old)} to {_spelled(new)})" for key, old, new in self.changes)
            what = f"{', '.join(shown)} have changed"
        pictures = several(self.anew, "delivered picture is", "delivered pictures are")
        cost = (
            "at a cost not known"
            if per_task is None
            else f"for about {credits(per_task * self.anew)} credits"
        )
        keep = "the old one keeps its file" if self.anew == 1 else "the old ones keep their files"
        return f"{what}: {pictures} made anew, {cost}; {keep}, and leave{'s' * (self.anew == 1)} the plan"


def made_of(manifest: Manifest) -> dict[str, Any]:
    """What the keys of all tasks hang on."""
    values = {"model": manifest.model, "seed": manifest.seed}
    values |= {f"params.{name}": value for name, value in manifest.params.items()}
    return values | {f"matrix.{name}": list(axis) for name, axis in manifest.matrix.axes.items()}


def edit_of(connection: sqlite3.Connection, manifest: Manifest, new: int, plan: int) -> ManifestEdit | None:
    """The edit that makes delivered pictures anew in the plan of this number, which has `new` planned tasks;
    None: there is none, or nothing is known of the last run."""
    base, noted = database.meta(connection, RUN_PLAN), database.meta(connection, MADE_OF)
    if base is None or noted is None:
        return None
    return _edit(connection, noted, manifest, new, range(int(base), plan))


def _edit(
    connection: sqlite3.Connection, noted: str, manifest: Manifest, new: int, plans: range
) -> ManifestEdit | None:
    between = (plans.start, plans.stop)
    (dropped,) = connection.execute(DROPPED, between).fetchone()
    if not dropped or not new or any(source.only == "new" for source in manifest.inputs):
        return None
    changes = tuple(_changes(json.loads(noted), json.loads(json.dumps(made_of(manifest)))))
    if not changes:
        return None
    axes = {key.partition(".")[2] for key, _, _ in changes if key.startswith("matrix.")}
    anew = min(dropped, new, _anew(connection, between, axes, new))
    return ManifestEdit(changes, anew) if anew else None


def _anew(connection: sqlite3.Connection, between: tuple[int, int], axes: Collection[str], new: int) -> int:
    """How many new tasks are old ones made anew. Where rows have other columns now, nobody can tell, and it
    may be all: what costs is rather told once too often."""
    queries = (A_ROW.format(LEFT), A_ROW.format("state = 'planned' AND plan = ?2"))
    before, after = (connection.execute(query, between).fetchone() for query in queries)
    if after is None or any('"' in axis for axis in axes):
        return new
    if json.loads(before[0]).keys() - axes != json.loads(after[0]).keys() - axes:
        return new
    without = "".join(f", ?{n}" for n in range(3, 3 + len(axes)))
    paths = [f'$."{axis}"' for axis in axes]
    row = ROW.format(axes=without) if axes else "columns"
    (number,) = connection.execute(ANEW.format(row=row, left=LEFT), (*between, *paths)).fetchone()
    return int(number)


def notes(manifest: Manifest, plan: int) -> dict[str, str]:
    """What a run that begins leaves for the next one."""
    return {RUN_PLAN: str(plan), MADE_OF: json.dumps(made_of(manifest), ensure_ascii=False)}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def _spelled(value: Any) -> str:
    if value is None:
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
