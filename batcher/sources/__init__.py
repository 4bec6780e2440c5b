"""Rows from pictures, tables, datasets and the manifest itself.

    for row in rows(manifest, note): ...     what `plan.expand` takes
    fingerprint(manifest)                    has anything changed since the last plan?

    pictures.py, listing.py   globs, folders and files, here and in object stores
    tables/                   CSV, JSON Lines, JSON, Parquet, lists of lines
    datasets.py               imagefolders and saved datasets
    companions.py             the file beside each picture
    selecting.py              filter, sample, order, limit
    measuring.py              width and height, on demand

Rule: rows stream. Of several sources only the later ones are held, and what is wrong with a row is told
with its file and line.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from batcher import stores
from batcher.errors import ManifestError
from batcher.manifest import Manifest
from batcher.manifest.checks import SIZES
from batcher.plan import Row, join
from batcher.sources import measuring
from batcher.sources.companions import Companions
from batcher.sources.datasets import dataset
from batcher.sources.fingerprint import fingerprint
from batcher.sources.inline import inline
from batcher.sources.measuring import Measure, measurer
from batcher.sources.pictures import pictures
from batcher.sources.pointing import Pointer
from batcher.sources.problems import LeftOut, Problems, Skipped
from batcher.sources.selecting import chosen, passes
from batcher.sources.tables import table

__all__ = ["LeftOut", "Measure", "Pointer", "Problems", "Skipped", "fingerprint", "measurer", "rows"]

Note = Callable[[str], None]


def rows(
    manifest: Manifest,
    note: Note,
    *,
    measure: Measure | None = None,
    skipped: Skipped | None = None,
) -> Iterator[Row]:
    """The rows of a job, its sources joined as `combine` says; one empty row where it has none.

    `note` takes warnings; `measure` gives the size of a picture, where a template names it; `skipped` takes
    what is wrong with single rows, which are left out, and the rest goes on (without it they are problems).
    Raises ManifestError: at once for what concerns a whole source, at the end (or after MAX_PROBLEMS) for
    what concerns single rows, and where no row is left.
    """
    stores.forget()
    problems = Problems(manifest, skipped)
    look = measure or measurer()
    try:
        joined = _joined(manifest, problems, note, look)
        wanted = measuring.wanted(manifest)
        left = 0
        for row in joined:
            whole = measuring.with_sizes(row, wanted, manifest, look, problems) if wanted else row
            if whole is not None:
                left += 1
                yield whole
        if not left:
            problems.nothing_left()
    except ManifestError as error:
        raise ManifestError([*problems.found, *error.problems]) from None
    if problems.found:
        raise ManifestError(problems.found)


def _joined(manifest: Manifest, problems: Problems, note: Note, measure: Measure) -> Iterator[Row]:
    streams = [_source(manifest, index, problems, note, measure) for index in range(len(manifest.inputs))]
    if not streams:
        yield Row({}, file=str(manifest.path))
    elif len(streams) == 1:
        yield from streams[0]
    elif manifest.pairs:
        yield from _zipped(manifest, streams)
    else:
        held = [list(stream) for stream in streams[1:]]
        for number, row in enumerate(streams[0]):
            if number == 0:
                _refuse_clashes(manifest, [row, *(rows[0] for rows in held if rows)])
            for rest in itertools.product(*held):
                yield join((row, *rest))


def _zipped(manifest: Manifest, streams: list[Iterator[Row]]) -> Iterator[Row]:
    for number, together in enumerate(itertools.zip_longest(*streams), 1):
        if None in together:
            ended = ", ".join(f"inputs.{index}" for index, row in enumerate(together) if row is None)
            message = f"zip needs sources of one length: {ended} ended after {number - 1} rows, others go on"
            raise ManifestError([manifest.problem(("combine",), message)])
        if number == 1:
            _refuse_clashes(manifest, list(together))
        yield join(together)


def _refuse_clashes(manifest: Manifest, firsts: list[Row]) -> None:
    """Two sources with one column: which of them a template means, nobody could say."""
    seen: dict[str, int] = {}
    for index, row in enumerate(firsts):
        for name in row.columns:
            if seen.setdefault(name, index) != index:
                message = (
                    f"two sources have a column `{name}`; pictures that belong together are `companions:`"
                )
                raise ManifestError([manifest.problem(("inputs",), message)])


def _source(
    manifest: Manifest, index: int, problems: Problems, note: Note, measure: Measure
) -> Iterator[Row]:
    """The rows of one source with their companions; no row at all is a problem unless `empty: allow`."""
    source = manifest.inputs[index]
    told, lacking = problems.told, problems.passed
    there, refused, wanted, passed = Counter(), Counter(), Counter(), Counter()
    bare = there.counting(_bare(manifest, index, problems, note))
    filtered = wanted.counting(_filtered(bare, manifest, index, problems, measure, refused))
    whole = passed.counting(_with_companions(filtered, manifest, index, problems, note))
    yield from chosen(whole, manifest, index)
    if passed.number:
        return
    if source.empty == "allow":
        problems.may_be_empty()
        return
    told, lacking = problems.told - told, problems.passed - lacking
    problems.nothing_left()
    if lacking:
        message = f"leaves no row: {lacking} of {there.number} have no companion"
        problems.at(("inputs", index, "missing"), f"{message}; `empty: allow` lets that pass")
    if refused.number and not wanted.number:
        message = f"none of {refused.number} rows passes it; `empty: allow` lets that pass"
        problems.at(("inputs", index, "filter"), message)
    if not there.number and not told:
        message = "no file matches" if source.images is not None else "has no rows"
        problems.at(("inputs", index, source.kind), f"{message}; `empty: allow` lets that pass")


class Counter:
    """Counts what passes."""

    def __init__(self) -> None:
        self.number = 0

    def counting(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows, counted as they are asked for."""
        for row in rows:
            self.number += 1
            yield row


def _filtered(
    rows: Iterable[Row],
    manifest: Manifest,
    index: int,
    problems: Problems,
    measure: Measure,
    refused: Counter,
) -> Iterator[Row]:
    """The rows of a source that pass its filter; those that do not are counted."""
    source = manifest.inputs[index]
    sizes = measuring.named([source.filter or ""])
    sizes |= {name.removeprefix("-") for name in source.order} & set(SIZES)
    passing = passes(manifest, index, problems) if source.filter is not None else None
    for row in rows:
        whole = measuring.with_sizes(row, sizes, manifest, measure, problems) if sizes else row
        if whole is None:
            continue
        if passing is None or passing(whole):
            yield whole
        else:
            refused.number += 1


def _with_companions(
    rows: Iterable[Row], manifest: Manifest, index: int, problems: Problems, note: Note
) -> Iterator[Row]:
    """The rows of a source that have all their companions."""
    if not manifest.inputs[index].companions:
        yield from rows
        return
    companions = Companions(manifest, index, problems, note)
    for row in rows:
        if (whole := companions.beside(row)) is not None:
            yield whole
    companions.finish()


def _bare(manifest: Manifest, index: int, problems: Problems, note: Note) -> Iterator[Row]:
    source = manifest.inputs[index]
    if source.images is not None:
        return pictures(manifest, index, problems)
    if source.table is not None:
        return table(manifest, index, problems, note)
    if source.dataset is not None:
        return dataset(manifest, index, problems, note)
    return inline(manifest, index, problems)
