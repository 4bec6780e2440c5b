"""Where rows come from: a module for each kind of source.

    source_kind.py       what a kind is (SourceKind), what it is given (SourceContext), defaults by name
    images.py            `images:` globs, folders, files and URLs, here and in object stores
    table.py             `table:` files of rows
    dataset.py           `dataset:` imagefolders and saved datasets
    inline_rows.py       `rows:` in the manifest itself

    globs.py             files of folders and globs, in order
    folders.py           what lies in a folder
    picture_files.py     which files of a folder are pictures
    imagefolder_rows.py  rows of an imagefolder
    class_labels.py      names of class labels in such a one
    stored_dataset.py    rows of a dataset with its pictures inside
    labelled_forms.py    which form of labels a dataset has
    coco_rows.py         rows of COCO files
    coco_index.py        what stands where in one
    ultralytics_rows.py  rows of a data.yaml of ultralytics
    voc_rows.py          rows of a Pascal VOC folder
    json_members.py      a large JSON object, member by member
    picture_root.py      where the pictures lie that an annotation file names
    dataset_columns.py   splits, and labels beside a picture's columns
    tables/              the formats of tables
    streams.py           the bytes of a file: local, in a store, standard input
    cell_locator.py      where in its line a cell stands

A new kind is a module with the names of `SourceKind`, and its line in KINDS: grammar, checks, schema, plan
and fingerprint follow.

Rule: rows stream, and nothing here knows the manifest: it is made of what stands here.
"""

from __future__ import annotations

from batcher.job.sources import dataset, images, inline_rows, table
from batcher.job.sources.source_kind import SourceContext, SourceKind

__all__ = ["KINDS", "SourceContext", "SourceKind"]

KINDS: tuple[SourceKind, ...] = (images, table, dataset, inline_rows)
