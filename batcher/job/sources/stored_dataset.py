"""Rows of a dataset with its pictures inside: one that `datasets` saved, or a Parquet file as on the Hub."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from batcher.errors import Problem
from batcher.job.diagnostics import Diagnostics, Warn
from batcher.job.row import Row
from batcher.job.sources import class_labels
from batcher.job.sources.dataset_columns import beside_picture, split_of
from batcher.job.sources.folders import is_output, list_folder
from batcher.job.sources.source_kind import SourceContext
from batcher.job.sources.tables.parquet_table import plain, readable, values_of
from batcher.storage.addresses import is_url, resolve
from batcher.storage.stores import dataset_cells, parquet_cells


def saved_rows(folder: str, source: SourceContext) -> Iterator[Row]:
    """The rows of a saved dataset, of each split where it has several. Raises OSError, MissingExtra."""
    if os.path.isfile(os.path.join(folder, dataset_cells.MARKS[0])):
        yield from _split_rows(folder, {}, source)
        return
    for entry in list_folder(folder):
        if entry.is_folder and not is_output(entry.path):
            yield from _split_rows(entry.path, {"split": entry.name}, source)


def _split_rows(folder: str, split: Mapping[str, Any], source: SourceContext) -> Iterator[Row]:
    dataset = dataset_cells.load_dataset(folder)
    features = dict(dataset.features)
    pictures = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    labels = class_labels.with_labels(dataset.features.to_dict())
    source.categories.add(class_labels.of_objects(labels), folder)
    if not pictures:
        source.diagnostics.warn(f"{folder} has no column of pictures")
    yield from _rows(folder, folder, split, dataset, len(dataset), pictures, labels, source.diagnostics)


def parquet_rows(path: str, source: SourceContext, without_pictures: Warn) -> Iterator[Row]:
    """The rows of a Parquet file with pictures inside; the name of its split may begin its own.
    `without_pictures` is told of one that has none. Raises OSError, MissingExtra."""
    try:
        file = parquet_cells.open_parquet(path)
        schema = file.schema_arrow
        pictures = [field.name for field in schema if parquet_cells.is_picture(field.type)]
        if not pictures:
            without_pictures(f"{path} has no column of pictures; `table:` reads what it has")
            return
        kept = readable(schema, path, source.diagnostics.warn, pictures)
        labels = _class_labels((schema.metadata or {}).get(b"huggingface", b""))
        source.categories.add(class_labels.of_objects(labels), path)
        stem = os.path.basename(path).removesuffix(parquet_cells.SUFFIX)
        name = split_of(stem.partition("-")[0]) or split_of(stem)
        split = {} if name is None else {"split": name}
        values, total = values_of(file, parquet_cells.BATCH, kept), file.metadata.num_rows
        yield from _rows(
            path, os.path.dirname(path), split, values, total, pictures, labels, source.diagnostics
        )
    except ValueError as error:
        raise OSError(5, str(error), path) from error


def _class_labels(metadata: bytes) -> dict[str, Any]:
    """The features with class labels, as `datasets` notes them in a file of its own."""
    try:
        return class_labels.with_labels(json.loads(metadata)["info"]["features"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}


def _rows(
    path: str,
    home: str,
    split: Mapping[str, Any],
    cells: Iterable[Mapping[str, Any]],
    total: int,
    pictures: Sequence[str],
    labels: Mapping[str, Any],
    diagnostics: Diagnostics,
) -> Iterator[Row]:
    """The rows of the saved dataset or Parquet file at `path`; paths in it start from `home`, `pictures` are
    the columns that hold some, `labels` the features of those in which there are class labels."""
    stem = os.path.basename(path).removesuffix(parquet_cells.SUFFIX)
    digits = len(str(max(total - 1, 0)))
    for number, values in enumerate(cells):
        columns: dict[str, Any] = {}
        for index, name in enumerate(pictures):
            address = _address(path, home, number, name, values[name])
            if address is None:
                diagnostics.row(Problem(f"row {number + 1} has no picture in the column `{name}`", path))
                break
            if index == 0:
                columns |= _picture(address, values[name], f"{stem}-{number:0{digits}}")
            else:
                columns[name] = address
        else:
            others = {
                name: class_labels.named(plain(value), labels.get(name))
                for name, value in values.items()
                if name not in pictures
            }
            columns |= {**split, **beside_picture(others)}
            yield Row(columns, path, 0, number + 1, home)


def _address(path: str, home: str, number: int, column: str, value: Any) -> str | None:
    """Where the picture of a cell is: in the dataset, or in the file that the cell names."""
    if not value:
        return None
    if value.get("bytes"):
        return dataset_cells.cell_address(path, number, column)
    file = value.get("path")
    return resolve(home, file) if file and not is_url(file) else file


def _picture(address: str, value: Mapping[str, Any], stem: str) -> dict[str, Any]:
    """The columns of a picture; it is called after the file it was made from, where that is known."""
    name = os.path.basename(str(value.get("path") or "")) or stem
    own_stem, suffix = os.path.splitext(name)
    return {"image": address, "stem": own_stem, "name": name, "suffix": suffix, "folder": ""}
