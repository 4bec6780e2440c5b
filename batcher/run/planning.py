"""A manifest's tasks: into the ledger, or only looked at (`plan`, `validate`).

Law: looking writes nothing. Planning is skipped when manifest and sources are as they were. A row that is
left out is told to `skipped`; where nobody listens for that, one wrong row is an error of the whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batcher import catalog, errors, place, plan, sources, stores, uploads
from batcher.catalog import Model
from batcher.ledger import planning, store, totals
from batcher.ledger.planning import Planned
from batcher.ledger.seen import Digests, Occurrences
from batcher.ledger.totals import credits, micro
from batcher.ledger.writer import Ledger
from batcher.manifest import Manifest
from batcher.polling import Polling
from batcher.run.labelled import labelled
from batcher.shard import Shard
from batcher.sources import LeftOut, Skipped
from batcher.task import State, Task

CALLS_PER_TASK = {"v1": 1, "v2": 4}
"""v2: submit, result and, as learned polling does it, about two status calls."""
SAMPLE = 3
UNPAID = (State.PLANNED, State.FAILED)
NAMED_BY = "output_name"
"""The ledger's note of what its tasks were named by."""
TOLD = 20
"""Rows left out that an outlook names."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run would do. `cost` in credits (None: no price is known), `seconds` until all is delivered."""

    job: str
    total: int
    new: int
    done: int
    cost: float | None
    calls: int
    seconds: float
    sample: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...] = field(default=())
    left_out: tuple[errors.Problem, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The object of `plan --json`."""
        estimate = {"cost": self.cost, "calls": self.calls, "seconds": round(self.seconds, 1)}
        return {
            "job": self.job,
            "total": self.total,
            "new": self.new,
            "done": self.done,
            "estimate": estimate,
            "sample": list(self.sample),
            "warnings": list(self.warnings),
        }


def model_of(manifest: Manifest) -> Model | None:
    """The catalogue's model of a manifest, files beside the manifest included. Raises ManifestError."""
    return catalog.find(manifest.model, manifest.folder)


def api_of(manifest: Manifest, model: Model | None) -> str:
    """v1 or v2: the manifest's word, else the catalogue's, else v2."""
    return manifest.api or (model.api if model else "v2")


def price_of(manifest: Manifest, model: Model | None) -> float | None:
    """Credits per image: the manifest's word, else the catalogue's, else not known."""
    if manifest.price is not None:
        return manifest.price
    return model.price if model else None


def share_of(manifest: Manifest, shard: Shard | None) -> Manifest:
    """The manifest as one share runs it: with its part of the rate and of the budget, rounded down."""
    if shard is None:
        return manifest
    limits = manifest.limits
    rpm = None if limits.rpm is None else limits.rpm / shard.of
    most = None if limits.max_cost is None else credits(micro(limits.max_cost) // shard.of)
    return manifest.model_copy(update={"limits": limits.model_copy(update={"rpm": rpm, "max_cost": most})})


def into(
    ledger: Ledger,
    manifest: Manifest,
    *,
    note: Callable[[str], None],
    noticed: Callable[[int], None],
    shard: Shard | None = None,
    strict: bool = False,
) -> Planned | None:
    """Plans `manifest`, or that share of it, into the ledger, with the rows that are left out; None when
    nothing changed since.

    `strict`: one wrong row is an error of the whole. Raises ManifestError.
    """
    fingerprint = sources.fingerprint(manifest, strict=strict)
    if ledger.meta("fingerprint") == fingerprint:
        return None
    skipped = None if strict else ledger.leaving_out()
    tasks = _tasks(manifest, ledger.digests(uploads.sendable), ledger.occurrences(), note, skipped)
    try:
        planned = ledger.plan(tasks, fingerprint, shard=shard, noticed=noticed)
    except errors.ManifestError as error:
        raise _placed(manifest, error) from error
    for warning in planned.warnings:
        note(warning)
    paid = sum(n for state, n in ledger.counts.items() if state not in UNPAID)
    for warning in _of_names(manifest, ledger.meta(NAMED_BY), paid):
        note(warning)
    ledger.note(NAMED_BY, manifest.output.name or "")
    return planned


def outlook(
    manifest: Manifest,
    output: Path,
    *,
    strict: bool = False,
    shard: Shard | None = None,
    sandbox: bool = False,
) -> Outlook:
    """What `manifest`, or that share of it, would do beside what its ledger already holds; unless `strict`,
    without the rows that would be left out. `sandbox`: nothing of it would be paid for. Raises ManifestError,
    LedgerError."""
    warnings: list[str] = []
    if not sandbox and place.lost_ledger(output):
        warnings.append(f"{told_lost(output)}; `run` refuses that")
    path = place.ledger_of(output)
    with closing(store.blank()) as connection:
        if path.exists():
            with store.disk_errors(path):
                store.open_for_reading(path).close()
                planning.paid_for(connection, _read_only(path))
        occurrences = Occurrences(connection)
        skipped = None if strict else planning.LeftOut(connection)
        tasks = _tasks(manifest, Digests(connection, uploads.sendable), occurrences, warnings.append, skipped)
        try:
            planned = planning.plan(connection, tasks, "", shard=shard)
        except errors.ManifestError as error:
            raise _placed(manifest, error, warnings) from error
        new, done, images = _compared(connection, path, planned.total)
        warnings += [*planned.warnings, *_renaming(manifest, connection, path)]
        sample = _sample(connection)
        number, left_out = planning.left_out(connection, TOLD)
    if number:
        warnings.append(told_left_out(number, str(left_out[0])))
    each = _per_image(path, price_of(manifest, model_of(manifest)))
    cost = None if each is None else round(each * images, 6)
    found = _estimated(share_of(manifest, shard), planned.total, new, done, cost, sample, tuple(warnings))
    return replace(found, left_out=tuple(left_out))


def _of_names(manifest: Manifest, before: str | None, paid: int) -> Iterator[str]:
    """What a changed `output.name` does to the `paid` tasks of the plan; `before` is what it was."""
    if paid and before is not None and before != (manifest.output.name or ""):
        these = (
            "1 task that is paid for keeps its name" if paid == 1 else f"{paid:,} paid tasks keep their names"
        )
        yield f"output.name has changed: {these}, new ones are named anew"


def problems(manifest: Manifest, *, strict: bool = True) -> tuple[errors.Problem, ...]:
    """What is wrong with rows and files: of a manifest that is wrong already all is told at once."""
    try:
        outlook(manifest, manifest.output.dir, strict=strict)
    except errors.ManifestError as error:
        return error.problems
    return ()


def told_lost(output: Path) -> str:
    """A folder whose ledger is lost, in a sentence."""
    return (
        f"{output} has metadata.jsonl, with pictures that were delivered, but not .batcher/ledger.sqlite, "
        "which knows them: every picture would be paid for again"
    )


def told_left_out(number: int, first: str) -> str:
    """How many rows a plan leaves out, in a sentence."""
    rows = "1 row is" if number == 1 else f"{number:,} rows are"
    return f"{rows} left out (first: {first}); errors.jsonl names them all, --strict makes that an error"


def _tasks(
    manifest: Manifest,
    digests: Digests,
    occurrences: Occurrences,
    note: Callable[[str], None],
    skipped: Skipped | None,
) -> Iterator[Task]:
    measure, model = sources.measurer(), model_of(manifest)
    if manifest.pairs:
        # A row that is left out would pair the others wrongly, and after the pairing take another with it.
        skipped = None
    before = None if skipped is None else LeftOut(skipped)
    rows = sources.rows(manifest, note, measure=measure, skipped=before)
    if model is not None and model.geometry is not None:
        rows = labelled(rows, manifest, before)
    return plan.expand(
        manifest,
        model,
        rows,
        digest=_digest(digests),
        occurrence=occurrences,
        note=note,
        measure=measure,
        point=sources.Pointer(manifest),
        skipped=skipped,
        before=() if before is None else before.first,
    )


def _digest(digests: Digests) -> Callable[[str], str]:
    """Files of this disk are looked at, and remembered by size and time; a store says what is in its own."""

    def digest(path: str) -> str:
        if not plan.is_stored(path):
            return digests.of(path)
        if not stores.saved.is_cell(path):
            uploads.check_size(stores.stat(path).size)
        return stores.digest(path)

    return digest


def _placed(
    manifest: Manifest, error: errors.ManifestError, warnings: Sequence[str] = ()
) -> errors.ManifestError:
    """Collisions are found in the ledger, which does not know the manifest's lines."""
    return errors.ManifestError(
        [
            problem if problem.file else manifest.problem(tuple(problem.key.split(".")), problem.message)
            for problem in error.problems
        ],
        warnings,
    )


def _compared(connection: sqlite3.Connection, path: Path, total: int) -> tuple[int, int, int]:
    """Tasks unknown so far, tasks done, and the images still to be paid for."""
    if not path.exists():
        images = connection.execute("SELECT total(images) FROM tasks").fetchone()[0]
        return total, 0, int(images)
    with store.disk_errors(path):
        connection.execute("ATTACH ? AS known", (_read_only(path),))
        known, done = connection.execute(
            "SELECT count(*), total(k.state = 'done') FROM tasks t JOIN known.tasks k ON k.key = t.key "
            "WHERE t.plan > 0"
        ).fetchone()
        images = connection.execute(
            "SELECT total(t.images) FROM tasks t LEFT JOIN known.tasks k ON k.key = t.key "
            "WHERE t.plan > 0 AND (k.state IS NULL OR k.state = 'planned')"
        ).fetchone()[0]
    return total - known, int(done), int(images)


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def _per_image(path: Path, price: float | None) -> float | None:
    """Credits: what an image really cost so far; where none is known yet, `price`."""
    if path.exists():
        with store.disk_errors(path), closing(store.open_for_reading(path)) as connection:
            spent = totals.money(connection)
        if spent.paid_images:
            return spent.per_image(None) / totals.MICRO
    return price


def _renaming(manifest: Manifest, connection: sqlite3.Connection, path: Path) -> list[str]:
    """The warning of a changed `output.name`, from the ledger that `_compared` has attached."""
    if not path.exists():
        return []
    with store.disk_errors(path):
        before = connection.execute("SELECT value FROM known.meta WHERE key = ?", (NAMED_BY,)).fetchone()
        (paid,) = connection.execute(
            "SELECT count(*) FROM tasks t JOIN known.tasks k ON k.key = t.key "
            "WHERE t.plan > 0 AND k.state NOT IN (?, ?)",
            UNPAID,
        ).fetchone()
    return list(_of_names(manifest, None if before is None else before[0], paid))


def _sample(connection: sqlite3.Connection) -> tuple[dict[str, Any], ...]:
    import json

    query = "SELECT key, name, params FROM tasks WHERE plan > 0 ORDER BY id LIMIT ?"
    rows = connection.execute(query, (SAMPLE,))
    return tuple({"key": key, "name": name, "params": json.loads(params)} for key, name, params in rows)


def _estimated(
    manifest: Manifest,
    total: int,
    new: int,
    done: int,
    cost: float | None,
    sample: tuple[dict[str, Any], ...],
    warnings: tuple[str, ...],
) -> Outlook:
    model = model_of(manifest)
    left = total - done
    typical = Polling(typical=model.seconds if model else None).typical
    calls = left * CALLS_PER_TASK[api_of(manifest, model)]
    per_minute = manifest.limits.rpm
    metered = calls if manifest.limits.metered == "all" else left
    by_rate = 60 * metered / per_minute if per_minute else 0.0
    by_slots = typical * left / manifest.limits.in_flight
    return Outlook(
        job=manifest.name,
        total=total,
        new=new,
        done=done,
        cost=cost,
        calls=calls,
        seconds=max(by_rate, by_slots) + (typical if left else 0.0),
        sample=sample,
        warnings=warnings,
    )
