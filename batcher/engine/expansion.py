"""A manifest's tasks, as its rows expand to them: what they ask of the disk, and what is told on the way.

Rule: a row that is left out goes to a sink; where nobody listens for that, one wrong row is an error of the
whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batcher.engine.file_digests import file_digest
from batcher.job import catalog, inputs, plan
from batcher.job.catalog import Model
from batcher.job.catalog.provider_list import kept_list, unknown_text
from batcher.job.diagnostics import Diagnostics, RowSink, Warn
from batcher.job.inputs import InputsContext, NewFiles
from batcher.job.labels.categories import CategoryTable
from batcher.job.labels.label_checks import check_labels
from batcher.job.labels.mask_colours import MaskColours
from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import compile_template
from batcher.job.plan import PlanContext
from batcher.job.row import Row
from batcher.job.sources.cell_locator import CellLocator
from batcher.job.sources.source_kind import is_local_picture
from batcher.ledger.composed_files import ComposedFiles
from batcher.ledger.plan_caches import DigestCache
from batcher.storage.addresses import is_stored, resolve
from batcher.task import Task


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
    model = catalog.find(manifest.model, manifest.folder)
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
    yield from masks.seen(plan.expand(manifest, model, rows, plan_context, diagnostics))
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
