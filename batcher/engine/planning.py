"""A manifest's tasks: into the ledger, or only looked at (`plan`, `validate`).

Rule: looking writes nothing. Planning is skipped when manifest and sources are as they were. A row that is
left out goes to a sink; where nobody listens for that, one wrong row is an error of the whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.engine import manifest_edit, paid_elsewhere, plan_counts, reuse, uploads
from batcher.engine.estimate import estimate
from batcher.engine.only_new import OnlyNew
from batcher.engine.plan_counts import PlanCounts
from batcher.job import catalog, inputs, plan
from batcher.job.catalog import Model
from batcher.job.catalog.provider_list import kept_list, retired_text, unknown_text
from batcher.job.diagnostics import Diagnostics, RowSink, Warn
from batcher.job.inputs import InputsContext
from batcher.job.labels.categories import CategoryTable
from batcher.job.labels.label_checks import check_labels
from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import compile_template
from batcher.job.near_files import NearFiles
from batcher.job.plan import PlanContext
from batcher.job.row import Row
from batcher.job.sources.cell_locator import CellLocator
from batcher.job.sources.source_kind import is_local_picture
from batcher.ledger import (
    composed_files,
    database,
    label_categories,
    plan_sample,
    plan_writer,
    prompt_templates,
)
from batcher.ledger.composed_files import ComposedFiles
from batcher.ledger.ledger import Ledger
from batcher.ledger.plan_caches import DigestCache, DuplicateCounter
from batcher.ledger.plan_writer import PlanResult
from batcher.ledger.totals import credits, micro
from batcher.shard import Shard
from batcher.storage import layout, stores
from batcher.storage.addresses import is_stored, resolve
from batcher.storage.source_errors import machine_error
from batcher.task import State, Task

SAMPLE = 3
UNPAID = (State.PLANNED, State.FAILED)
NAMED_BY = "output_name"
"""The ledger's note of what its tasks were named by."""
SHOWN_LEFT_OUT = 20
"""Rows left out that an outlook names."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run would do; `seconds` until all is delivered; `in_flight` is how many tasks will be side by
    side, as far as is known before the first."""

    job: str
    counts: PlanCounts
    calls: int
    seconds: float
    sample: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...] = field(default=())
    left_out: tuple[errors.Problem, ...] = field(default=())
    in_flight: int = 0

    @property
    def total(self) -> int:
        """Tasks of the plan."""
        return self.counts.total

    @property
    def new(self) -> int:
        """Tasks for which nothing was sent so far."""
        return self.counts.new

    @property
    def done(self) -> int:
        """Tasks that are delivered."""
        return self.counts.done

    @property
    def cost(self) -> float | None:
        """Credits that a run would spend; None: no price is known."""
        return self.counts.cost

    def as_json(self) -> dict[str, Any]:
        """The object of `plan --json`."""
        counts = self.counts
        estimate = {"cost": counts.cost, "calls": self.calls, "seconds": round(self.seconds, 1)}
        return {
            "job": self.job,
            "total": counts.total,
            "new": counts.new,
            "reused": counts.reused,
            "in_flight": counts.in_flight,
            "done": counts.done,
            "rejected": counts.rejected,
            "failed": counts.failed,
            "submits": counts.submits,
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


def plan_into(
    ledger: Ledger,
    manifest: Manifest,
    *,
    warn: Warn,
    progress: Callable[[int], None],
    shard: Shard | None = None,
    strict: bool = False,
    check: Callable[[sqlite3.Connection, int], None],
) -> PlanResult | None:
    """Plans `manifest`, or that share of it, into the ledger, with the rows that are left out; None when
    nothing changed since.

    `strict`: one wrong row is an error of the whole; `check` sees the plan before it is for good. Raises
    ManifestError, and what `check` raises.
    """
    if retired := retired_text(manifest.model, kept_list()):
        warn(retired)
    fingerprint = inputs.fingerprint(manifest, strict=strict)
    notes = layout.composed_files_path(ledger.path)
    if ledger.meta("fingerprint") == fingerprint and composed_files.unchanged(
        ledger.connection, notes, NearFiles().find
    ):
        return None
    sink = None if strict else plan_writer.LeftOutRows(ledger.connection)
    digests = DigestCache(ledger.connection, uploads.check_whole, now=ledger.now)
    duplicates = DuplicateCounter(ledger.connection)
    categories = CategoryTable()

    def at_end(connection: sqlite3.Connection, number: int) -> None:
        check(connection, number)
        label_categories.note(connection, categories.categories)

    try:
        with ComposedFiles(ledger.connection, notes) as composed:
            planned = ledger.plan(
                OnlyNew(manifest, ledger.connection).tasks(
                    _tasks(manifest, digests, composed, duplicates, categories, warn, sink), warn
                ),
                fingerprint,
                shard=shard,
                progress=progress,
                settled=lambda: composed.finish() and digests.settled,
                check=at_end,
            )
    except errors.ManifestError as error:
        raise _with_lines(manifest, error) from error
    for warning in planned.warnings:
        warn(warning)
    paid = sum(n for state, n in ledger.counts.items() if state not in UNPAID)
    for warning in _of_names(manifest, ledger.meta(NAMED_BY), paid):
        warn(warning)
    ledger.set_meta(NAMED_BY, manifest.output.name or "")
    ledger.set_meta(prompt_templates.NOTE, prompt_templates.as_text(manifest.params))
    return planned


def outlook(
    manifest: Manifest,
    output: Path,
    *,
    strict: bool = False,
    shard: Shard | None = None,
    sandbox: bool = False,
    origin: str | None = None,
    pay_again: bool = False,
    limit: int | None = None,
    sample: int | None = None,
) -> Outlook:
    """What `manifest`, or that share of it, would do beside what its ledger already holds; unless `strict`,
    without the rows that would be left out. `sandbox`: nothing of it would be paid for; `origin`: at this
    API, and unless it may `pay_again`, other folders are asked what they have of it; `limit`: at most so many
    tasks this time; `sample`: only so many that stand for the plan, the same each time.
    Raises ManifestError, LedgerError."""
    retired = retired_text(manifest.model, kept_list())
    warnings = [retired] if retired else []
    if not sandbox and layout.ledger_is_lost(output):
        warnings.append(f"{lost_ledger_text(output)}; `run` refuses that")
    path = layout.ledger_path(output)
    with ExitStack() as stack:
        connection = stack.enter_context(closing(database.blank()))
        folders = reuse.opened(stack, manifest, output, origin=origin, sandbox=sandbox)
        own = None
        if path.exists():
            with database.disk_errors(path):
                own = stack.enter_context(closing(database.open_for_reading(path)))
                since = manifest_edit.last_run(path)
                plan_writer.copy_paid_tasks(connection, _read_only(path), since)
        sink = None if strict else plan_writer.LeftOutRows(connection)
        digests, composed = DigestCache(connection, uploads.check_whole), ComposedFiles(connection, None)
        tasks = OnlyNew(manifest, own).tasks(
            _tasks(
                manifest,
                digests,
                composed,
                DuplicateCounter(connection),
                CategoryTable(),
                warnings.append,
                sink,
            ),
            warnings.append,
        )
        try:
            planned = plan_writer.plan(connection, tasks, "", shard=shard)
        except errors.ManifestError as error:
            raise _with_lines(manifest, error, warnings) from error
        if path.exists():
            with database.disk_errors(path):
                connection.execute("ATTACH ? AS known", (_read_only(path),))
                plan_counts.mark_failed(connection)
        warnings += [*planned.warnings, *_renaming(manifest, connection, path)]
        if origin and not pay_again:
            elsewhere = paid_elsewhere.look(connection, 1, manifest, output, origin=origin, reused=folders)
            if elsewhere:
                first, *ways = paid_elsewhere.refusal(elsewhere, manifest, shard=shard, sandbox=sandbox)
                listed = "; ".join(" ".join(way.split()) for way in ways)
                warnings.append(f"`run` refuses this: {first} {listed}")
        chosen = None if sample is None else plan_sample.drawn(connection, 1, sample, [*manifest.matrix.axes])
        shown = _sample(connection, chosen)
        share = share_of(manifest, shard)
        reused = reuse.look(connection, 1, folders)
        warnings += reused.sentences()
        with database.disk_errors(path):
            prices = plan_counts.prices(path, price_of(manifest, model_of(manifest)), share.limits.max_cost)
            counts = plan_counts.count(connection, planned.total, reused.ids, prices, limit, chosen)
        number, left_out = plan_writer.left_out(connection, SHOWN_LEFT_OUT)
        if path.exists():
            edit = manifest_edit.edit_beside(connection, path, manifest, counts.new)
            warnings += (
                [edit.sentence(counts.cost_of_all and counts.cost_of_all / counts.new)] if edit else []
            )
    if number:
        warnings.append(left_out_text(number, str(left_out[0])))
    model = model_of(manifest)
    known = estimate(share, model, api_of(manifest, model), counts.submits + counts.in_flight)
    return Outlook(
        job=manifest.name,
        counts=counts,
        calls=known.calls,
        seconds=known.seconds,
        sample=shown,
        warnings=tuple(warnings),
        left_out=tuple(left_out),
        in_flight=known.in_flight,
    )


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


def lost_ledger_text(output: Path) -> str:
    """A folder whose ledger is lost, in a sentence."""
    return (
        f"{output} has metadata.jsonl, with pictures that were delivered, but not .batcher/ledger.sqlite, "
        "which knows them: every picture would be paid for again"
    )


def left_out_text(number: int, first: str) -> str:
    """How many rows a plan leaves out, in a sentence."""
    rows = "1 row is" if number == 1 else f"{number:,} rows are"
    return f"{rows} left out (first: {first}); errors.jsonl names them all, --strict makes that an error"


def _tasks(
    manifest: Manifest,
    digests: DigestCache,
    composed: ComposedFiles,
    duplicates: DuplicateCounter,
    categories: CategoryTable,
    warn: Warn,
    sink: RowSink | None,
) -> Iterator[Task]:
    """The tasks of a manifest; without a `sink` for rows that are left out, one wrong row is an error. The
    classes of its objects are in `categories` in the end."""
    model = model_of(manifest)
    if manifest.pairs:
        # A row that is left out would pair the others wrongly, and after the pairing take another with it.
        sink = None
    diagnostics = Diagnostics(str(manifest.path), warn=warn, sink=sink)
    context = InputsContext(manifest, diagnostics, categories=categories)
    rows = inputs.rows(context)
    if model is not None and model.geometry is not None:
        rows = check_labels(rows, context)
    columns = _picture_columns(manifest)
    rows = digests.read_ahead(rows, lambda row: _local_pictures(row, columns, manifest.folder))
    listing = kept_list() if model is None else None
    plan_context = PlanContext(
        digest=_digest(digests),
        duplicates=duplicates,
        read_size=context.read_size,
        locate=CellLocator(str(manifest.folder)),
        near_file=context.near_files.find,
        near_hint=context.near_files.hint,
        listed=listing.models.get(manifest.model) if listing is not None else None,
        unknown_model=""
        if model is not None
        else unknown_text(manifest.model, listing, (one.slug for one in catalog.models(manifest.folder))),
        composed=composed.note,
    )
    yield from plan.expand(manifest, model, rows, plan_context, diagnostics)
    if conflict := categories.conflict():
        warn(conflict)
    if note := context.near_files.note():
        warn(note)


def _picture_columns(manifest: Manifest) -> tuple[str, ...]:
    """The columns that are a parameter's whole value: where a row's pictures stand."""
    templates = (compile_template(value) for value in manifest.params.values() if isinstance(value, str))
    return tuple(dict.fromkeys(template.lone for template in templates if template.lone))


def _local_pictures(row: Row, columns: Sequence[str], folder: Path) -> Iterator[str]:
    """The files of this disk that a row names, absolute."""
    for name in columns:
        text = row.columns.get(name)
        if isinstance(text, str) and is_local_picture(text) and not is_stored(text):
            yield resolve(row.part(name).folder or str(folder), text)


def _digest(digests: DigestCache) -> Callable[[str], str]:
    """Files of this disk are looked at, and remembered by size and time; a store says what is in its own."""

    def digest(path: str) -> str:
        if not is_stored(path):
            try:
                return digests.of(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise
            except OSError as error:
                if (of_machine := machine_error(path, error)) is not None:
                    raise of_machine from error
                raise
        if not stores.dataset_cells.is_cell(path):
            uploads.check_size(stores.stat(path).size)
        return stores.digest(path)

    return digest


def _with_lines(
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


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def _renaming(manifest: Manifest, connection: sqlite3.Connection, path: Path) -> list[str]:
    """The warning of a changed `output.name`, from the ledger that is attached."""
    if not path.exists():
        return []
    with database.disk_errors(path):
        before = connection.execute("SELECT value FROM known.meta WHERE key = ?", (NAMED_BY,)).fetchone()
        (paid,) = connection.execute(
            "SELECT count(*) FROM tasks t JOIN known.tasks k ON k.key = t.key "
            "WHERE t.plan > 0 AND k.state NOT IN (?, ?)",
            UNPAID,
        ).fetchone()
    return list(_of_names(manifest, None if before is None else before[0], paid))


def _sample(connection: sqlite3.Connection, chosen: Collection[int] | None) -> tuple[dict[str, Any], ...]:
    import json

    query = (
        "SELECT key, name, params FROM tasks WHERE plan > 0 "
        f"AND {plan_sample.within('?1')} ORDER BY id LIMIT ?2"
    )
    rows = connection.execute(query, (plan_sample.among(chosen), SAMPLE))
    return tuple({"key": key, "name": name, "params": json.loads(params)} for key, name, params in rows)
