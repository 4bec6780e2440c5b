"""Rows of COCO files: a picture each, with the boxes, outlines and masks of its annotations.

    coco/annotations/instances_val2017.json      its pictures in coco/val2017 or coco/images[/val2017]
    set/train/_annotations.coco.json             its pictures beside it
    set/labels.json                              its pictures in set, set/data or set/images

Form: https://cocodataset.org/#format-data. What else an entry of `images` says becomes a column (`id` is
`image_id`); of an annotation its numbers and texts stay with the box (`id`, `iscrowd`, ...).
"""

from __future__ import annotations

import errno
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import IO, Any

from batcher.errors import Problem
from batcher.job import geometry
from batcher.job.geometry import LabelError
from batcher.job.labels.coco_file import as_id, coco_files_in
from batcher.job.labels.picture_size import of_another_size
from batcher.job.row import Row
from batcher.job.sources.coco_index import CocoIndex
from batcher.job.sources.dataset_columns import METADATA, beside_picture, keypoints_left_out, set_of, split_of
from batcher.job.sources.json_members import NoJson, line_at
from batcher.job.sources.picture_root import (
    LOOKED_FOR,
    PictureRoot,
    is_name,
    picture_columns,
)
from batcher.job.sources.source_kind import SourceContext
from batcher.job.sources.streams import PACKED, open_stream
from batcher.progress.summary import several
from batcher.storage import stores
from batcher.storage.addresses import is_stored

SUFFIXES = (".json", ".json.gz")
BESIDE_PICTURES = "_annotations.coco.json"
"""How the file is called that lies beside the pictures of a set."""
OF_SETS = "annotations"
"""The folder that has a file for each set."""
ANNOTATION_FOLDERS = frozenset({"annotations", "annotation", "labels", "ann", "json"})
"""Folders of annotation files; the dataset is the folder above them then."""
LARGEST_UNPACKED = 16 << 30
"""Bytes of a file that is packed with gzip."""
NO_FACTS = frozenset({"id", "file_name", "width", "height"})
"""What of an entry of `images` is read otherwise: the picture itself tells its size."""
LINES_TOLD = 20
"""Wrong annotations whose line is looked up: that costs reading up to it."""


def coco_files(folder: str) -> list[str]:
    """The COCO files of a folder that has some in the places where they are looked for, one for each set."""
    own = f"{folder}/{BESIDE_PICTURES}"
    if os.path.isfile(own):
        return [own]
    try:
        below = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        named = sorted(os.listdir(f"{folder}/{OF_SETS}")) if OF_SETS in below else []
    except OSError:
        return []
    instances = [name for name in named if is_of_set(name)]
    if instances:
        return [f"{folder}/{OF_SETS}/{name}" for name in instances]
    of_sets = [f"{folder}/{name}/{BESIDE_PICTURES}" for name in below]
    if there := [path for path in of_sets if os.path.isfile(path)]:
        return there
    if any(os.path.isfile(f"{folder}/{name}") for name in METADATA):
        return []
    found = coco_files_in(f"{folder}/{OF_SETS}") or coco_files_in(folder)
    return found if len(found) == 1 or all(map(_is_called_by_set, found)) else []


def _is_called_by_set(path: str) -> bool:
    """Whether the name of a file is that of a set: `train.json`, `val2017.json`."""
    return split_of(os.path.basename(path).partition(".")[0]) is not None


def is_of_set(name: str) -> bool:
    """Whether a file of OF_SETS, by its name, has the objects of a set."""
    return name.startswith("instances_") and name.endswith(".json")


def coco_rows(paths: Sequence[str], source: SourceContext) -> Iterator[Row]:
    """The rows of these COCO files. Raises OSError, MissingExtra."""
    for path in paths:
        with closing(_opened(path)) as file:
            try:
                index = CocoIndex(file)
            except NoJson as error:
                place = f":{line_at(file, error.offset)}"
                source.error(f"{path}{place}: {error}")
                continue
            except ValueError as error:
                source.error(f"{path} {error}" if not isinstance(error, LabelError) else f"{path}: {error}")
                continue
            source.categories.add(index.categories, _shown(path, source))
            yield from _CocoFile(path, index, source).rows()


