"""Rows of a Pascal VOC folder: its pictures with their annotations and masks.

    Annotations/1.xml               the objects of a picture
    JPEGImages/1.jpg                the picture
    SegmentationClass/1.png         the class of each pixel (the column `mask`)
    SegmentationObject/1.png        the object of each pixel (`instance_mask`)
    ImageSets/Main/train.txt        the names of a set: train, val or test (`split`); Segmentation/ as well,
                                    and what tools call it: Train.txt, valid.txt
    labelmap.txt                    the classes in their order, where a tool wrote them

Form: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, the development kit.

Rule: a picture that has neither annotation nor mask is not of the dataset, and is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from batcher.errors import Problem
from batcher.job import geometry
from batcher.job.geometry import LabelError
from batcher.job.labels import categories
from batcher.job.labels.picture_size import of_another_size
from batcher.job.labels.voc_file import SUFFIX, VocAnnotation, read_voc_file
from batcher.job.labels.voc_layout import ANNOTATIONS, CLASS_MASKS, IMAGE_SETS, OBJECT_MASKS, PICTURES
from batcher.job.row import Row
from batcher.job.sources.dataset_columns import SPLITS, TRAINING_SETS
from batcher.job.sources.picture_root import picture_columns
from batcher.job.sources.source_kind import SourceContext
from batcher.progress.summary import several
from batcher.storage.addresses import natural_key
from batcher.storage.pictures import has_picture_suffix

MASKS = {"mask": CLASS_MASKS, "instance_mask": OBJECT_MASKS}
LISTS = ("Main", "Segmentation", "")
"""Folders of `ImageSets`, and itself; what several say, the first says."""
SETS = (*TRAINING_SETS.values(),)
CLASS_LIST = "labelmap.txt"
LARGEST_LIST = 64 << 20
_LINE = re.compile(r"line ([0-9]+): (.*)", re.DOTALL)


def is_voc_folder(folder: str) -> bool:
    """Whether a folder of this disk is laid out so."""
    beside = (ANNOTATIONS, *MASKS.values())
    return os.path.isdir(f"{folder}/{PICTURES}") and any(os.path.isdir(f"{folder}/{one}") for one in beside)


def voc_rows(folder: str, source: SourceContext) -> Iterator[Row]:
    """The rows of the folder. Raises OSError."""
    voc = _VocFolder(folder, source)
    voc.note_classes()
    yield from voc.rows()


class _VocFolder:
    """One folder, with the names that lie in it, by their stems."""

    def __init__(self, folder: str, source: SourceContext) -> None:
        self._folder = folder
        self._source = source
        self._pictures = _by_stem(f"{folder}/{PICTURES}", has_picture_suffix)
        self._annotations = _by_stem(f"{folder}/{ANNOTATIONS}", lambda name: name.lower().endswith(SUFFIX))
        self._masks = {
            column: _by_stem(f"{folder}/{below}", has_picture_suffix) for column, below in MASKS.items()
        }
        self._listed: list[str] = []
        self._splits = self._read_splits()

    def note_classes(self) -> None:
        """The classes of all annotations, before the first row: whoever takes a few has all of them."""
        listed = _class_list(f"{self._folder}/{CLASS_LIST}")
        names: set[str] = set()
        for name in self._annotations.values():
            try:
                found = read_voc_file(f"{self._folder}/{ANNOTATIONS}/{name}")
                names |= {str(one) for one in found.labels.classes or ()}
            except (LabelError, OSError):
                continue  # told with its row
        self._source.categories.add(categories.of_voc(names, listed), self._shown(self._folder))

    def rows(self) -> Iterator[Row]:
        """Raises OSError."""
        parts = 0
        without: list[str] = []
        for stem in sorted({*self._pictures, *self._annotations, *self._listed}, key=natural_key):
            masks = {
                column: f"{self._folder}/{MASKS[column]}/{names[stem]}"
                for column, names in self._masks.items()
                if stem in names
            }
            if stem in self._pictures and stem not in self._annotations and not masks:
                without.append(stem)
                continue
            found = self._annotation(stem) if stem in self._annotations else None
            if stem in self._annotations and found is None:
                continue
            picture = self._picture(stem, found)
            if picture is None:
                continue
            if found is not None and found.labels.boxes and (why := of_another_size(picture, *found.size)):
                path = f"{self._folder}/{ANNOTATIONS}/{self._annotations[stem]}"
                self._source.diagnostics.row(Problem(f"{picture}: {why}", self._shown(path)))
                continue
            parts += 0 if found is None else found.parts
            split = {"split": self._splits[stem]} if stem in self._splits else {}
            columns = {**picture_columns(picture, PICTURES), **split, **_labels(found), **masks}
            yield Row(columns, picture, folder=self._source.folder)
        if parts:
            which = several(parts, "part of an object is", "parts of objects are")
            self._warn(f"{which} not carried, and left out (<part>)")
        if deeper := _folders_with_pictures(f"{self._folder}/{PICTURES}"):
            self._warn(
                f"the folders of {PICTURES} are not entered, and their pictures are no rows "
                f"(first: {deeper[0]}): put them beside the others"
            )
        if without:
            these = several(len(without), "picture has", "pictures have")
            self._warn(f"{these} neither annotation nor mask, and is no row (first: {without[0]})")

    def _annotation(self, stem: str) -> VocAnnotation | None:
        path = f"{self._folder}/{ANNOTATIONS}/{self._annotations[stem]}"
        try:
            return read_voc_file(path)
        except LabelError as error:
            placed = _LINE.fullmatch(str(error))
            line, message = (int(placed[1]), placed[2]) if placed else (0, str(error))
            self._source.diagnostics.row(Problem(message, self._shown(path), line))
            return None

    def _picture(self, stem: str, found: VocAnnotation | None) -> str | None:
        """The picture of that name, or the one that its annotation names; None where there is neither, and
        that is told."""
        if (name := self._pictures.get(stem)) is not None:
            return f"{self._folder}/{PICTURES}/{name}"
        named = os.path.basename(found.filename) if found is not None else ""
        if named and os.path.isfile(f"{self._folder}/{PICTURES}/{named}"):
            return f"{self._folder}/{PICTURES}/{named}"
        path = f"{self._folder}/{PICTURES}/{stem}.jpg"
        named_in = self._annotations.get(stem)
        where = IMAGE_SETS if named_in is None else f"{ANNOTATIONS}/{named_in}"
        hint = self._source.near_files.hint(path)
        problem = Problem(f"there is no picture {path}{hint}", self._shown(f"{self._folder}/{where}"))
        self._source.diagnostics.row(problem)
        return None

    def _read_splits(self) -> dict[str, str]:
        """The set of each picture that `ImageSets` names."""
        splits: dict[str, str] = {}
        differ = 0
        for below in LISTS:
            of_folder: dict[str, str] = {}
            for name, path in _lists_in(f"{self._folder}/{IMAGE_SETS}/{below}".rstrip("/")):
                for word in _words(path):
                    of_folder.setdefault(self._stem(word), name)
            differ += sum(splits.get(stem, name) != name for stem, name in of_folder.items())
            splits = {**of_folder, **splits}
        if differ:
            these = several(differ, "picture is", "pictures are")
            self._warn(f"{these} in another set of {LISTS[1]} than of {LISTS[0]}; that of {LISTS[0]} counts")
        self._listed = list(splits)
        return splits

    def _stem(self, word: str) -> str:
        """The picture that a word of a list names: by its stem, or, as some tools write it, by its file."""
        if word in self._pictures or word in self._annotations:
            return word
        stem = os.path.splitext(os.path.basename(word))[0] if has_picture_suffix(word) else word
        return stem if stem in self._pictures or stem in self._annotations else word

    def _shown(self, path: str) -> str:
        return os.path.relpath(path, self._source.folder)

    def _warn(self, sentence: str) -> None:
        self._source.diagnostics.warn(f"{self._shown(self._folder)}: {sentence}")


def _labels(found: VocAnnotation | None) -> dict[str, Any]:
    """The columns of the objects; of a picture without an annotation nothing is known."""
    if found is None:
        return {}
    facts = {} if found.segmented is None else {"segmented": found.segmented}
    return {**facts, **geometry.as_columns(found.labels)}


def _by_stem(folder: str, takes: Any) -> dict[str, str]:
    """The files of a folder by their names without suffix; none where there is no such folder."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {os.path.splitext(name)[0]: name for name in names if takes(name) and not name.startswith(".")}


