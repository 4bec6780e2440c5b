"""A manifest's tasks enter the ledger.

Rule: planning is skipped when manifest and sources are as they were, and done once: what `batcher plan` has
planned for a folder without a ledger the first run takes over.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from batcher import __version__, errors
from batcher.engine import replacements, uploads
from batcher.engine.expansion import ExpansionContext, expanded
from batcher.engine.only_new import OnlyNew
from batcher.job import catalog, inputs
from batcher.job.catalog import Model
from batcher.job.diagnostics import Warn
from batcher.job.labels.categories import CategoryTable
from batcher.job.manifest import Manifest
from batcher.job.near_files import NearFiles
from batcher.job.sources.streams import stamped
from batcher.ledger import (
    composed_files,
    kept_plans,
    label_categories,
    mask_outside,
    plan_growth,
    plan_writer,
    prompt_templates,
)
from batcher.ledger.composed_files import ComposedFiles
from batcher.ledger.corrected_labels import CorrectedLabels, correct
from batcher.ledger.database import disk_errors, meta, schema_version, set_meta, transaction
from batcher.ledger.kept_plans import KeptPlans
from batcher.ledger.ledger import Ledger
from batcher.ledger.plan_caches import DigestCache, DuplicateCounter
from batcher.ledger.plan_writer import PlanResult
from batcher.ledger.planned_files import MOST_TASKS, MOST_WARNINGS, NotGrown, PlannedFiles
from batcher.ledger.totals import credits, micro
from batcher.progress.summary import several
from batcher.shard import Shard
from batcher.storage import layout
from batcher.task import State

UNPAID = (State.PLANNED, State.FAILED)
NAMED_BY = "output_name"
"""The ledger's note of what its tasks were named by."""
WARNINGS_NOTE = "plan_warnings"
"""Its note of what there was to tell of the present plan's sources, as JSON: sentences, in their alphabet."""


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
    kept_plans: KeptPlans | None = None,
    patient: bool = True,
) -> PlanResult | None:
    """Plans `manifest`, or that share of it, into the ledger, with the rows that are left out; None when
    nothing changed since.

    `strict`: one wrong row is an error of the whole; `check` sees the plan before it is for good; a blank
    ledger has it from `kept_plans`, where it is there; `patient` as in `DigestCache`. Raises
    ManifestError, and what `check` raises.
    """
    listing = layout.planned_files_path(ledger.path) if shard is None else None
    with PlannedFiles(ledger.connection, listing) as files:
        found = inputs.fingerprints(manifest, strict=strict, files=files)
        notes = layout.composed_files_path(ledger.path)
        if ledger.meta("fingerprint") == found.whole and composed_files.unchanged(
            ledger.connection, notes, NearFiles().find
        ):
            ledger.group.commit()
            with disk_errors(ledger.path), transaction(ledger.connection):
                _note_masks(ledger.connection, manifest)
            return None
        planning = _Planning(ledger, manifest, files, found, strict, progress, check, patient)
        if kept_plans is not None and shard is None and (planned := planning.taken_over(warn, kept_plans)):
            return planned
        return planning.grown(warn) or planning.whole(warn, shard)


def name_of_kept(manifest: Manifest, fingerprint: str) -> str:
    """The name of a plan that is kept: everything that it hangs on, and the program that made it."""
    # Rows that are left out are named by the file as it was typed, and its lines.
    typed, lines = manifest.path, stamped(str(manifest.folder / manifest.path.name))
    named = f"{manifest.name} {manifest.output.mask_outside}"  # no fingerprint has these
    text = f"{__version__} {schema_version()} {fingerprint} {named} {typed} {lines}"
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def noted_warnings(ledger: Ledger) -> list[str]:
    """What the present plan warned of."""
    return list(json.loads(ledger.meta(WARNINGS_NOTE) or "[]"))


def _note_masks(connection: sqlite3.Connection, manifest: Manifest) -> None:
    """What masks say beside the source: no task depends on it, and a plan stands when it changes."""
    outside = manifest.output.mask_outside
    text = "" if outside is None else str(outside)
    if (meta(connection, mask_outside.NOTE) or "") != text:
        set_meta(connection, mask_outside.NOTE, text)


def _note(connection: sqlite3.Connection, manifest: Manifest, warnings: Sequence[str]) -> None:
    """What a ledger notes of the manifest that its plan is of."""
    _note_masks(connection, manifest)
    set_meta(connection, NAMED_BY, manifest.output.name or "")
    set_meta(connection, prompt_templates.NOTE, prompt_templates.as_text(manifest.params))
    set_meta(connection, WARNINGS_NOTE, json.dumps(sorted(warnings)[:MOST_WARNINGS], ensure_ascii=False))


