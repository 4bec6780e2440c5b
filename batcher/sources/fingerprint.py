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

from batcher import stores
from batcher.catalog import find
from batcher.errors import Problem, UsageError
from batcher.manifest import Manifest
from batcher.manifest.templates import compile_template
from batcher.plan import PICTURE_SUFFIXES, Row, is_url, placed
from batcher.sources import datasets
from batcher.sources.companions import Companions
from batcher.sources.inline import inline
from batcher.sources.opening import stamp
from batcher.sources.pictures import listed, picture_row
from batcher.sources.problems import Problems
from batcher.sources.tables import table

PROBED = 100
"""Rows of a table that are looked at for cells that name pictures."""

Add = Callable[[bytes], None]


def fingerprint(manifest: Manifest, *, strict: bool = True) -> str:
    """A hash (hex) of the manifest, its model and its sources: paths, sizes and times of change of every
    picture, companion and table, and of pictures that tables, axes or params name.

    `strict`: one wrong row is enough for the plan to be made anew, and to tell it; else wrong rows are as
    good as any, since the plan leaves them out.
    """
    begun = f"{manifest.fingerprint()}{'' if strict else ' lenient'}"
    hashed = blake2b(begun.encode(), digest_size=16)
    problems = Problems(manifest, None if strict else _pass_over)
    stores.forget()
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
    except (UsageError, OSError):
        return secrets.token_hex(16)
    return secrets.token_hex(16) if problems.found else hashed.hexdigest()


def _pass_over(problem: Problem) -> None:
    """The plan itself tells what is wrong with a row."""


def _add_source(manifest: Manifest, index: int, problems: Problems, add: Add) -> None:
    source = manifest.inputs[index]
    folder = str(manifest.folder)
    companions = Companions(manifest, index, problems, _unheard) if source.companions else None
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
    if source.dataset is not None:
        for one in datasets.stamps(manifest, index):
            add(one.encode(errors="surrogatepass"))
        if companions is None:
            return
    for row in _rows(manifest, index, problems):
        for path in _named(manifest, row.columns, row.folder):
            _add_file(path, add)
        if companions is not None:
            _add_companions(companions, row, add)


def _rows(manifest: Manifest, index: int, problems: Problems) -> Iterator[Row]:
    source = manifest.inputs[index]
    if source.table is not None:
        return table(manifest, index, problems, _unheard)
    if source.dataset is not None:
        return datasets.dataset(manifest, index, problems, _unheard)
    return inline(manifest, index, problems)


def _unheard(note: str) -> None:
    """The plan itself warns."""


def _names_pictures(manifest: Manifest, index: int, problems: Problems) -> bool:
    """Whether the cells of a table name local pictures; a table of prompts is not read through."""
    rows = islice(table(manifest, index, problems, _unheard), PROBED)
    return any(_is_local_picture(value) for row in rows for value in row.columns.values())


def _add_companions(companions: Companions, row: Row, add: Add) -> None:
    for _, path in companions.paths(row):
        if path is not None and not is_url(path):
            _add_file(path, add)


def _add_file(path: str, add: Add) -> None:
    try:
        found = stamp(path)
    except (OSError, ValueError):
        found = "-"
    add(f"{path}\0{found}\n".encode(errors="surrogatepass"))


def _named(manifest: Manifest, value: Any, folder: str = "") -> Iterator[str]:
    """The local pictures that texts in a value may name, absolute."""
    if isinstance(value, str):
        if _is_local_picture(value):
            for place in dict.fromkeys((folder, str(manifest.folder))):
                if place:
                    yield placed(place, value)
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
