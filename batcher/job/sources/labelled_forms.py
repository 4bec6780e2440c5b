"""Which form of labels a `dataset:` has: those that people train with, beside what `datasets` itself reads.

Rule: a form is told by names, before anything is read, and a COCO file of a name of its own by its beginning;
a folder in a store is listed for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from batcher.job.diagnostics import silent
from batcher.job.labels.voc_layout import ANNOTATIONS, PICTURES
from batcher.job.row import Row
from batcher.job.sources import coco_rows
from batcher.job.sources.folders import list_folder
from batcher.job.sources.globs import files_below
from batcher.job.sources.source_kind import SourceContext
from batcher.job.sources.streams import stamped
from batcher.job.sources.ultralytics_rows import (
    DATA_FILES,
    SUFFIXES,
    data_file_of,
    ultralytics_rows,
    ultralytics_stamps,
)
from batcher.job.sources.voc_rows import MASKS, is_voc_folder, voc_rows
from batcher.storage.addresses import is_stored
from batcher.storage.pictures import has_picture_suffix
from batcher.storage.stores import parquet_cells


class LabelledForm(Protocol):
    """A dataset of one form."""

    def rows(self, source: SourceContext) -> Iterator[Row]:
        """Its rows. Raises OSError, MissingExtra."""

    def stamps(self, source: SourceContext) -> Iterator[str]:
        """What changes when it does. Raises OSError, MissingExtra."""


@dataclass(frozen=True, slots=True)
class CocoForm:
    """COCO files, one for each set."""

    files: Sequence[str]

    def rows(self, source: SourceContext) -> Iterator[Row]:
        return coco_rows.coco_rows(self.files, source)

    def stamps(self, source: SourceContext) -> Iterator[str]:
        yield from map(stamped, self.files)
        for folder in dict.fromkeys(map(coco_rows.dataset_folder, self.files)):
            yield from _stamps_below(folder)


@dataclass(frozen=True, slots=True)
class UltralyticsForm:
    """A data.yaml."""

    file: str

    def rows(self, source: SourceContext) -> Iterator[Row]:
        return ultralytics_rows(self.file, source)

    def stamps(self, source: SourceContext) -> Iterator[str]:
        return ultralytics_stamps(self.file, source)


@dataclass(frozen=True, slots=True)
class StoredVocForm:
    """A Pascal VOC folder in an object store: each plan would ask for every annotation, twice, one by one."""

    folder: str

    def rows(self, source: SourceContext) -> Iterator[Row]:
        source.error(
            f"{self.folder} is a Pascal VOC folder in a store, and such a folder is read on this disk alone: "
            f'copy it, or take its pictures and boxes by `images: "{self.folder}/{PICTURES}/"` and '
            f'`companions: {{labels: "{self.folder}/{ANNOTATIONS}/{{{{ stem }}}}.xml"}}`'
        )
        return iter(())

    def stamps(self, source: SourceContext) -> Iterator[str]:
        return iter(())


@dataclass(frozen=True, slots=True)
class VocForm:
    """A Pascal VOC folder."""

    folder: str

    def rows(self, source: SourceContext) -> Iterator[Row]:
        return voc_rows(self.folder, source)

    def stamps(self, source: SourceContext) -> Iterator[str]:
        return _stamps_below(self.folder, ".xml", ".txt")


def labelled_form(path: str) -> LabelledForm | None:
    """The form of the dataset at an absolute path or an address; None: it is none of these. Raises OSError,
    MissingExtra."""
    if path.endswith(coco_rows.SUFFIXES) and (is_stored(path) or not os.path.isdir(path)):
        return CocoForm([path])
    if path.lower().endswith(SUFFIXES) and (is_stored(path) or not os.path.isdir(path)):
        return UltralyticsForm(path)
    if is_stored(path):
        return _stored_form(path)
    if is_voc_folder(path):
        return VocForm(path)
    if (data_file := data_file_of(path)) is not None:
        return UltralyticsForm(data_file)
    if files := coco_rows.coco_files(path):
        return CocoForm(files)
    return None


def _stored_form(folder: str) -> LabelledForm | None:
    """That of a folder in a store. Raises OSError, MissingExtra."""
    if folder.endswith(parquet_cells.SUFFIX):
        return None
    entries = list_folder(folder)
    folders = {one.name for one in entries if one.is_folder}
    files = {one.name for one in entries if not one.is_folder}
    if PICTURES in folders and not folders.isdisjoint((ANNOTATIONS, *MASKS.values())):
        return StoredVocForm(folder)
    if (name := next((name for name in DATA_FILES if name in files), None)) is not None:
        return UltralyticsForm(f"{folder}/{name}")
    if coco_rows.BESIDE_PICTURES in files:
        return CocoForm([f"{folder}/{coco_rows.BESIDE_PICTURES}"])
    below = list_folder(f"{folder}/{coco_rows.OF_SETS}") if coco_rows.OF_SETS in folders else []
    of_sets = [one.path for one in below if coco_rows.is_of_set(one.name)]
    return CocoForm(of_sets) if of_sets else None


def _stamps_below(folder: str, *suffixes: str) -> Iterator[str]:
    """The stamps of the pictures in a folder and below it, and of files with these suffixes. Output folders
    are not entered. Raises OSError."""
    for file in files_below(folder, silent):
        name = file.path.lower()
        if has_picture_suffix(name) or name.endswith(suffixes):
            yield f"{file.path}\0{file.stamp}\n"
