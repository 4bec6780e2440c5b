"""A manifest's tasks, and how they enter the ledger.

Rule: planning is skipped when manifest and sources are as they were. A row that is left out goes to a sink;
where nobody listens for that, one wrong row is an error of the whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batcher import errors
from batcher.engine import replacements, uploads
from batcher.engine.file_digests import file_digest
from batcher.engine.only_new import OnlyNew
from batcher.job import catalog, inputs, plan
from batcher.job.catalog import Model
from batcher.job.catalog.provider_list import kept_list, retired_text, unknown_text
from batcher.job.diagnostics import Diagnostics, RowSink, Warn
from batcher.job.inputs import InputsContext, NewFiles
from batcher.job.labels.categories import CategoryTable
from batcher.job.labels.label_checks import check_labels
from batcher.job.labels.mask_colours import MaskColours
from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import compile_template
from batcher.job.near_files import NearFiles
from batcher.job.plan import PlanContext
from batcher.job.row import Row
from batcher.job.sources.cell_locator import CellLocator
from batcher.job.sources.source_kind import is_local_picture
from batcher.ledger import (
    composed_files,
    label_categories,
    mask_outside,
    plan_growth,
    plan_writer,
    prompt_templates,
)
from batcher.ledger.composed_files import ComposedFiles
from batcher.ledger.corrected_labels import CorrectedLabels, correct
from batcher.ledger.ledger import Ledger
from batcher.ledger.plan_caches import DigestCache, DuplicateCounter
from batcher.ledger.plan_writer import PlanResult
from batcher.ledger.planned_files import MOST_TASKS, NotGrown, PlannedFiles
from batcher.ledger.totals import credits, micro
from batcher.shard import Shard
from batcher.storage import layout
from batcher.storage.addresses import is_stored, resolve
from batcher.task import State, Task

UNPAID = (State.PLANNED, State.FAILED)
NAMED_BY = "output_name"
"""The ledger's note of what its tasks were named by."""


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
    per = limits.max_cost_per
    parts = {
        name: None if value is None else credits(micro(value) // shard.of)
        for name, value in (("day", per.day), ("month", per.month))
    }
    changed = {"rpm": rpm, "max_cost": most, "max_cost_per": per.model_copy(update=parts)}
    return manifest.model_copy(update={"limits": limits.model_copy(update=changed)})


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
    listing = layout.planned_files_path(ledger.path) if shard is None else None
    with PlannedFiles(ledger.connection, listing) as files:
        found = inputs.fingerprints(manifest, strict=strict, files=files)
        notes = layout.composed_files_path(ledger.path)
        if ledger.meta("fingerprint") == found.whole and composed_files.unchanged(
            ledger.connection, notes, NearFiles().find
        ):
            _note_masks(ledger, manifest)
            return None
        planning = _Planning(ledger, manifest, files, found, strict, progress, check)
        planned = planning.grown(warn) or planning.whole(warn, shard)
    _note_masks(ledger, manifest)
    ledger.set_meta(NAMED_BY, manifest.output.name or "")
    ledger.set_meta(prompt_templates.NOTE, prompt_templates.as_text(manifest.params))
    return planned


def _note_masks(ledger: Ledger, manifest: Manifest) -> None:
    """What masks say beside the source: no task depends on it, and a plan stands when it changes."""
    outside = manifest.output.mask_outside
    text = "" if outside is None else str(outside)
    if (ledger.meta(mask_outside.NOTE) or "") != text:
        ledger.set_meta(mask_outside.NOTE, text)


class _Planning:
    """One planning, whose sources and their files are known."""

    def __init__(
        self,
        ledger: Ledger,
        manifest: Manifest,
        files: PlannedFiles,
        found: inputs.Fingerprints,
        strict: bool,
        progress: Callable[[int], None],
        check: Callable[[sqlite3.Connection, int], None],
    ) -> None:
        self._ledger = ledger
        self._manifest = manifest
        self._files = files
        self._found = found
        self._sink = None if strict else plan_writer.LeftOutRows(ledger.connection)
        self._progress = progress
        self._check = check
        self._labels = CorrectedLabels()

    def grown(self, warn: Warn) -> PlanResult | None:
        """The present plan, and with it what is new; None where more than new files make the difference."""
        ledger, files = self._ledger, self._files
        new = files.grown(self._found.rest)
        if new is None or not ledger.read(plan_growth.can_grow):
            return None
        if ledger.meta(NAMED_BY) != (self._manifest.output.name or ""):
            return None
        digests = DigestCache(ledger.connection, uploads.check_whole, now=ledger.now)
        composed, categories = ComposedFiles(ledger.connection, None), CategoryTable()
        duplicates = files.noted(DuplicateCounter(ledger.connection), most=MOST_TASKS)
        warnings: list[str] = []

        def settled() -> bool:
            files.finish(self._found.rest, warnings, settled=digests.settled)
            return digests.settled

        def at_end(connection: sqlite3.Connection, number: int) -> None:
            if composed.any_noted or categories.categories:
                raise NotGrown
            replacements.look(connection, self._manifest, number, warnings.append)
            files.take_over(warnings)
            self._check(connection, number)
            self._correct_labels(connection, number)

        asked = ExpansionContext(digests, composed, duplicates, categories, new)
        try:
            planned = ledger.grow(
                expanded(self._manifest, asked, warnings.append, self._sink),
                self._found.whole,
                progress=self._progress,
                settled=settled,
                check=at_end,
            )
        except (NotGrown, errors.ManifestError):
            return None  # what is wrong, a plan of everything tells
        for warning in (*warnings, *filter(None, [self._labels.sentence()])):
            warn(warning)
        return planned

    def whole(self, warn: Warn, shard: Shard | None) -> PlanResult:
        """Everything anew."""
        ledger, manifest, files = self._ledger, self._manifest, self._files
        digests = DigestCache(ledger.connection, uploads.check_whole, now=ledger.now)
        duplicates = files.noted(DuplicateCounter(ledger.connection))
        categories, warnings = CategoryTable(), list[str]()

        def told(sentence: str) -> None:
            warnings.append(sentence)
            warn(sentence)

        def at_end(connection: sqlite3.Connection, number: int) -> None:
            self._check(connection, number)
            label_categories.note(connection, categories.categories)
            self._correct_labels(connection, number)

        with ComposedFiles(ledger.connection, layout.composed_files_path(ledger.path)) as composed:

            def settled() -> bool:
                is_settled = composed.finish() and digests.settled
                files.finish(self._found.rest, warnings, settled=is_settled)
                return is_settled

            asked = ExpansionContext(digests, composed, duplicates, categories)
            try:
                planned = ledger.plan(
                    OnlyNew(manifest, ledger.connection).tasks(
                        expanded(manifest, asked, told, self._sink), told
                    ),
                    self._found.whole,
                    shard=shard,
                    progress=self._progress,
                    settled=settled,
                    replace=lambda connection, number: replacements.look(connection, manifest, number, told),
                    check=at_end,
                )
            except errors.ManifestError as error:
                raise with_lines(manifest, error) from error
        for warning in (*planned.warnings, *filter(None, [self._labels.sentence()])):
            warn(warning)
        paid = sum(n for state, n in ledger.counts.items() if state not in UNPAID)
        for warning in of_names(manifest, ledger.meta(NAMED_BY), paid):
            warn(warning)
        return planned

    def _correct_labels(self, connection: sqlite3.Connection, number: int) -> None:
        model = model_of(self._manifest)
        if model is not None and model.geometry is not None:
            correct(connection, number, model.geometry.input, self._labels)


def of_names(manifest: Manifest, before: str | None, paid: int) -> Iterator[str]:
    """What a changed `output.name` does to the `paid` tasks of the plan; `before` is what it was."""
    if paid and before is not None and before != (manifest.output.name or ""):
        these = (
            "1 task that is paid for keeps its name" if paid == 1 else f"{paid:,} paid tasks keep their names"
        )
        yield f"output.name has changed: {these}, new ones are named anew"


def lost_ledger_text(output: Path) -> str:
    """A folder whose ledger is lost, in a sentence."""
    return (
        f"{output} has metadata.jsonl, with pictures that were delivered, but not .batcher/ledger.sqlite, "
        "which knows them: every picture would be paid for again"
    )


def left_out_text(number: int, first: str, *, is_run: bool = True) -> str:
    """How many rows a plan leaves out, in a sentence; `is_run`: it is made, not only looked at."""
    rows = "1 row is" if number == 1 else f"{number:,} rows are"
    named = "errors.jsonl names them all" if is_run else "a run names them all in errors.jsonl"
    return f"{rows} left out (first: {first}); {named}, --strict makes that an error"


@dataclass(frozen=True, slots=True)
class ExpansionContext:
    """What one expansion asks of the disk and notes of it; `grown`: only the rows of these files of these
    sources are wanted."""

    digests: DigestCache
    composed: ComposedFiles
    duplicates: Callable[[bytes], int]
    categories: CategoryTable
    grown: Mapping[int, NewFiles] = field(default_factory=dict)


def expanded(manifest: Manifest, asked: ExpansionContext, warn: Warn, sink: RowSink | None) -> Iterator[Task]:
    """The tasks of a manifest; without a `sink` for rows that are left out, one wrong row is an error. The
    classes of its objects are in `asked` in the end."""
    model = model_of(manifest)
    if manifest.pairs:
        # A row that is left out would pair the others wrongly, and after the pairing take another with it.
        sink = None
    diagnostics = Diagnostics(str(manifest.path), warn=warn, sink=sink)
    context = InputsContext(manifest, diagnostics, categories=asked.categories, grown=asked.grown)
    rows = inputs.rows(context)
    if model is not None and model.geometry is not None:
        rows = check_labels(rows, context, model.geometry.input)
    columns = _picture_columns(manifest)
    rows = asked.digests.read_ahead(rows, lambda row: _local_pictures(row, columns, manifest.folder))
    listing = kept_list() if model is None else None
    plan_context = PlanContext(
        digest=file_digest(asked.digests),
        duplicates=asked.duplicates,
        read_size=context.read_size,
        locate=CellLocator(str(manifest.folder)),
        near_file=context.near_files.find,
        near_hint=context.near_files.hint,
        listed=listing.models.get(manifest.model) if listing is not None else None,
        unknown_model=""
        if model is not None
        else unknown_text(manifest.model, listing, (one.slug for one in catalog.models(manifest.folder))),
        composed=asked.composed.note,
    )
    masks = MaskColours(_mask_parameters(model))
    for task in plan.expand(manifest, model, rows, plan_context, diagnostics):
        masks.look(task)
        yield task
    if told := masks.sentence():
        warn(told)
    if conflict := asked.categories.conflict():
        warn(conflict)
    if note := context.near_files.note():
        warn(note)


def _mask_parameters(model: Model | None) -> Iterator[str]:
    """The parameters that take a mask."""
    return (one.name for one in (model.parameters.values() if model else ()) if one.media == "mask")


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


def with_lines(
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
