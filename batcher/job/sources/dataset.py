"""The kind `dataset:` of a source: a Hugging Face imagefolder, what `datasets` saved to disk, or pictures
with labels in the forms that people train with.

    photos/metadata.jsonl (or .csv, .parquet)    a line per picture: `file_name`, and its labels
    photos/cat/1.jpg                             without one: the folder is the `label`
    photos/train/...                             train, test, validation: the column `split`
    pets/state.json, pets/dataset_dict.json      a saved dataset: its rows, class labels by their names
    pets/data/train-00000-of-00002.parquet       pictures inside, as on the Hub; one such file alone, too
    coco/annotations/instances_val2017.json      COCO: the file, or the folder with one for each set
    pets/data.yaml                               ultralytics, YOLO: the file, or the folder that has it
    VOC2012/JPEGImages, VOC2012/Annotations      Pascal VOC

Several, as a list, are one after the other: files of COCO, say, of which each describes a set.

Rule: a row has the columns image, stem, name, suffix and folder, as a picture's; a label that has one of
these names, or one of the plan's own, is kept as `source_<name>`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any

from pydantic import StrictStr

from batcher.job.row import IMAGE_COLUMNS, Row
from batcher.job.sources import source_kind
from batcher.job.sources.dataset_columns import METADATA
from batcher.job.sources.folders import is_output, list_folder
from batcher.job.sources.imagefolder_rows import imagefolder_rows
from batcher.job.sources.labelled_forms import labelled_form
from batcher.job.sources.source_kind import Resolve, SourceContext, is_local_picture
from batcher.job.sources.stored_dataset import parquet_rows, saved_rows
from batcher.job.sources.streams import stamp
from batcher.job.validation import OneOrMore
from batcher.storage import stores
from batcher.storage.addresses import is_stored
from batcher.storage.pictures import has_picture_suffix
from batcher.storage.stores import dataset_cells, parquet_cells

KEY = "dataset"
TYPE = Annotated[tuple[StrictStr, ...], OneOrMore()]
DESCRIPTION = (
    "A Hugging Face imagefolder (metadata.jsonl or .csv beside the pictures, or class folders as the "
    "column label), a dataset that `datasets` saved to disk, Parquet with pictures inside, or pictures with "
    "labels: a COCO file (.json), a data.yaml of ultralytics (YOLO), a Pascal VOC folder. Or a list of these."
)
HAS_PICTURES = True
IF_EMPTY = source_kind.HAS_NO_ROWS

columns = source_kind.unknown_columns
files = source_kind.no_files
rows_of = source_kind.rows_of_no_files


def resolved(value: Any, resolve: Resolve) -> Any:
    """The absolute path of each dataset."""
    return [resolve(entry) for entry in value]


def rows(source: SourceContext) -> Iterator[Row]:
    """The rows, read as they are asked for."""
    for folder, one in _each(source):
        yield from _rows(folder, one)


def relabelled_rows(source: SourceContext, since: float) -> Iterator[Row]:
    """The rows of those datasets on this disk whose labels stand in files of their own, of which some was
    written or taken away after that time. Raises OSError, MissingExtra."""
    for folder, one in _each(source):
        if not is_stored(folder) and _changed(_label_stamps(folder, one), since):
            yield from _rows(folder, one)


def _label_stamps(folder: str, source: SourceContext) -> Iterator[str]:
    """Those of a dataset's files among which its labels are."""
    if (form := labelled_form(folder)) is not None:
        yield from form.stamps(source)
    elif os.path.isdir(folder) and not dataset_cells.is_saved_dataset(folder):
        named = tuple(f"/{name}\0" for name in METADATA)
        yield from (line for line in _stamps(folder, source) if any(name in line for name in named))


def _changed(stamps: Iterable[str], since: float) -> bool:
    """Whether a file of labels, or a folder of such, has changed. Its time is what a person can set: the
    disk's own note of a change is not."""
    folders = set()
    for line in stamps:
        path = line.partition("\0")[0]
        if has_picture_suffix(path):
            continue  # a linked picture counts as changed, and its labels are not in it
        with suppress(FileNotFoundError):
            if os.stat(path).st_ctime > since:
                return True
        folders.add(os.path.dirname(path))
    return any(os.stat(folder).st_ctime > since for folder in folders if os.path.isdir(folder))


def _rows(folder: str, source: SourceContext) -> Iterator[Row]:
    """The rows of one dataset."""
    try:
        if (form := labelled_form(folder)) is not None:
            yield from form.rows(source)
        elif not is_stored(folder) and dataset_cells.is_saved_dataset(folder):
            yield from saved_rows(folder, source)
        elif parquet_cells.is_parquet_file(folder):
            yield from parquet_rows(folder, source, source.error)
        elif is_stored(folder) and folder.endswith(parquet_cells.SUFFIX):
            source.error(f"{folder} lies in a store; Parquet with pictures inside is read on this disk alone")
        else:
            yield from imagefolder_rows(folder, source)
    except stores.MissingExtra as error:
        source.error(str(error))
    except FileNotFoundError:
        source.error(f"there is no {_what(folder)} {folder}")
    except NotADirectoryError:
        source.error(f"{folder} is a file; a dataset is a folder, a COCO file (.json) or a data.yaml")
    except OSError as error:
        source.error(f"{error.filename or folder} cannot be read: {error.strerror or error}")


def stamps(source: SourceContext) -> Iterator[str]:
    """Every file of the datasets, with its size and time."""
    for folder, one in _each(source):
        yield from _stamps(folder, one)


def _stamps(folder: str, source: SourceContext) -> Iterator[str]:
    if (form := labelled_form(folder)) is not None:
        yield from form.stamps(source)
        return
    if parquet_cells.is_parquet_file(folder):
        yield f"{folder}\0{stamp(folder)}\n"
        return
    pending = [(folder, False)]
    while pending:
        below, described = pending.pop()
        entries = list_folder(below)
        # Metadata may name pictures in any folder below them, an output folder among these.
        described = described or any(one.name in METADATA and not one.is_folder for one in entries)
        for entry in entries:
            if not entry.is_folder:
                yield f"{entry.path}\0{entry.stamp or stamp(entry.path)}\n"
            elif described or not is_output(entry.path):
                pending.append((entry.path, described))


def names_files(source: SourceContext) -> bool:
    """Whether one of the first rows names a local picture beside its own, a mask for instance."""
    return any(
        is_local_picture(cell)
        for folder, one in _each(source)
        if labelled_form(folder) is None
        for row in islice(_rows(folder, one), source_kind.PROBED)
        for name, cell in row.columns.items()
        if name not in IMAGE_COLUMNS
    )


def _what(path: str) -> str:
    return "file" if os.path.splitext(path)[1] else "folder"


def _each(source: SourceContext) -> Iterator[tuple[str, SourceContext]]:
    """The path of each dataset, and the source as far as it is that one."""
    for number, entry in enumerate(source.value):
        key = source.key if len(source.value) == 1 else (*source.key, number)
        yield source.resolve(entry).rstrip("/"), replace(source, value=(entry,), key=key)
