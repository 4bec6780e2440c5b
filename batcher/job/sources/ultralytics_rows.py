"""Rows of an ultralytics data set: the pictures of its sets, with the labels in the text files beside them.

    path: ../pets                            the data set's folder; default: that of the data.yaml
    train: images/train                      a folder, a list of them, or a text file with a picture a line
    val: [images/val, more/images]
    names: {0: cat, 1: dog}                  or a list

Form: ultralytics, `check_det_dataset` and `img2label_paths`: the last folder `images` of a picture's path
becomes `labels`, its suffix `.txt`; where there is none, the label file lies beside the picture.

Rule: a picture without a label file, or with an empty one, has no objects, and how many have none is told: a
folder `labels` in another place would make all pictures empty. One that two sets name comes once.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from batcher import errors
from batcher.errors import ManifestError, Problem
from batcher.job import geometry
from batcher.job.diagnostics import silent
from batcher.job.geometry import LabelError, Labels
from batcher.job.labels import categories, read_label_file
from batcher.job.row import Row
from batcher.job.sources.dataset_columns import TRAINING_SETS, keypoints_left_out, split_of
from batcher.job.sources.globs import files_below
from batcher.job.sources.picture_files import PictureFiles
from batcher.job.sources.picture_root import is_name, is_there, picture_columns
from batcher.job.sources.source_kind import SourceContext
from batcher.job.sources.streams import stamped
from batcher.job.yaml_document import MAX_BYTES, YamlDocument, read_yaml
from batcher.progress.summary import several
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored, resolve
from batcher.storage.pictures import has_picture_suffix

SUFFIXES = (".yaml", ".yml")
SETS = (*TRAINING_SETS.values(),)
LARGEST_LIST = 256 << 20
"""Bytes of a text file that lists pictures."""
DATA_FILES = ("data.yaml", "data.yml", "dataset.yaml")
PEEKED = 1 << 16
"""Bytes of a file by which its form is told."""
_NAMES_SETS = re.compile(rb"^(train|val|test)[ \t]*:", re.MULTILINE)
_LINE = re.compile(r"line ([0-9]+): (.*)", re.DOTALL)


def is_data_file(path: str) -> bool:
    """Whether a file of this disk names sets of pictures, as a data.yaml does."""
    if not path.lower().endswith(SUFFIXES) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return _NAMES_SETS.search(file.read(PEEKED)) is not None


def data_file_of(folder: str) -> str | None:
    """The file of a folder of this disk that describes it; None: it has none."""
    paths = (f"{folder}/{name}" for name in DATA_FILES)
    return next(filter(is_data_file, paths), None)


def ultralytics_rows(path: str, source: SourceContext) -> Iterator[Row]:
    """The rows of the data set that this data.yaml describes. Raises OSError, MissingExtra."""
    data = _read(path, source)
    if data is not None:
        yield from _DataSet(path, data, source).rows()


def ultralytics_stamps(path: str, source: SourceContext) -> Iterator[str]:
    """The data.yaml, every list of pictures, picture and label file. Raises OSError, MissingExtra."""
    yield stamped(path)
    data = _read(path, source)
    if data is not None:
        yield from _DataSet(path, data, source).stamps()


def label_path(picture: str) -> str:
    """Where ultralytics looks for the labels of a picture."""
    before, images, behind = picture.rpartition("/images/")
    moved = f"{before}/labels/{behind}" if images else picture
    return f"{os.path.splitext(moved)[0]}.txt"


def _read(path: str, source: SourceContext) -> Mapping[str, Any] | None:
    """The mapping of a data.yaml; None where it is none, and why is told. Raises OSError, MissingExtra."""
    text = stores.first_bytes(path, MAX_BYTES + 1)
    try:
        document: YamlDocument = read_yaml(text.decode("utf-8-sig"), path, numbers_as_keys=True)
    except UnicodeDecodeError:
        source.error(f"{path} is not UTF-8 text")
        return None
    except ManifestError as error:
        for problem in error.problems:
            source.diagnostics.error(problem)
        return None
    for problem in document.problems:
        source.diagnostics.error(problem)
    data = document.data
    if not isinstance(data, dict) or not any(data.get(name) for name in (*SETS, "validation")):
        source.error(f"{path} is no data.yaml of ultralytics: it has none of `train`, `val`, `test`")
        return None
    return data


class _DataSet:
    """One data set; `points` are the numbers of keypoints in each row of a label file."""

    def __init__(self, path: str, data: Mapping[str, Any], source: SourceContext) -> None:
        self._path = path
        self._source = source
        self._home = path.rpartition("/")[0]
        self._shown = path if is_stored(path) else os.path.relpath(path, source.folder)
        self._sets = {name: self._entries(data, name) for name in SETS}
        self._root = self._find_root(data.get("path"))
        self._names: dict[int, str] = {}
        self._points = _points(data.get("kpt_shape"))
        self._data = data
        self._pictures_of: Counter[str] = Counter()
        self._without: Counter[str] = Counter()
        self._first_without = ""

    def rows(self) -> Iterator[Row]:
        try:
            classes = categories.of_yolo(self._data.get("names"), self._data.get("nc"))
        except LabelError as error:
            self._source.error(f"{self._shown}: {error}")
            return
        self._names = {one.id: one.name for one in classes}
        self._source.categories.add(classes, self._shown)
        self._tell_other_sets()
        posed = 0
        for name, picture in self._pictures():
            self._pictures_of[name] += 1
            labels = self._labels(picture, name)
            if labels is not None:
                posed += len(labels["boxes"]) if self._points else 0
                folder = os.path.relpath(os.path.dirname(picture), self._root)
                own = picture_columns(picture, "" if folder.startswith(".") else folder)
                yield Row({**own, "split": name, **labels}, picture, folder=self._source.folder)
        if posed:
            self._warn(keypoints_left_out(posed))
        if number := self._without.total():
            sets = ", ".join(
                f"{some} of {self._pictures_of[of]} of {of}" for of, some in self._without.items()
            )
            have = several(number, "picture has", "pictures have")
            them = "it is" if number == 1 else "they are"
            self._warn(
                f"{have} no label file, and {them} taken to show no object: {sets} (first: there is no "
                f"{self._first_without})"
            )

    def _tell_other_sets(self) -> None:
        """That a set by another name is none: its pictures would be missed in silence."""
        for name, value in self._data.items():
            read = name in SETS or (name == "validation" and not self._data.get("val"))
            entries = value if isinstance(value, list) else [value]
            if read or split_of(str(name)) is None or not entries or not all(map(is_name, entries)):
                continue
            if all(_exists(_in(self._root, one)) for one in entries) and not is_stored(self._path):
                self._warn(f"`{name}` is not read: ultralytics calls its sets {', '.join(SETS)}")

    def stamps(self) -> Iterator[str]:
        for _, entry in self._places():
            if not _is_folder(entry):
                yield stamped(entry)
        for _, picture in self._pictures():
            yield stamped(picture)
            yield stamped(label_path(picture))

    def _entries(self, data: Mapping[str, Any], name: str) -> list[str]:
        value = data.get(name) or (data.get("validation") if name == "val" else None)
        if value is None:
            return []
        entries = value if isinstance(value, list) else [value]
        if not all(map(is_name, entries)):
            self._source.error(f"{self._shown}: `{name}` is no folder, no text file, and no list of these")
            return []
        return list(entries)

    def _find_root(self, value: Any) -> str:
        """The folder from which the sets start: `path`, from the data.yaml; a data.yaml that lies in the
        folder that it names is found too, for ultralytics itself looks for that among all its data sets."""
        if not is_name(value):
            return self._home
        above = self._home.rpartition("/")[0]
        places = [resolve(self._home, value), resolve(above, value)]
        if os.path.basename(os.path.normpath(value)) == os.path.basename(self._home):
            places.append(self._home)
        first = next(iter(self._sets["train"] or self._sets["val"] or self._sets["test"]), "")
        return next((place for place in places if _exists(_in(place, first))), places[0])

    def _places(self) -> Iterator[tuple[str, str]]:
        """The set and the path of each folder and text file."""
        for name, entries in self._sets.items():
            for entry in entries:
                path = _in(self._root, entry)
                if _exists(path):
                    yield name, path
                elif name == "test":
                    self._warn(f"there is no {path}: the set test is left out")
                else:
                    self._source.error(f"{self._shown}: there is no {path}, which is the set {name}")

    def _pictures(self) -> Iterator[tuple[str, str]]:
        """The set and the path of each picture."""
        seen: dict[str, str] = {}
        again: dict[tuple[str, str], int] = {}
        for name, place in self._places():
            for picture in self._below(place) if _is_folder(place) else self._listed(place):
                if picture in seen:
                    pair = name, seen[picture]
                    again[pair] = again.get(pair, 0) + 1
                else:
                    seen[picture] = name
                    yield name, picture
        for (name, first), number in again.items():
            these = several(number, "picture", "pictures")
            self._warn(f"{these} of {name} came in {first} before, and stay there alone")

    def _below(self, folder: str) -> Iterator[str]:
        files = PictureFiles(folder, self._source.diagnostics.warn)
        for file in files_below(folder, silent):
            if files.takes(file.path):
                yield file.path
        files.finish()

    def _listed(self, path: str) -> Iterator[str]:
        """The pictures that a text file names."""
        text = stores.first_bytes(path, LARGEST_LIST)
        shown = path if is_stored(path) else os.path.relpath(path, self._source.folder)
        for number, line in enumerate(text.decode("utf-8-sig", "replace").splitlines(), 1):
            name = line.strip()
            if not name:
                continue
            starts = (os.path.dirname(path), self._root)
            found = [resolve(start, name) for start in starts] if is_name(name) else []
            picture = next(filter(is_there, found), None)
            if picture is None and found:
                picture = next(filter(None, map(self._source.near_files.find, found)), None)
            wrong = ""
            if not found or not has_picture_suffix(name):
                wrong = f"{name[:200]!r} names no picture"
            elif picture is None:
                wrong = f"there is no picture {found[0]}{self._source.near_files.hint(found[0])}"
            elif not any(f"{picture}/".startswith(f"{folder}/") for folder in (self._root, self._home)):
                wrong = f"{name[:200]!r} lies outside the dataset"
            if wrong or picture is None:
                self._source.diagnostics.row(Problem(wrong, shown, number))
            else:
                yield picture

    def _labels(self, picture: str, of: str) -> dict[str, Any] | None:
        """The columns of the objects of a picture of a set; None where they cannot be read, and why is
        told."""
        path = label_path(picture)
        if not is_there(path):
            found = self._source.near_files.find(path)
            if found is None:
                self._without[of] += 1
                self._first_without = self._first_without or path
                return {"boxes": [], "box_classes": []}
            path = found
        shown = path if is_stored(path) else os.path.relpath(path, self._source.folder)
        try:
            with stores.open_address(picture) as file:
                size = pictures.upright_size(file)
        except (OSError, errors.BadDownload) as error:
            reason = error.message if isinstance(error, errors.BadDownload) else error.strerror
            self._source.diagnostics.row(Problem(f"its labels are shares of its size: {reason}", picture))
            return None
        try:
            return geometry.as_columns(self._named(read_label_file(path, size, points=self._points)))
        except LabelError as error:
            placed = _LINE.fullmatch(str(error))
            line, message = (int(placed[1]), placed[2]) if placed else (0, str(error))
            self._source.diagnostics.row(Problem(message, shown, line))
            return None

    def _named(self, labels: Labels) -> Labels:
        """The labels with the names of their classes. Raises LabelError."""
        for number in labels.classes or ():
            if number not in self._names:
                raise LabelError(
                    f"the class {number} is none of the {len(self._names)} `names` of {self._shown}"
                )
        return replace(labels, classes=tuple(self._names[int(one)] for one in labels.classes or ()))

    def _warn(self, sentence: str) -> None:
        self._source.diagnostics.warn(f"{self._shown}: {sentence}")


def _in(root: str, entry: str) -> str:
    """A folder or file of a set; `../train/images` is meant from within where it is not there above."""
    inner = entry.removeprefix("../")
    ways = [entry, *(way.replace("\\", "/") for way in (entry, inner)), inner]  # written on another system
    paths = [resolve(root, way) for way in ways]
    return next(filter(_exists, paths), paths[-1])


def _is_folder(path: str) -> bool:
    return not path.lower().endswith(".txt") if is_stored(path) else os.path.isdir(path)


def _exists(path: str) -> bool:
    """Of a folder in a store its listing tells whether there is anything."""
    return is_stored(path) or os.path.exists(path)


def _points(shape: Any) -> int:
    """The numbers of keypoints in a row: `kpt_shape: [17, 3]`."""
    two = shape if isinstance(shape, list) and len(shape) == 2 else [0, 0]
    return int(two[0] * two[1]) if all(type(one) is int and 0 < one < 10_000 for one in two) else 0