def dataset_folder(path: str) -> str:
    """The folder that a COCO file describes."""
    folder, _, _ = path.rpartition("/")
    above, _, name = folder.rpartition("/")
    return above if name.lower() in ANNOTATION_FOLDERS and above else folder


def _opened(path: str) -> IO[bytes]:
    """A file that may be read at any place: what is packed or lies in a store is copied first."""
    if path.endswith(PACKED) or not is_stored(path):
        file = open_stream(path)
        return _unpacked(file) if path.endswith(PACKED) else file
    return stores.local_copy(path)


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """Raises OSError, also where it unpacks to more than any COCO file has."""
    import tempfile

    copy: Any = tempfile.TemporaryFile()  # noqa: SIM115  # closed by whoever reads it
    try:
        with file:
            while chunk := file.read(1 << 20):
                copy.write(chunk)
                if copy.tell() > LARGEST_UNPACKED:
                    raise OSError(errno.EFBIG, f"unpacks to more than {LARGEST_UNPACKED >> 30} GB")
        copy.seek(0)
    except (EOFError, zlib.error) as error:
        copy.close()
        raise OSError(errno.EIO, f"is damaged: {error}") from error
    except BaseException:
        copy.close()
        raise
    return copy  # type: ignore[no-any-return]


def _shown(path: str, source: SourceContext) -> str:
    return path if is_stored(path) else os.path.relpath(path, source.folder)


