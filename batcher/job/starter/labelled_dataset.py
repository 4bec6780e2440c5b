"""A dataset with labels that a person means by a folder, or by the file that describes it: COCO, ultralytics,
Pascal VOC.

Rule: it is taken where its rows can be read; a folder whose labels cannot be is one of pictures.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from batcher.errors import BatcherError, Problem
from batcher.job.diagnostics import Diagnostics
from batcher.job.labels.categories import CategoryTable
from batcher.job.labels.coco_file import coco_files_in, is_coco_file
from batcher.job.labels.voc_layout import PICTURES
from batcher.job.near_files import NearFiles
from batcher.job.row import Row
from batcher.job.sources import dataset
from batcher.job.sources.coco_rows import SUFFIXES as COCO_SUFFIXES
from batcher.job.sources.coco_rows import coco_files
from batcher.job.sources.source_kind import SourceContext
from batcher.job.sources.ultralytics_rows import SUFFIXES as DATA_SUFFIXES
from batcher.job.sources.ultralytics_rows import data_file_of, is_data_file
from batcher.job.sources.voc_rows import is_voc_folder
from batcher.job.yaml_document import read_text, read_yaml

IMAGES = "images"
MOST = 5_000
"""Rows that are read: of more their number is not told."""
NAMES = ("{{ stem }}", "{{ split }}-{{ stem }}", "{{ folder }}-{{ stem }}", "{{ folder }}-{{ name }}")
"""Output names, the shortest first."""


@dataclass(frozen=True, slots=True)
class LabelledDataset:
    """What stands at `dataset:` (absolute); how many pictures it has (None: not counted), and the output name
    that tells them apart, where that is not the stem."""

    path: str
    number: int | None
    name: str


def labelled_dataset(path: str) -> LabelledDataset | None:
    """The dataset that is meant by an absolute path; None: none. Raises OSError."""
    for described in _candidates(path):
        rows, problem = _rows(described)
        if rows and not problem:
            return LabelledDataset(described, len(rows) if len(rows) <= MOST else None, _name(rows))
    return None


def why_not(path: str, typed: str) -> str:
    """What is wrong with the file of a dataset, in words; `typed` is its path as a person wrote it."""
    _, problem = _rows(path)
    if not problem:
        return f"{typed} describes no picture that is there"
    name = os.path.basename(path)
    told = problem.replace(path, typed)
    # The source tells its file from its own folder.
    return f"{typed}{told.removeprefix(name)}" if told.startswith(f"{name}:") else told


def why_no_dataset(path: str, typed: str) -> str:
    """Why a file that is there and no picture describes no dataset, in words."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in COCO_SUFFIXES:
        why = _no_json(path) or "it has no `images`, as a COCO file has"
    elif suffix in DATA_SUFFIXES:
        why = _no_yaml(path, typed) or "it has none of `train`, `val`, `test`, as a data.yaml has"
    else:
        why = "it is no picture, and describes no dataset (a COCO file, a data.yaml, Parquet)"
    return f"{typed} cannot be read as a dataset: {why}"


def _no_json(path: str) -> str:
    try:
        with open(path, "rb") as file:
            json.load(file)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON ({error})"
    return ""


def _no_yaml(path: str, typed: str) -> str:
    try:
        read_yaml(read_text(Path(path)), typed, numbers_as_keys=True)
    except BatcherError as error:
        return f"it is no YAML ({error.lines[0].replace(path, typed)})"
    return ""


def describes_dataset(path: str) -> bool:
    """Whether a file is one that describes a dataset."""
    return os.path.isfile(path) and (_is_coco(path) or is_data_file(path))


def _candidates(path: str) -> Iterator[str]:
    """What may be meant: what is in the folder first, then what lies beside it."""
    if not os.path.isdir(path):
        if describes_dataset(path):
            yield path
        return
    above, own = os.path.split(path)
    if is_voc_folder(path) or len(coco_files(path)) > 1:
        yield path
    yield from _described_by(path)
    if own == PICTURES and is_voc_folder(above):
        yield above
    of_set = f"{above}/annotations/instances_{own}.json"
    if os.path.isfile(of_set):
        yield of_set
    elif own == IMAGES:
        yield from _described_by(above)


def _described_by(folder: str) -> Iterator[str]:
    """The files of a folder that describe it; of several COCO files nobody could say which is meant."""
    if (data_file := data_file_of(folder)) is not None:
        yield data_file
    for place in (folder, f"{folder}/annotations"):
        found = coco_files_in(place)
        if len(found) == 1:
            yield found[0]


def _is_coco(path: str) -> bool:
    return path.endswith(COCO_SUFFIXES) and (path.endswith(COCO_SUFFIXES[1]) or is_coco_file(path))


def _rows(path: str) -> tuple[list[Row], str]:
    """The first rows of a dataset, and what is wrong with it as a whole."""
    folder = os.path.dirname(path)
    diagnostics = Diagnostics(sink=_pass_over)
    source = SourceContext(
        value=(path,),
        key=(),
        file="",
        folder=folder,
        may_be_empty=True,
        diagnostics=diagnostics,
        near_files=NearFiles(),
        categories=CategoryTable(),
        place=lambda key, message: Problem(message),
    )
    try:
        rows = list(islice(dataset.rows(source), MOST + 1))
        diagnostics.judge(1)
    except BatcherError as error:
        return [], error.lines[0]
    return rows, ""


def _pass_over(problem: Problem) -> None:
    """The plan tells what is wrong with a row."""


def _name(rows: list[Row]) -> str:
    """The output name that tells the rows apart; empty: the stem does."""
    for name in NAMES:
        columns = re.findall(r"\w+", name)
        if not all(column in row.columns for row in rows for column in columns):
            continue
        if len({tuple(str(row.columns[one]).casefold() for one in columns) for row in rows}) == len(rows):
            break
    return "" if name == NAMES[0] else name
