"""The classes of a job's objects: their ids, names and order, as the data sets that it reads say them.

    COCO           `categories: [{"id": 1, "name": "cat", "supercategory": "animal"}, ...]`
    ultralytics    `names: [cat, dog]` or `names: {0: cat, 1: dog}`
    Pascal VOC     no list: the names of its objects; the twenty of the challenge have its numbers

Rule: a class keeps its id and its place through a whole job, also one of which no object is there. Where data
sets disagree, what came first stays, and that is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batcher.job.geometry import LabelError
from batcher.job.labels.coco_file import as_id
from batcher.progress.summary import several

MOST = 100_000
"""Classes of one data set."""
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person",
    "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The classes of the challenge; their numbers, from 1, are the indices of its masks."""


@dataclass(frozen=True, slots=True)
class Category:
    """A class of objects; `supercategory` is what COCO files have of it."""

    id: int
    name: str
    supercategory: str | None = None


def of_coco(value: Any) -> tuple[Category, ...]:
    """The `categories` of a COCO file, in its order. Raises LabelError."""
    if not isinstance(value, list):
        raise LabelError("`categories` is no list")
    categories = []
    for number, one in enumerate(value, 1):
        identity, name = (one.get("id"), one.get("name")) if isinstance(one, dict) else (None, None)
        identity = as_id(identity)
        if not isinstance(identity, int) or not isinstance(name, str) or not name:
            raise LabelError(f"category {number} has no `id` that is a whole number, or no `name`")
        above = one.get("supercategory")
        categories.append(Category(identity, name, above if isinstance(above, str) and above else None))
    return _checked(categories)


def of_yolo(names: Any, number: Any = None) -> tuple[Category, ...]:
    """The `names` of an ultralytics data.yaml; without these as many as its `nc` says, called as ultralytics
    calls them. Raises LabelError."""
    if names is None and type(number) is int and 0 < number <= MOST:
        names = [f"class_{one}" for one in range(number)]
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if isinstance(names, dict) and not names:
        raise LabelError("`names` is empty: it is to name the classes")
    if not isinstance(names, dict):
        raise LabelError("`names` is neither a list of classes nor a mapping of their numbers to names")
    categories = []
    for key, name in names.items():
        text = str(key)
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise LabelError(f"`names`: {text[:60]!r} is no number of a class")
        if name is None or isinstance(name, list | dict) or not str(name):
            raise LabelError(f"`names`: the class {text} has no name")
        categories.append(Category(int(text), str(name)))
    return _checked(sorted(categories, key=lambda one: one.id))


def of_voc(names: Iterable[str], listed: Sequence[str] = ()) -> tuple[Category, ...]:
    """The classes of a Pascal VOC folder, from 1 (0 is the background of its masks): as its own list has
    them, else by the numbers of the challenge where they are of it, else by name."""
    found = set(names)
    known = list(dict.fromkeys(listed))
    if not known and found <= set(VOC_CLASSES):
        known = [*VOC_CLASSES] if found else []
    whole = [*known, *sorted(found - set(known))]
    return tuple(Category(place, name) for place, name in enumerate(whole, 1))


def _checked(categories: Sequence[Category]) -> tuple[Category, ...]:
    """Raises LabelError where one id has two names: nobody could say which an annotation means."""
    if len(categories) > MOST:
        raise LabelError(f"has {len(categories):,} classes; at most {MOST:,} are read")
    names: dict[int, str] = {}
    for one in categories:
        if (other := names.setdefault(one.id, one.name)) != one.name:
            raise LabelError(f"the class {one.id} has two names: {other[:60]!r} and {one.name[:60]!r}")
    return tuple(categories)


class CategoryTable:
    """The classes of all data sets of one planning, in the order in which they came."""

    def __init__(self) -> None:
        self._by_name: dict[str, Category] = {}
        self._origins: dict[str, str] = {}
        self._changed: dict[str, str] = {}

    @property
    def categories(self) -> tuple[Category, ...]:
        """Each name once, each id once."""
        return tuple(self._by_name.values())

    def add(self, categories: Collection[Category], origin: str) -> None:
        """The classes of one data set, which `origin` names to people. A name that is known keeps its id; a
        new one whose id another name has gets the next that is free."""
        taken = {one.id for one in self._by_name.values()}
        new: dict[str, Category] = {}
        for one in categories:
            known = self._by_name.get(one.name) or new.get(one.name)
            if known is None:
                new[one.name] = one
                continue
            if known.id != one.id:
                where = self._origins.get(one.name, origin)
                self._changed[one.name] = f"{one.name!r} is {known.id} in {where} and {one.id} in {origin}"
            if known.supercategory is None and one.supercategory is not None:
                kept = new if one.name in new else self._by_name
                kept[one.name] = replace(known, supercategory=one.supercategory)
        free = max([*taken, *(one.id for one in new.values())], default=-1) + 1
        for name, one in new.items():
            if one.id in taken:
                self._changed[name] = f"{name!r} is {one.id} in {origin}, which another class has already"
                one, free = replace(one, id=free), free + 1
            self._by_name[name] = one
            self._origins[name] = origin

    def conflict(self) -> str:
        """That data sets disagree, in a sentence; empty: they do not."""
        if not self._changed:
            return ""
        name, first = next(iter(self._changed.items()))
        number = len(self._changed)
        classes = several(number, "class has", "classes have")
        return (
            f"{classes} another number in one data set than in another; what came first stays "
            f"(first: {first}; it is {self._by_name[name].id} in this job)"
        )


def as_text(categories: Iterable[Category]) -> str:
    """How the ledger notes them."""
    return json.dumps([[one.id, one.name, one.supercategory] for one in categories], ensure_ascii=False)


def from_text(text: str) -> tuple[Category, ...]:
    """What `as_text` has written."""
    return tuple(Category(*one) for one in json.loads(text))
