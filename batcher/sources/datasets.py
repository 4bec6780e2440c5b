"""Rows of a `dataset:` source: a Hugging Face imagefolder, or what `datasets` saved to disk.

    photos/metadata.jsonl (or .csv, .parquet)    a line per picture: `file_name`, and its labels
    photos/cat/1.jpg                             without one: the folder is the `label`
    photos/train/...                             train, test, validation: the column `split`
    pets/state.json, pets/dataset_dict.json      a saved dataset: its rows, class labels by their names
    pets/data/train-00000-of-00002.parquet       pictures inside, as on the Hub; one such file alone, too

Rule: a row has the columns image, stem, name, suffix and folder, as a picture's; a label that has one of
these names, or one of the plan's own, is kept as `source_<name>`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from batcher import stores
from batcher.errors import Problem
from batcher.manifest import Manifest
from batcher.manifest.checks import IMAGE_COLUMNS
from batcher.manifest.grammar import RESERVED
from batcher.plan import PICTURE_SUFFIXES, Row, is_stored, is_url, placed
from batcher.sources.folders import Thing, is_output, things
from batcher.sources.opening import stamp
from batcher.sources.problems import Problems
from batcher.sources.tables import rows_of
from batcher.sources.tables.parquet import plain, readable, values_of
from batcher.sources.tables.reading import Table
from batcher.stores import embedded, saved

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
SPLITS = frozenset({"train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval"})
FILE_NAME = "file_name"
OWN = frozenset({*IMAGE_COLUMNS, *RESERVED})

Note = Callable[[str], None]


def dataset(manifest: Manifest, index: int, problems: Problems, note: Note) -> Iterator[Row]:
    """The rows of a dataset, read as they are asked for."""
    key = ("inputs", index, "dataset")
    folder = manifest.resolve(manifest.inputs[index].dataset or "").rstrip("/")
    try:
        if not is_stored(folder) and saved.is_saved(folder):
            yield from _saved(folder, problems, note)
        elif embedded.is_embedding(folder):
            yield from _embedded(folder, lambda message: problems.at(key, message), problems, note)
        elif is_stored(folder) and folder.endswith(embedded.SUFFIX):
            problems.at(
                key, f"{folder} lies in a store; Parquet with pictures inside is read on this disk alone"
            )
        else:
            yield from _Imagefolder(manifest, key, folder, problems, note).rows()
    except stores.MissingExtra as error:
        problems.at(key, str(error))
    except FileNotFoundError:
        problems.at(key, f"there is no folder {folder}")
    except NotADirectoryError:
        problems.at(key, f"{folder} is a file; a dataset is a folder")
    except OSError as error:
        problems.at(key, f"{error.filename or folder} cannot be read: {error.strerror or error}")


def stamps(manifest: Manifest, index: int) -> Iterator[str]:
    """What changes when the dataset does: its files, their sizes and times. Raises OSError, MissingExtra."""
    folder = manifest.resolve(manifest.inputs[index].dataset or "").rstrip("/")
    if embedded.is_embedding(folder):
        yield f"{folder}\0{stamp(folder)}\n"
        return
    pending = [(folder, False)]
    while pending:
        below, told = pending.pop()
        found = things(below)
        # Metadata may name pictures in any folder below them, an output folder among these.
        told = told or any(thing.name in METADATA and not thing.is_folder for thing in found)
        for thing in found:
            if thing.is_folder:
                if told or not is_output(thing.path):
                    pending.append((thing.path, told))
            else:
                yield f"{thing.path}\0{thing.told or stamp(thing.path)}\n"


class _Imagefolder:
    """One walk through an imagefolder, on this disk or in a store."""

    def __init__(
        self,
        manifest: Manifest,
        key: tuple[str | int, ...],
        root: str,
        problems: Problems,
        note: Note,
    ) -> None:
        self._manifest = manifest
        self._key = key
        self._root = root
        self._problems = problems
        self._note = note

    def rows(self) -> Iterator[Row]:
        yield from self._below(self._root, "")

    def _below(self, folder: str, relative: str) -> Iterator[Row]:
        """A folder with metadata is what its metadata say, with all that is below it."""
        found = things(folder)
        named = next((thing for thing in found if thing.name in METADATA and not thing.is_folder), None)
        if named is not None:
            yield from self._told(folder, relative, named)
            return
        for thing in found:
            below = f"{relative}/{thing.name}" if relative else thing.name
            if thing.name.startswith("."):
                continue
            if thing.is_folder:
                if not is_output(thing.path):
                    yield from self._below(thing.path, below)
            elif embedded.is_embedding(thing.path):
                yield from _embedded(thing.path, self._note, self._problems, self._note)
            elif os.path.splitext(thing.name)[1].lower() in PICTURE_SUFFIXES:
                row = self._picture(thing.path, relative)
                yield row._replace(columns={**row.columns, **_labels(relative)})

    def _told(self, folder: str, relative: str, metadata: Thing) -> Iterator[Row]:
        shown = os.path.relpath(metadata.path, self._manifest.folder)
        shown = metadata.path if is_stored(metadata.path) else shown

        def refused(message: str) -> None:
            self._problems.at(self._key, message)

        table = Table(shown, metadata.path, folder, self._problems, refused, self._note)
        for row in rows_of(metadata.path, table):
            name = row.columns.get(FILE_NAME)
            if not isinstance(name, str) or not name or is_url(name) or "\0" in name:
                table.wrong(row.line, f"row {row.number} has no `{FILE_NAME}` that names its picture")
                continue
            path = placed(folder, name)
            if not f"{path}/".startswith(f"{folder}/"):
                table.wrong(row.line, f"row {row.number}: {name!r} lies outside the dataset")
            elif not self._is_there(path):
                table.wrong(row.line, f"row {row.number}: there is no picture {path}")
            else:
                picture = self._picture(path, f"{relative}/{os.path.dirname(name)}".strip("/"))
                labels = {column: value for column, value in row.columns.items() if column != FILE_NAME}
                columns = {**picture.columns, **_split(relative), **_renamed(labels)}
                text = frozenset(column for column in _renamed({name: name for name in row.text}))
                yield row._replace(columns=columns, text=text & columns.keys())

    def _is_there(self, path: str) -> bool:
        if not is_stored(path):
            return os.path.isfile(path)
        try:
            stores.stat(path)
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    def _picture(self, path: str, folder: str) -> Row:
        name = path.rpartition("/")[2]
        stem, suffix = os.path.splitext(name)
        columns = {"image": path, "stem": stem, "name": name, "suffix": suffix, "folder": folder}
        return Row(columns, path, folder=str(self._manifest.folder))


def _labels(relative: str) -> dict[str, Any]:
    """What the folders say: `train/cat` is the split train and the label cat."""
    split = _split(relative)
    parts = relative.split("/")[1:] if split else relative.split("/")
    return {**split, "label": parts[-1]} if parts and parts[-1] else split


def _split(relative: str) -> dict[str, Any]:
    first = relative.partition("/")[0]
    return {"split": first} if first.lower() in SPLITS else {}


def _renamed(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Labels beside a picture's own columns and the plan's own variables."""
    kept = {name: value for name, value in labels.items() if name not in OWN}
    for name in OWN & labels.keys():
        kept.setdefault(f"source_{name}", labels[name])
    return kept