class _Planning:
    """One planning, whose sources and their files are known."""

    def __init__(
        self,
        ledger: Ledger,
        manifest: Manifest,
        files: PlannedFiles,
        fingerprints: inputs.Fingerprints,
        strict: bool,
        progress: Callable[[int], None],
        check: Callable[[sqlite3.Connection, int], None],
        patient: bool,
    ) -> None:
        self._ledger = ledger
        self._manifest = manifest
        self._files = files
        self._fingerprints = fingerprints
        self._sink = None if strict else plan_writer.LeftOutRows(ledger.connection)
        self._progress = progress
        self._check = check
        self._patient = patient
        self._labels = CorrectedLabels()

    def taken_over(self, warn: Warn, plans: KeptPlans) -> PlanResult | None:
        """The plan that is kept of the very same, in a blank ledger; None where there is none."""
        ledger, name = self._ledger, name_of_kept(self._manifest, self._fingerprints.whole)
        if not ledger.read(kept_plans.is_blank):
            return None
        with plans.opened(name) as kept:
            if kept is None:
                return None
            notes = layout.composed_files_path(kept.path)
            if not composed_files.unchanged(kept.connection, notes, NearFiles().find):
                return None
            self._check(kept.connection, 1)
            ledger.group.commit()
            taken = ledger.read(kept_plans.take_over, ledger.path, kept)
        ledger.recount()
        if not taken:
            return None
        plans.taken(name)
        for warning in noted_warnings(ledger):
            warn(warning)
        total = sum(ledger.counts.values())
        return PlanResult(total, total)

    def grown(self, warn: Warn) -> PlanResult | None:
        """The present plan, and with it what is new; None where more than new files make the difference."""
        ledger, files = self._ledger, self._files
        new = files.grown(self._fingerprints.rest)
        if new is None or not ledger.read(plan_growth.can_grow):
            return None
        if ledger.meta(NAMED_BY) != (self._manifest.output.name or ""):
            return None
        digests = self._digests()
        composed, categories = ComposedFiles(ledger.connection, None), CategoryTable()
        duplicates = files.noted(DuplicateCounter(ledger.connection), most=MOST_TASKS)
        warnings, of_replacements = list[str](), list[str]()

        def settled() -> bool:
            files.finish(self._fingerprints.rest, warnings, settled=digests.settled)
            return digests.settled

        def at_end(connection: sqlite3.Connection, number: int) -> None:
            if composed.any_noted or categories.categories:
                raise NotGrown
            replacements.plan_due(connection, self._manifest, number, of_replacements.append)
            files.take_over(warnings)
            self._check(connection, number)
            correct_labels(connection, self._manifest, number, self._labels)
            _note(connection, self._manifest, warnings)

        asked = ExpansionContext(digests, composed, duplicates, categories, new)
        try:
            planned = ledger.grow(
                expanded(self._manifest, asked, warnings.append, self._sink),
                self._fingerprints.whole,
                progress=self._progress,
                settled=settled,
                check=at_end,
            )
        except (NotGrown, errors.ManifestError):
            return None  # what is wrong, a plan of everything tells
        for warning in (*warnings, *of_replacements, *filter(None, [self._labels.sentence()])):
            warn(warning)
        return planned

    def _digests(self) -> DigestCache:
        connection, now = self._ledger.connection, self._ledger.now
        return DigestCache(connection, uploads.check_whole, now=now, patient=self._patient)

    def whole(self, warn: Warn, shard: Shard | None) -> PlanResult:
        """Everything anew."""
        ledger, manifest, files = self._ledger, self._manifest, self._files
        digests = self._digests()
        duplicates = files.noted(DuplicateCounter(ledger.connection))
        categories, warnings, named_by = CategoryTable(), list[str](), ledger.meta(NAMED_BY)

        def note_warning(sentence: str) -> None:
            warnings.append(sentence)
            warn(sentence)

        def at_end(connection: sqlite3.Connection, number: int) -> None:
            self._check(connection, number)
            label_categories.note(connection, categories.categories)
            correct_labels(connection, self._manifest, number, self._labels)
            _note(connection, manifest, warnings)

        with ComposedFiles(ledger.connection, layout.composed_files_path(ledger.path)) as composed:

            def settled() -> bool:
                is_settled = composed.finish() and digests.settled
                files.finish(self._fingerprints.rest, warnings, settled=is_settled)
                return is_settled

            asked = ExpansionContext(digests, composed, duplicates, categories)
            try:
                planned = ledger.plan(
                    OnlyNew(manifest, ledger.connection).tasks(
                        expanded(manifest, asked, note_warning, self._sink), note_warning
                    ),
                    self._fingerprints.whole,
                    shard=shard,
                    progress=self._progress,
                    settled=settled,
                    replace=lambda connection, number: replacements.plan_due(
                        connection, manifest, number, warn
                    ),
                    check=at_end,
                )
            except errors.ManifestError as error:
                raise with_lines(manifest, error) from error
        for warning in (*planned.warnings, *filter(None, [self._labels.sentence()])):
            warn(warning)
        paid = sum(n for state, n in ledger.counts.items() if state not in UNPAID)
        for warning in of_names(manifest, named_by, paid):
            warn(warning)
        return planned


def correct_labels(
    connection: sqlite3.Connection, manifest: Manifest, number: int, labels: CorrectedLabels
) -> None:
    """Label files of the plan of this number are read anew, inside the transaction that is open."""
    model = model_of(manifest)
    if model is not None and model.geometry is not None:
        correct(connection, number, model.geometry.input, labels)


def of_names(manifest: Manifest, before: str | None, paid: int) -> Iterator[str]:
    """What a changed `output.name` does to the `paid` tasks of the plan; `before` is what it was."""
    if paid and before is not None and before != (manifest.output.name or ""):
        these = several(paid, "task that is paid for keeps its name", "paid tasks keep their names")
        yield f"output.name has changed: {these}, new ones are named anew"


def lost_ledger_text(output: Path) -> str:
    """A folder whose ledger is lost, in a sentence."""
    return (
        f"{output} has metadata.jsonl, with pictures that were delivered, but not .batcher/ledger.sqlite, "
        "which knows them: every picture would be paid for again"
    )


def left_out_text(number: int, first: str, *, is_run: bool = True) -> str:
    """How many rows a plan leaves out, in a sentence; `is_run`: it is made, not only looked at."""
    rows, them = ("1 row is", "it") if number == 1 else (f"{number:,} rows are", "them all")
    named = f"errors.jsonl names {them}" if is_run else f"a run names {them} in errors.jsonl"
    return f"{rows} left out (first: {first}); {named}, --strict makes that an error"


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