class _CocoFile:
    """The rows of one COCO file."""

    def __init__(self, path: str, index: CocoIndex, source: SourceContext) -> None:
        self._path = path
        self._index = index
        self._source = source
        self._shown = _shown(path, source)
        self._folder = path.rpartition("/")[0]
        self._names = {one.id: one.name for one in index.categories}
        name = path.rpartition("/")[2].split(".")[0]
        self._set_name = name if not path.endswith(BESIDE_PICTURES) else self._folder.rpartition("/")[2]
        self._set = set_of(self._set_name)
        self._lines_left = LINES_TOLD
        self._posed = 0

    def rows(self) -> Iterator[Row]:
        """Raises OSError, MissingExtra."""
        dataset = dataset_folder(self._path)
        entries = islice(self._entries(), LOOKED_FOR)
        first = [one.get("file_name") for one, _ in entries if isinstance(one, dict)]
        root = PictureRoot(dataset, self._roots(dataset), first, self._source.near_files)
        strays, first_stray = self._index.strays()
        if strays:
            which = several(strays, "annotation is", "annotations are")
            told = f"{which} of no picture that it names (first: annotation {first_stray})"
            if self._index.all_stray:
                self._source.error(f"{self._shown}: {told}, and no picture has any: all would count as empty")
                return
            self._warn(told)
        ids = set()
        for number, (entry, offset) in enumerate(self._entries(), 1):
            image = as_id(entry.get("id")) if isinstance(entry, dict) else None
            name = entry.get("file_name") if isinstance(entry, dict) else None
            if image is None or not is_name(name):
                self._wrong(offset, f"image {number} has no `id`, or no `file_name` that names its picture")
            elif image in ids:
                self._wrong(offset, f"image {number} ({name!r}) has the id {image} of another one")
            else:
                ids.add(image)
                try:
                    path = root.picture(name)
                except ValueError as error:
                    self._wrong(offset, f"image {image}: {error}")
                    continue
                labels = self._labels(image, name)
                if labels is None:
                    continue
                sizes = entry.get("width"), entry.get("height")
                if labels.get("boxes") and (why := of_another_size(path, *sizes)):
                    self._wrong(offset, f"image {image} ({name!r}): {why}")
                else:
                    yield self._row(path, name, entry, labels, number)
        if self._posed:
            self._warn(keypoints_left_out(self._posed))

    def _entries(self) -> Iterator[tuple[Any, int]]:
        """Raises OSError; an entry that is no UTF-8 is none."""
        entries = self._index.images()
        while True:
            try:
                yield next(entries)
            except StopIteration:
                return
            except ValueError as error:
                self._source.error(f"{self._path}: {error}")
                return

    def _row(
        self, path: str, name: str, entry: Mapping[str, Any], labels: Mapping[str, Any], number: int
    ) -> Row:
        facts = {key: _finite(value) for key, value in entry.items() if key not in NO_FACTS}
        split = {} if self._set is None else {"split": self._set}
        own = picture_columns(path, os.path.dirname(name))
        columns = {**own, **beside_picture({"image_id": entry["id"], **facts}), **split, **labels}
        return Row(columns, self._shown, 0, number, self._folder)

    def _labels(self, image: Any, name: str) -> dict[str, Any] | None:
        """The columns of a picture's objects; None where they cannot be read, and why is told."""
        if not self._index.annotated:
            return {}
        try:
            found = self._index.annotations(image)
        except ValueError as error:
            self._wrong(0, f"the annotations of {name!r} cannot be read: {error}")
            return None
        captions = [one["caption"] for one, _ in found if _is_caption(one)]
        if found and len(captions) == len(found):
            return {"captions": captions}
        try:
            return geometry.as_columns(geometry.from_columns([self._annotation(one) for one, _ in found]))
        except LabelError as error:
            self._tell(found, name, str(error))
            return None

    def _tell(self, found: Sequence[tuple[Any, int]], name: str, message: str) -> None:
        """Which of the annotations is wrong, where it stands, and why."""
        for one, offset in found:
            try:
                geometry.from_columns([self._annotation(one)])
            except LabelError as error:
                which = f"annotation {one.get('id')}" if isinstance(one, dict) else "an annotation"
                self._wrong(offset, f"{which} of {name!r}: {str(error).removeprefix('box 1: ')}")
                return
        self._wrong(found[0][1], f"the annotations of {name!r}: {message}")

    def _annotation(self, one: Any) -> dict[str, Any]:
        """An annotation with the name of its class, and what tools keep in `attributes` beside the rest.
        Raises LabelError."""
        if not isinstance(one, dict):
            raise LabelError("is no mapping")
        named = one.get("category_id")
        number = as_id(named)
        if self._names and named is not None and number not in self._names:
            raise LabelError(f"its `category_id` {str(named)[:60]} is none of the `categories`")
        keypoints = one.get("keypoints")
        self._posed += isinstance(keypoints, list) and any(keypoints)
        further = one.get("attributes")
        return {
            **(further if isinstance(further, dict) else {}),
            # Who reads their number would look for them.
            **{key: value for key, value in one.items() if key != "num_keypoints"},
            **({} if number is None else {"category_id": self._name(number)}),
        }

    def _name(self, number: int | str) -> int | str:
        """What the class of this number is called."""
        return self._names.get(number, number) if isinstance(number, int) else number

    def _roots(self, dataset: str) -> list[str]:
        """The folders that names may start from, those that are of this set alone first."""
        words = [self._set_name, *self._set_name.split("_")[-1:], *([self._set] if self._set else [])]
        places = ("{}", "images/{}", "{}/images")
        of_set = [place.format(word) for word in words for place in places]
        below = [*of_set, "", "images", "data", "JPEGImages"]
        folders = [f"{start}/{place}".rstrip("/") for place in below for start in (self._folder, dataset)]
        own = [self._folder] if self._path.endswith(BESIDE_PICTURES) else []
        return list(dict.fromkeys([*own, *folders]))

    def _wrong(self, offset: int, message: str) -> None:
        """A picture cannot be used."""
        line = 0
        if self._lines_left:
            self._lines_left -= 1
            line = self._index.line(offset)
        self._source.diagnostics.row(Problem(message, self._shown, line))

    def _warn(self, message: str) -> None:
        self._source.diagnostics.warn(f"{self._shown}: {message}")


def _finite(value: Any) -> Any:
    """NaN and the infinities, which Python writes and JSON does not know, are null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_caption(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("caption"), str) and "bbox" not in one