def _saved(folder: str, problems: Problems, note: Note) -> Iterator[Row]:
    """The rows of a saved dataset; those of each split, where it has several."""
    if not os.path.isfile(os.path.join(folder, saved.MARKS[0])):
        for thing in things(folder):
            if thing.is_folder and not is_output(thing.path):
                yield from _rows(thing.path, {"split": thing.name}, problems, note)
        return
    yield from _rows(folder, {}, problems, note)


def _rows(folder: str, split: Mapping[str, Any], problems: Problems, note: Note) -> Iterator[Row]:
    found = saved.loaded(folder)
    features = dict(found.features)
    pictures = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    names = {
        name: feature.names for name, feature in features.items() if type(feature).__name__ == "ClassLabel"
    }
    if not pictures:
        note(f"{folder} has no column of pictures")
    yield from _labelled(folder, folder, split, found, len(found), pictures, names, problems)


def _embedded(path: str, refused: Note, problems: Problems, note: Note) -> Iterator[Row]:
    """The rows of a Parquet file with pictures inside; the name of its split may begin its own. `refused` is
    told of one without."""
    try:
        file = embedded.opened(path)
        schema = file.schema_arrow
        pictures = [field.name for field in schema if embedded.is_picture(field.type)]
        if not pictures:
            refused(f"{path} has no column of pictures; `table:` reads what it has")
            return
        kept = readable(schema, path, note, pictures)
        names = _classes((schema.metadata or {}).get(b"huggingface", b""))
        split = _split(os.path.basename(path).removesuffix(embedded.SUFFIX).partition("-")[0])
        values, total = values_of(file, embedded.BATCH, kept), file.metadata.num_rows
        yield from _labelled(path, os.path.dirname(path), split, values, total, pictures, names, problems)
    except ValueError as error:
        raise OSError(5, str(error), path) from error


def _classes(told: bytes) -> dict[str, Sequence[str]]:
    """The names of class labels by column, as `datasets` notes them in a file of its own."""
    try:
        features = json.loads(told)["info"]["features"]
        found = {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: names for name, names in found.items() if isinstance(names, list)}


def _labelled(
    folder: str,
    home: str,
    split: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    total: int,
    pictures: Sequence[str],
    names: Mapping[str, Sequence[str]],
    problems: Problems,
) -> Iterator[Row]:
    """The rows that a saved dataset or a Parquet file at `folder` tells; paths in it start from `home`,
    `names` are those of class labels, by column."""
    stem = os.path.basename(folder).removesuffix(embedded.SUFFIX)
    digits = len(str(max(total - 1, 0)))
    for number, values in enumerate(rows):
        columns: dict[str, Any] = {}
        for at, name in enumerate(pictures):
            address = _address(folder, home, number, name, values[name])
            if address is None:
                message = f"row {number + 1} has no picture in the column `{name}`"
                problems.row(Problem(message, folder))
                break
            columns |= (
                _cell(address, values[name], f"{stem}-{number:0{digits}}") if at == 0 else {name: address}
            )
        else:
            labels = {
                name: names[name][value]
                if name in names and isinstance(value, int) and 0 <= value < len(names[name])
                else value
                for name, value in values.items()
                if name not in pictures
            }
            columns |= {**split, **_renamed({name: plain(value) for name, value in labels.items()})}
            yield Row(columns, folder, 0, number + 1, home)


def _address(folder: str, home: str, number: int, column: str, value: Any) -> str | None:
    """Where the picture of a cell is: in the dataset, or in the file that the cell names."""
    if not value:
        return None
    if value.get("bytes"):
        return saved.cell(folder, number, column)
    path = value.get("path")
    return placed(home, path) if path and not is_url(path) else path


def _cell(address: str, value: Mapping[str, Any], stem: str) -> dict[str, Any]:
    """The columns of a picture; it is called after the file it was made from, where that is known."""
    name = os.path.basename(str(value.get("path") or "")) or stem
    found, suffix = os.path.splitext(name)
    return {"image": address, "stem": found, "name": name, "suffix": suffix, "folder": ""}
