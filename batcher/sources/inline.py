"""Rows that stand in the manifest itself."""

from __future__ import annotations

from collections.abc import Iterator

from batcher.manifest import Manifest
from batcher.plan import Row
from batcher.sources.problems import Problems


def inline(manifest: Manifest, index: int, problems: Problems) -> Iterator[Row]:
    """The rows of an `inputs: - rows:` source; relative paths in them start from the manifest's folder."""
    file, folder = str(manifest.path), str(manifest.folder)
    for number, columns in enumerate(manifest.inputs[index].rows or (), 1):
        if not columns:
            problems.at(("inputs", index, "rows", number - 1), "is empty; a row needs at least one column")
            continue
        line = manifest.problem(("inputs", index, "rows", number - 1), "").line
        yield Row(columns, file, line, number, folder)
