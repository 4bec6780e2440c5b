"""Rows from pictures, tables and the manifest itself.

    for row in rows(manifest, note): ...     what `plan.expand` takes
    fingerprint(manifest)                    has anything changed since the last plan?

Rule: rows stream. Of several sources only the later ones are held, and what is wrong with a row is told
with its file and line.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from batcher.errors import ManifestError
from batcher.manifest import Manifest, Source
from batcher.plan import Row, join
from batcher.sources.companions import Companions
from batcher.sources.fingerprint import fingerprint
from batcher.sources.inline import inline
from batcher.sources.pictures import pictures
from batcher.sources.problems import Problems
from batcher.sources.tables import table

__all__ = ["fingerprint", "rows"]

Note = Callable[[str], None]


def rows(manifest: Manifest, note: Note) -> Iterator[Row]:
    """The rows of a job, its sources joined as `combine` says; one empty row where it has none.

    `note` takes warnings. Raises ManifestError: at once for what concerns a whole source, at the end (or
    after MAX_PROBLEMS) for what concerns single rows.
    """
    problems = Problems(manifest)
    try:
        yield from _joined(manifest, problems, note)
    except ManifestError as error:
        raise ManifestError([*problems.found, *error.problems]) from None
    if problems.found:
        raise ManifestError(problems.found)


def _joined(manifest: Manifest, problems: Problems, note: Note) -> Iterator[Row]:
    streams = [_source(manifest, index, problems, note) for index in range(len(manifest.inputs))]
    if not streams:
        yield Row({}, file=str(manifest.path))
    elif len(streams) == 1:
        yield from streams[0]
    elif manifest.combine == "zip":
        yield from _zipped(manifest, streams, problems)
    else:
        held = [list(stream) for stream in streams[1:]]
        for number, row in enumerate(streams[0]):
            if number == 0:
                _refuse_clashes(manifest, [row, *(rows[0] for rows in held if rows)])
            for rest in itertools.product(*held):
                yield join((row, *rest))


def _zipped(manifest: Manifest, streams: list[Iterator[Row]], problems: Problems) -> Iterator[Row]:
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


def _source(manifest: Manifest, index: int, problems: Problems, note: Note) -> Iterator[Row]:
    """The rows of one source with their companions; no row at all is a problem unless `empty: allow`."""
    source = manifest.inputs[index]
    companions = Companions(manifest, index, problems, note) if source.companions else None
    found = 0
    before = len(problems.found)
    for row in _bare(manifest, source, index, problems):
        found += 1
        if companions is None:
            yield row
        elif (whole := companions.beside(row)) is not None:
            yield whole
    if companions is not None:
        companions.finish()
    if not found and source.empty == "error" and len(problems.found) == before:
        what = "images" if source.images is not None else "table" if source.table is not None else "rows"
        message = "no file matches" if what == "images" else "has no rows"
        problems.add(manifest.problem(("inputs", index, what), f"{message}; `empty: allow` lets that pass"))


def _bare(manifest: Manifest, source: Source, index: int, problems: Problems) -> Iterator[Row]:
    if source.images is not None:
        return pictures(manifest, index, problems)
    if source.table is not None:
        return table(manifest, index, problems)
    return inline(manifest, index, problems)
