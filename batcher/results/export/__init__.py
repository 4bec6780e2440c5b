"""The ledger's delivered pictures as a dataset that loads in one line.

    export_options.py  what is asked for, and what came of it
    exporter.py     the way between
    splits.py, own_splits.py    which split a source picture belongs to: drawn, or as its row says
    exclusion.py    the pictures that a person has rejected
    originals.py    what it was made from
    items.py        a delivered picture, and its original, as they leave: file, columns, mask
    dataset_labels.py    the labels of the job's data sets, as they are now
    columns.py      one type for every column
    masks.py, shared_masks.py    a mask of the source, laid where the source lies; those that are no labels
    loading.py      a picture is brought here and looked at before it is written
    captions.py     the text beside each picture
    writer.py       which forms there are, and what each must be able to do
    batches.py      which pictures leave in one piece of work, on whatever machine
    imagefolder.py, webdataset.py, parquet.py    the forms of columns
    metadata_files.py, metadata_table.py, unique_stems.py    what several forms write, and how they name
    coco.py, yolo.py, voc.py, voc_masks.py    the forms of objects, in which detectors are trained
    placed_objects.py, object_names.py, object_files.py, class_table.py    what these share
    first_reading.py, leading_rows.py  what is learned before anything is written; where a split begins
    row_counts.py   what the rows hold, counted as they leave
    card.py         README.md, the card of the dataset

Rule: an export adds nothing, drops nothing silently, and never writes over what is there. It reads a snapshot
of the ledger, beside whatever run may go on.
"""

from __future__ import annotations

from batcher.results.export.export_options import ExportOptions, ExportResult
from batcher.results.export.exporter import export
from batcher.results.export.splits import Splits
from batcher.results.export.writer import ExportFormat

__all__ = ["ExportFormat", "ExportOptions", "ExportResult", "Splits", "export"]
