"""What the rows of every dataset have: the split and label that folders say, labels beside the picture.

Rule: a folder is a split where `datasets` takes it for one: `train`, `val2017`, `training_set`, `my-test`. A
class may well be called `test_tube`: where the name has more than the split's word, the folders beside it
decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from batcher.job.row import IMAGE_COLUMNS, PLAN_VARIABLES

SPLITS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
"""The words of folders' and files' names, and the splits that they mean."""
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""What a folder of pictures has that says what is on them, as `datasets` reads it."""
BESIDE_SPLITS = frozenset({"annotations", "labels", "masks"})
"""Folders that are neither a split nor a class."""
CONTAINERS = frozenset({"data", "images", "image", "imgs", "img", "jpegimages", "photos", "pictures"})
"""Folders that say nothing of what is in them."""
OWN = frozenset({*IMAGE_COLUMNS, *PLAN_VARIABLES})

_WORD = re.compile(rf"(?:.*[-._ 0-9])?({'|'.join(SPLITS)})(?:[-._ 0-9].*)?", re.IGNORECASE)


def split_of(name: str) -> str | None:
    """The split that a folder's or file's name says: a split's word stays as it is written, a name that has
    one in it means that split. None: it says none."""
    if name.lower() in SPLITS:
        return name
    found = _WORD.fullmatch(name)
    return None if found is None else SPLITS[found[1].lower()]


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """Which of the folders side by side are splits, and of what."""
    folders = [name for name in names if name.lower() not in BESIDE_SPLITS]
    splits = {name: split for name in folders if (split := split_of(name)) is not None}
    if len(splits) == len(folders) or len({SPLITS.get(one.lower(), one) for one in splits.values()}) > 1:
        return splits
    return {name: split for name, split in splits.items() if name.lower() in SPLITS}


def folder_labels(parts: Sequence[str], splits: Mapping[int, str]) -> dict[str, Any]:
    """The columns that the folders of a picture say, from the dataset's own down; `splits` has the places in
    `parts` of those that are splits: `train/cat` is the split train and the label cat."""
    columns: dict[str, Any] = {}
    place = min(splits, default=None)
    if place is not None:
        columns["split"] = splits[place]
    below = parts if place is None else parts[place + 1 :]
    above = [] if place is None else [name for name in parts[:place] if name.lower() not in CONTAINERS]
    if label := [*above, *below][-1:]:
        columns["label"] = label[0]
    return columns


def beside_picture(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Labels beside a picture's own columns and the plan's own variables."""
    kept = {name: value for name, value in labels.items() if name not in OWN}
    for name in OWN & labels.keys():
        kept.setdefault(f"source_{name}", labels[name])
    return kept


def set_of(name: str) -> str | None:
    """The set that the name of an annotation file says, in the words that labels have for it: train, val,
    test. None: it says none. `instances_val2017` is val; of `image_info_test-dev2017` the first word counts.
    """
    found = _SET.search(name)
    return None if found is None else TRAINING_SETS[SPLITS[found[1].lower()]]


TRAINING_SETS: Mapping[str, str] = {"train": "train", "validation": "val", "test": "test"}
_SET = re.compile(rf"(?<![A-Za-z])({'|'.join(SPLITS)})(?![A-Za-z])", re.IGNORECASE)


def keypoints_left_out(objects: int) -> str:
    """That the keypoints of so many objects do not go along."""
    of, are = (
        ("1 object", "its box and outline are")
        if objects == 1
        else (f"{objects:,} objects", "boxes and outlines are")
    )
    return f"the keypoints of {of} are not carried, and left out; {are}"