def _folders_with_pictures(folder: str) -> Sequence[str]:
    """Those that lie in a folder and have pictures in them."""
    try:
        below = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        return [name for name in below if any(map(has_picture_suffix, os.listdir(f"{folder}/{name}")))]
    except OSError:
        return []


def _text(path: str) -> str:
    """A text file of the folder; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST_LIST).decode("utf-8-sig", "replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def _lists_in(folder: str) -> Sequence[tuple[str, str]]:
    """The set and the path of each list in a folder, train first; `cat_train.txt` is of a class, and none."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = {name: name[:-4].lower() for name in names if name.lower().endswith(".txt")}
    found = [(TRAINING_SETS[SPLITS[stem]], f"{folder}/{n}") for n, stem in stems.items() if stem in SPLITS]
    return sorted(found, key=lambda one: SETS.index(one[0]))


def _words(path: str) -> Iterator[str]:
    """The names in the list of a set: the first word of each line."""
    for line in _text(path).splitlines():
        if words := line.split():
            yield words[0]


def _class_list(path: str) -> Sequence[str]:
    """The classes that a labelmap.txt names (`cat:128,0,0::`), but for the background."""
    lines = (line for line in _text(path).splitlines() if not line.startswith("#"))
    names = [line.partition(":")[0].strip() for line in lines]
    return [name for name in names if name and name.lower() != "background"]
