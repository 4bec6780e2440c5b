"""Rows whose labels cannot be read, told before their picture is paid for.

Law: labels are looked at only where they will be carried: where the model's geometry is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from batcher import errors, geometry, pictures
from batcher.errors import ManifestError, Problem
from batcher.ledger import originals
from batcher.manifest import Manifest
from batcher.manifest.templates import TemplateError, compile_template
from batcher.plan import Row, is_stored, is_url, placed
from batcher.sources import Problems, Skipped

HELD = 10_000
"""Label files whose verdict is kept: a picture comes once for each row of the other sources."""


def labelled(rows: Iterable[Row], manifest: Manifest, skipped: Skipped | None) -> Iterator[Row]:
    """The rows but for those whose `boxes` or `labels` are none, or whose mask is not their picture's; these
    are told to `skipped`, or without it as problems at the end. Raises ManifestError."""
    problems = Problems(manifest, skipped)
    of_file = lru_cache(maxsize=HELD)(lambda name, picture: originals.unreadable({"labels": name}, picture))
    of_mask = lru_cache(maxsize=HELD)(_misfit)
    looks_at_masks = "mask" not in _used(manifest.params)
    left = 0
    try:
        for row in rows:
            boxes, named = row.columns.get("boxes"), row.columns.get("labels")
            column, why = "boxes" if boxes is not None else "labels", None
            if boxes is not None:
                why = originals.unreadable(row.columns, "")
                if why is None and (picture := _picture(row, manifest)) and not is_stored(picture):
                    why = originals.astray(row.columns, picture)
            elif isinstance(named, str) and (picture := _picture(row, manifest)) is not None:
                why = of_file(named, picture)
            mask = row.columns.get("mask")
            if why is None and looks_at_masks and isinstance(mask, str) and os.path.isabs(mask):
                picture = _picture(row, manifest)
                if picture is not None and not is_stored(picture):
                    column, why = "mask", of_mask(mask, picture)
            if why is None:
                left += 1
                yield row
                continue
            source = row.part(column)
            # A row of a listing is named by its file, which stands before every problem already.
            told = why if source.origin == source.file else f"{source.origin}: {why}"
            problems.row(Problem(told, source.file, source.line))
    except ManifestError as error:
        raise ManifestError([*problems.found, *error.problems]) from None
    if not left:
        problems.nothing_left()
    if problems.found:
        raise ManifestError(problems.found)


def _misfit(mask: str, picture: str) -> str | None:
    """What is wrong with the mask of a picture, both on this disk: it is no picture, or has another shape."""
    sizes = []
    for path in (picture, mask):
        try:
            with open(path, "rb") as file:
                sizes.append(pictures.upright_size(file))
        except (OSError, errors.BadDownload) as error:
            # What is wrong with the picture itself is told where it is sent.
            reason = error.message if isinstance(error, errors.BadDownload) else error.strerror
            return f"the mask {mask}: {reason}" if path == mask else None
    if geometry.same_shape(sizes[1], sizes[0]):
        return None
    (width, height), (across, down) = sizes
    return f"the mask {mask} ({across} x {down}) has not the shape of its picture ({width} x {height})"


def _used(value: Any) -> set[str]:
    """The variables in these templates."""
    if isinstance(value, str):
        try:
            return set(compile_template(value).variables)
        except TemplateError:
            return set()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return set().union(*map(_used, inner))


def _picture(row: Row, manifest: Manifest) -> str | None:
    """Where the row's picture lies; None where nobody can say. The plan looks in the same places."""
    image = row.columns.get("image")
    if not isinstance(image, str) or is_url(image):
        return None
    places = (placed(folder, image) for folder in (row.part("image").folder, str(manifest.folder)) if folder)
    return next((path for path in places if is_stored(path) or os.path.isfile(path)), None)
