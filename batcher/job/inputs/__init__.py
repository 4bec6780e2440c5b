"""The rows of a job: its sources joined, each with what the manifest says of it.

    for row in rows(InputsContext(manifest, diagnostics)): ...     what `plan.expand` takes
    fingerprint(manifest)                                          has anything changed since the last plan?
    fingerprints(manifest, files=...)                              and if so, are only files new?

    context.py       what all sources share, and one of them as its kind is given it
    companions.py    the file beside each picture
    selection.py     filter, sample, order, limit
    image_size.py    the columns width and height, on demand
    size_reader.py   the size of a picture, read once
    fingerprint.py   one hash of all that rows come from

Rule: rows stream. Of several sources only the later ones are held, and what is wrong with a row is told
with its file and line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from batcher.job.inputs import image_size
from batcher.job.inputs.companions import Companions
from batcher.job.inputs.context import InputsContext, NewFiles
from batcher.job.inputs.fingerprint import FileSink, Fingerprints, fingerprint, fingerprints
from batcher.job.inputs.selection import chosen, passes
from batcher.job.row import SIZE_COLUMNS, Row, join
from batcher.storage import stores

__all__ = [
    "FileSink",
    "Fingerprints",
    "InputsContext",
    "NewFiles",
    "fingerprint",
    "fingerprints",
    "rows",
]


def rows(context: InputsContext) -> Iterator[Row]:
    """The rows of a job, its sources joined as `combine` says; one empty row where it has none.

    Raises ManifestError at once for what nothing can be read after; all else goes to the diagnostics, to be
    judged at the end.
    """
    stores.forget()
    wanted = image_size.wanted(context.manifest)
    for row in _joined(context):
        whole = image_size.with_sizes(row, wanted, context) if wanted else row
        if whole is not None:
            yield whole


def _joined(context: InputsContext) -> Iterator[Row]:
    streams = [_source(context, index) for index in range(len(context.manifest.inputs))]
    if not streams:
        yield Row({}, file=str(context.manifest.path))
    elif len(streams) == 1:
        yield from streams[0]
    elif context.manifest.pairs:
        yield from _zipped(context, streams)
    else:
        held = [list(stream) for stream in streams[1:]]
        for number, row in enumerate(streams[0]):
            if number == 0:
                _refuse_clashes(context, [row, *(rows[0] for rows in held if rows)])
            for rest in itertools.product(*held):
                yield join((row, *rest))


def _zipped(context: InputsContext, streams: list[Iterator[Row]]) -> Iterator[Row]:
    for number, together in enumerate(itertools.zip_longest(*streams), 1):
        if None in together:
            ended = ", ".join(f"inputs.{index}" for index, row in enumerate(together) if row is None)
            message = f"zip needs sources of one length: {ended} ended after {number - 1} rows, others go on"
            context.diagnostics.fatal(context.manifest.problem(("combine",), message))
        if number == 1:
            _refuse_clashes(context, list(together))
        yield join(together)


def _refuse_clashes(context: InputsContext, firsts: list[Row]) -> None:
    """Two sources with one column: which of them a template means, nobody could say."""
    seen: dict[str, int] = {}
    for index, row in enumerate(firsts):
        for name in row.columns:
            if seen.setdefault(name, index) != index:
                message = (
                    f"two sources have a column `{name}`; pictures that belong together are `companions:`"
                )
                context.diagnostics.fatal(context.manifest.problem(("inputs",), message))


def _source(context: InputsContext, index: int) -> Iterator[Row]:
    """The rows of one source with their companions; no row at all is a problem unless `empty: allow`."""
    source, diagnostics = context.manifest.inputs[index], context.diagnostics
    faults, without_companion = diagnostics.number, diagnostics.skipped
    read, passed_filter, whole = RowCounter(), RowCounter(), RowCounter()
    rows = read.counted(_read(context, index))
    filtered = _Filtered(context, index)
    rows = passed_filter.counted(filtered.of(rows))
    rows = whole.counted(_with_companions(rows, context, index))
    yield from chosen(rows, context, index)
    if whole.number:
        return
    if source.empty == "allow":
        diagnostics.allow_empty()
        return
    faults, without_companion = diagnostics.number - faults, diagnostics.skipped - without_companion
    diagnostics.nothing_left()

    def error(key: str, message: str) -> None:
        sentence = f"{message}; `empty: allow` lets that pass"
        diagnostics.error(context.manifest.problem(("inputs", index, key), sentence))

    if without_companion:
        error("missing", f"leaves no row: {without_companion} of {read.number} have no companion")
    if filtered.refused and not passed_filter.number:
        error("filter", f"none of {filtered.refused} rows passes it")
    if not read.number and not faults:
        error(source.kind.KEY, source.kind.IF_EMPTY)


def _read(context: InputsContext, index: int) -> Iterator[Row]:
    """All rows of a source, or those that it has grown by."""
    source, kind = context.source(index), context.manifest.inputs[index].kind
    new = context.grown.get(index)
    if new is None:
        yield from kind.rows(source)
        return
    yield from kind.rows_of(source, new.files)
    for sentence in new.warnings:
        context.diagnostics.warn(sentence)


class RowCounter:
    """Counts rows that pass."""

    def __init__(self) -> None:
        self.number = 0

    def counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows, counted as they are asked for."""
        for row in rows:
            self.number += 1
            yield row


class _Filtered:
    """The rows of a source that pass its filter; those that do not are counted as `refused`."""

    def __init__(self, context: InputsContext, index: int) -> None:
        self.refused = 0
        self._context = context
        source = context.manifest.inputs[index]
        self._passes = passes(context, index) if source.filter is not None else None
        named_in_order = {name.removeprefix("-") for name in source.order} & set(SIZE_COLUMNS)
        self._sizes = image_size.named([source.filter or ""]) | named_in_order

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            whole = image_size.with_sizes(row, self._sizes, self._context) if self._sizes else row
            if whole is None:
                continue
            if self._passes is None or self._passes(whole):
                yield whole
            else:
                self.refused += 1


def _with_companions(rows: Iterable[Row], context: InputsContext, index: int) -> Iterator[Row]:
    """The rows of a source that have all their companions."""
    if not context.manifest.inputs[index].companions:
        yield from rows
        return
    companions = Companions(context, index)
    for row in rows:
        if (whole := companions.with_companions(row)) is not None:
            yield whole
    companions.finish()
