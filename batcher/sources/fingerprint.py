"""Has anything changed since the last plan? One hash, without opening a picture.

Rule: when in doubt it has. What cannot be told cheaply gives a fingerprint that never comes again, so
that the job is planned anew, and what is wrong is told there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any

from batcher.catalog import find
from batcher.errors import ManifestError
from batcher.manifest import Manifest
from batcher.manifest.templates import compile_template
from batcher.plan import PICTURE_SUFFIXES, Row, is_url
from batcher.sources.companions import Companions
from batcher.sources.inline import inline
from batcher.sources.pictures import listed, picture_row
from batcher.sources.problems import Problems
from batcher.sources.tables import table

PROBED = 100
"""Rows of a table that are looked at for cells that name pictures."""

Add = Callable[[bytes], None]


def fingerprint(manifest: Manifest) -> str:
    """A hash (hex) of the manifest, its model and its sources: paths, sizes and times of change of every
    picture, companion and table, and of pictures that tables, axes or params name."""
    hashed = blake2b(manifest.fingerprint().encode(), digest_size=16)
    problems = Problems(manifest)
    try:
        hashed.update(repr(find(manifest.model, manifest.folder)).encode())
        if any(_computed_path(value) for value in manifest.params.values()):
            return secrets.token_hex(16)
        for path in _named(
            manifest, (manifest.params, *manifest.matrix.axes.values(), *manifest.matrix.include)
        ):
            _add_file(path, hashed.update)
        for index in range(len(manifest.inputs)):
            _add_source(manifest, index, problems, hashed.update)
    except (ManifestError, OSError):
        return secrets.token_hex(16)
    return secrets.token_hex(16) if problems.found else hashed.hexdigest()


def _add_source(manifest: Manifest, index: int, problems: Problems, add: Add) -> None:
    source = manifest.inputs[index]
    folder = str(manifest.folder)
    companions = Companions(manifest, index, problems, lambda note: None) if source.companions else None
    if source.images is not None:
        for picture in listed(manifest, index, problems):
            if not isinstance(picture, str):
                add(f"{picture.path}\0{picture.stamp}\n".encode())
            if companions is not None:
                _add_companions(companions, picture_row(picture, folder), add)
        return
    if source.table is not None:
        _add_file(manifest.resolve(source.table), add)
        if companions is None and not _names_pictures(manifest, index, problems):
            return
    rows = table(manifest, index, problems) if source.table is not None else inline(manifest, index, problems)
    for row in rows:
        for path in _named(manifest, row.columns, row.folder):
            _add_file(path, add)
        if companions is not None:
            _add_companions(companions, row, add)


def _names_pictures(manifest: Manifest, index: int, problems: Problems) -> bool:
    """Whether the cells of a table name local pictures; a table of prompts is not read through."""
    rows = islice(table(manifest, index, problems), PROBED)
    return any(_is_local_picture(value) for row in rows for value in row.columns.values())


def _add_companions(companions: Companions, row: Row, add: Add) -> None:
    for _, path in companions.paths(row):
        if path is not None and not is_url(path):
            _add_file(path, add)


def _add_file(path: str, add: Add) -> None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        add(f"{path}\0-\n".encode(errors="surrogatepass"))
    else:
        add(f"{path}\0{found.st_size} {found.st_mtime_ns}\n".encode(errors="surrogatepass"))


def _named(manifest: Manifest, value: Any, folder: str = "") -> Iterator[str]:
    """The local pictures that texts in a value may name, absolute."""
    if isinstance(value, str):
        if _is_local_picture(value):
            for place in dict.fromkeys((folder, str(manifest.folder))):
                if place:
                    yield os.path.normpath(os.path.join(place, os.path.expanduser(value)))
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _named(manifest, inner, folder)


def _is_local_picture(value: Any) -> bool:
    if not isinstance(value, str) or len(value) >= 4096 or is_url(value):
        return False
    return os.path.splitext(value)[1].lower() in PICTURE_SUFFIXES and "{{" not in value


def _computed_path(value: Any) -> bool:
    """Whether a parameter may put a path together, as `../masks/{{ stem }}.png`: only a plan can tell."""
    if not isinstance(value, str):
        return False
    template = compile_template(value)
    ends_as_picture = os.path.splitext(value)[1].lower() in PICTURE_SUFFIXES
    return not template.constant and template.lone is None and (ends_as_picture or "/" in value)
