"""Rows of an imagefolder, on this disk or in a store: of its metadata, or of its folders.

Rule: a folder with metadata is what its metadata say, with all that is below it. Pictures that they do not
name are no rows, and told.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from batcher.job.diagnostics import silent
from batcher.job.row import Row
from batcher.job.sources.dataset_columns import (
    BESIDE_SPLITS,
    METADATA,
    beside_picture,
    folder_labels,
    split_of,
    splits_among,
)
from batcher.job.sources.folders import DirEntry, is_output, list_folder
from batcher.job.sources.globs import files_below
from batcher.job.sources.picture_files import PictureFiles
from batcher.job.sources.picture_root import is_name, is_there, picture_columns
from batcher.job.sources.source_kind import SourceContext
from batcher.job.sources.stored_dataset import parquet_rows
from batcher.job.sources.tables import TableContext, table_rows
from batcher.progress.summary import several
from batcher.storage.addresses import is_stored, resolve
from batcher.storage.pictures import has_picture_suffix
from batcher.storage.stores import parquet_cells

FILE_NAME = "file_name"


class _Place(NamedTuple):
    """A folder of the dataset: its path, the names from the dataset's own folder down to it, and the splits
    among these, by their place."""

    path: str
    parts: tuple[str, ...] = ()
    splits: Mapping[int, str] = MappingProxyType({})

    @property
    def relative(self) -> str:
        return "/".join(self.parts)

    def below(self, entry: DirEntry, split: str | None) -> _Place:
        """A folder in it."""
        splits = self.splits if split is None else {**self.splits, len(self.parts): split}
        return _Place(entry.path, (*self.parts, entry.name), splits)


def imagefolder_rows(root: str, source: SourceContext) -> Iterator[Row]:
    """The rows of the imagefolder at `root`. Raises OSError, MissingExtra."""
    pictures = PictureFiles(root, source.diagnostics.warn)
    yield from _below(_Place(root), source, pictures)
    pictures.finish()


def _below(place: _Place, source: SourceContext, pictures: PictureFiles) -> Iterator[Row]:
    entries = [entry for entry in list_folder(place.path) if not entry.name.startswith(".")]
    metadata = next((entry for entry in entries if entry.name in METADATA and not entry.is_folder), None)
    if metadata is not None:
        yield from _described(place, metadata, source)
        return
    splits = splits_among(entry.name for entry in entries if entry.is_folder)
    for entry in entries:
        if entry.is_folder:
            if not is_output(entry.path):
                yield from _below(place.below(entry, splits.get(entry.name)), source, pictures)
        elif parquet_cells.is_parquet_file(entry.path):
            yield from parquet_rows(entry.path, source, source.diagnostics.warn)
        elif pictures.takes(entry.path):
            row = _picture(entry.path, place.relative, source)
            yield row._replace(columns={**row.columns, **folder_labels(place.parts, place.splits)})


def _described(place: _Place, metadata: DirEntry, source: SourceContext) -> Iterator[Row]:
    """The pictures that a folder's metadata name."""
    folder, relative = place.path, place.relative
    shown = metadata.path if is_stored(metadata.path) else os.path.relpath(metadata.path, source.folder)
    table = TableContext(shown, metadata.path, folder, source.diagnostics, source.error)
    named: set[str] = set()
    for row in table_rows(table):
        name = row.columns.get(FILE_NAME)
        others = (cell for cell in row.columns.values() if isinstance(cell, str) and has_picture_suffix(cell))
        named.update(os.path.normpath(cell.replace("\\", "/")) for cell in others)
        if not is_name(name):
            table.row(row.line, f"row {row.number} has no `{FILE_NAME}` that names its picture")
            continue
        path = resolve(folder, name)
        if not is_there(path):
            path = source.near_files.find(path) or path
            named.add(os.path.relpath(path, folder))
        if not f"{path}/".startswith(f"{folder}/"):
            table.row(row.line, f"row {row.number}: {name!r} lies outside the dataset")
        elif not is_there(path):
            hint = source.near_files.hint(path)
            table.row(row.line, f"row {row.number}: there is no picture {path}{hint}")
        else:
            picture = _picture(path, f"{relative}/{os.path.dirname(name)}".strip("/"), source)
            labels = {column: value for column, value in row.columns.items() if column != FILE_NAME}
            columns = {**picture.columns, **_split(place, name), **beside_picture(labels)}
            text = frozenset(beside_picture({name: name for name in row.text}))
            yield row._replace(columns=columns, text=text & columns.keys())
    _tell_unnamed(folder, shown, named, source)


def _tell_unnamed(folder: str, shown: str, named: Container[str], source: SourceContext) -> None:
    """That pictures of the folder stand in no line of its metadata; those of masks and the like need not."""
    if is_stored(folder):
        return
    number, first = 0, ""
    for file in files_below(folder, silent):
        name = os.path.relpath(file.path, folder)
        beside = BESIDE_SPLITS.intersection(name.lower().split("/")[:-1])
        if has_picture_suffix(name) and name not in named and not beside:
            number, first = number + 1, first or name
    if number:
        have = several(number, "picture beside it is", "pictures beside it are")
        source.diagnostics.warn(f"{shown}: {have} in no line of it, and no row (first: {first})")


def _picture(path: str, folder: str, source: SourceContext) -> Row:
    return Row(picture_columns(path, folder), path, folder=source.folder)


def _split(place: _Place, name: str) -> dict[str, Any]:
    """The split of a picture that metadata name: of their folder, or of one between it and the picture."""
    splits = [*place.splits.values(), *filter(None, map(split_of, name.split("/")[:-1]))]
    return {"split": splits[0]} if splits else {}
