"""Rows whose labels cannot be read, told before their picture is paid for.

Law: labels are looked at only where they will be carried: where the model's geometry is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache

from batcher.errors import ManifestError, Problem
from batcher.ledger import originals
from batcher.manifest import Manifest
from batcher.plan import Row, is_stored, is_url, placed
from batcher.sources import Problems, Skipped

HELD = 10_000
"""Label files whose verdict is kept: a picture comes once for each row of the other sources."""


def labelled(rows: Iterable[Row], manifest: Manifest, skipped: Skipped | None) -> Iterator[Row]:
    """The rows but for those whose `boxes` or `labels` are none; these are told to `skipped`, or without it
    as problems at the end. Raises ManifestError."""
    problems = Problems(manifest, skipped)
    of_file = lru_cache(maxsize=HELD)(lambda name, picture: originals.unreadable({"labels": name}, picture))
    left = 0
    try:
        for row in rows:
            boxes, named = row.columns.get("boxes"), row.columns.get("labels")
            why = None
            if boxes is not None:
                why = originals.unreadable(row.columns, "")
            elif isinstance(named, str) and (picture := _picture(row, manifest)) is not None:
                why = of_file(named, picture)
            if why is None:
                left += 1
                yield row
                continue
            source = row.part("labels" if boxes is None else "boxes")
            problems.row(Problem(f"{source.origin}: {why}", source.file, source.line))
    except ManifestError as error:
        raise ManifestError([*problems.found, *error.problems]) from None
    if not left:
        problems.nothing_left()
    if problems.found:
        raise ManifestError(problems.found)


def _picture(row: Row, manifest: Manifest) -> str | None:
    """Where the row's picture lies; None where nobody can say. The plan looks in the same places."""
    image = row.columns.get("image")
    if not isinstance(image, str) or is_url(image):
        return None
    places = (placed(folder, image) for folder in (row.part("image").folder, str(manifest.folder)) if folder)
    return next((path for path in places if is_stored(path) or os.path.isfile(path)), None)
