"""What looks like labels in a row, and is not carried into the pictures that are made: told in the plan.

Rule: what is read as labels stands in the columns that `geometry.from_row` and `label_file` know, and in
`mask`. A column that only looks like them is a warning: its boxes would be off by the margin, without a word.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from batcher.job.geometry import LABEL_COLUMNS, are_objects
from batcher.job.labels.coco_file import PEEKED, coco_files_in, is_coco_file
from batcher.job.labels.label_files import OTHER, VOC
from batcher.job.row import IMAGE_COLUMNS
from batcher.storage.addresses import is_url
from batcher.storage.pictures import has_picture_suffix

CARRIED = frozenset({*LABEL_COLUMNS, "mask", "instance_mask"})
LABEL_KEYS = frozenset(
    {"bbox", "bboxes", "boxes", "segmentation", "polygon", "polygons", "points", "keypoints", "rle"}
)
"""Keys of a mapping that holds labels."""
CORNERS = frozenset({"xmin", "ymin", "xmax", "ymax", "x_min", "y_min", "x_max", "y_max"})
NAMES = LABEL_KEYS | {
    *("annotation", "annotations", "bounding_box", "bounding_boxes", "contour", "contours", "gt_boxes"),
    *("landmarks", "objects", "segmentations", "segments", "shapes"),
}
"""Names of columns that are given to labels."""
OF_PICTURES = re.compile(
    r"(?:^|[-_ .])(?:masks?|segm?|segmentation|panoptic|semantic|instances?|depth|matte)(?:$|[-_ .0-9])"
)
"""Words in the name of a column whose picture shows the same scene, pixel by pixel."""
YOLO_ROWS = re.compile(r"\s*[0-9]+(?:[ \t]+[01]?\.[0-9]+){4,}\s*(?:\n|$)")
JSON_LABELS = re.compile(
    rb'"(?:shapes|objects|bbox|boundingBox|bounding_box|points|polygons?|segmentation)"\s*:\s*[\[{]'
)
NUMBERS = re.compile(r"[-+0-9.,;eE \t]+")
ROWS = 200
"""Rows that are looked at: those of one source are alike."""
LARGEST = 100_000
"""Characters of a cell that are looked at."""


class UncarriedLabels:
    """Gathers the columns that look like labels; `used` are those that the request itself reads."""

    def __init__(self, used: Iterable[str]) -> None:
        self._used = frozenset(used)
        self._columns: dict[str, None] = {}
        self._file = ""
        self._looked: set[str] = set()
        self._left = ROWS

    @property
    def looks(self) -> bool:
        """Whether another row is to be looked at."""
        return self._left > 0

    def look(self, columns: Mapping[str, Any], picture: str | None) -> None:
        """Looks at a row; `picture` is where its picture lies, where that is known."""
        if not self.looks:
            return
        self._left -= 1
        for name, value in columns.items():
            if name not in self._columns and name not in self._used and looks_uncarried(name, value):
                self._columns[name] = None
        carried = "boxes" in columns or "labels" in columns or are_objects(columns.get("objects"))
        if not carried and not self._file and picture is not None and os.path.isabs(picture):
            there = (path for path in _beside(picture) if os.path.isfile(path))
            self._file = (
                next(there, "")
                or self._coco(picture)
                or next(filter(_holds_labels_of_one, _of_one_picture(picture)), "")
            )

    def _coco(self, picture: str) -> str:
        """A COCO file in a folder where those of pictures usually lie; empty: none."""
        folder = os.path.dirname(picture)
        above = os.path.dirname(folder)
        for place in (
            folder,
            above,
            *(f"{one}/annotations" for one in (folder, above, os.path.dirname(above))),
        ):
            if place not in self._looked:
                self._looked.add(place)
                if found := coco_files_in(place):
                    return found[0]
        return ""

    def sentences(self) -> Iterable[str]:
        """What is to be told."""
        if self._columns:
            names = ", ".join(f"`{name}`" for name in self._columns)
            columns, they = ("column", "it is") if len(self._columns) == 1 else ("columns", "they are")
            yield (
                f"the {columns} {names} may hold labels of the pictures, and {they} not carried into those "
                "that are made: boxes are read from `boxes`, `objects` or label files in `labels`, masks "
                "from `mask`"
            )
        if self._file:
            suffix = os.path.splitext(self._file)[1]
            way = f'`companions: {{labels: ".../{{{{ stem }}}}{suffix}"}}` carries'
            if suffix == ".json":
                way = f"`dataset: {self._file}` carries"
                if not is_coco_file(self._file):
                    way = "written as YOLO, Pascal VOC or COCO, `companions` or `dataset` carry"
            yield (
                f"labels may lie beside the pictures ({self._file}), and are not read: "
                f"{way} them into the pictures that are made"
            )


def looks_uncarried(name: str, value: Any) -> bool:
    """Whether a cell looks like labels that nothing carries."""
    if name in CARRIED or name in IMAGE_COLUMNS or name.startswith("source_") or value in (None, "", [], {}):
        return False
    if name == "objects" and are_objects(value):
        return False
    if isinstance(value, str):
        return _text_looks(name, value[:LARGEST])
    if isinstance(value, list | dict):
        return _holds_labels(value) or (name.lower() in NAMES and _holds_numbers(value))
    return name.lower() in CORNERS and _is_number(value)


def _text_looks(name: str, value: str) -> bool:
    if "\n" not in value and len(value) < 4096 and not is_url(value):
        if has_picture_suffix(value):
            return OF_PICTURES.search(name.lower()) is not None or name == "labels"
        if name != "labels" and value.lower().endswith((VOC, *OTHER)):
            return True
    if value.lstrip()[:1] in ("[", "{"):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return False
        return isinstance(inner, list | dict) and looks_uncarried(name, inner)
    if name.lower() in NAMES | CORNERS:
        return NUMBERS.fullmatch(value) is not None
    return YOLO_ROWS.match(value) is not None


def _holds_labels(value: list[Any] | dict[str, Any]) -> bool:
    """Whether it is a mapping with a key of labels, or a list of such, or of four numbers each or more."""
    if isinstance(value, dict):
        return bool(LABEL_KEYS & value.keys())
    if not value:
        return False
    if all(isinstance(one, dict) for one in value):
        return any(LABEL_KEYS & one.keys() for one in value)
    return all(isinstance(one, list) and len(one) >= 4 and all(map(_is_number, one)) for one in value)


def _holds_numbers(value: Any) -> bool:
    """Whether a number stands in it, however deep: a list of words is none of places."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return _is_number(value) or any(map(_holds_numbers, inner))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_one_picture(picture: str) -> list[str]:
    """Where tools put a file for each picture that may hold other things as well: darknet and LabelMe beside
    it, Supervisely in `ann`."""
    folder, name = os.path.split(picture)
    above, stem = os.path.dirname(folder), os.path.splitext(name)[0]
    of_folders = [f"{above}/{one}/{stem}.json" for one in ("labels", "annotations", "json", "ann")]
    return [f"{folder}/{stem}.txt", f"{folder}/{stem}.json", *of_folders, f"{above}/ann/{name}.json"]


def _holds_labels_of_one(path: str) -> bool:
    """Whether a file begins as one of a picture's labels does, and not as its caption, or as one that says
    where it is from."""
    try:
        with open(path, "rb") as file:
            head = file.read(PEEKED)
    except OSError:
        return False
    if path.endswith(".txt"):
        return YOLO_ROWS.match(head.decode("utf-8-sig", "replace")) is not None
    return JSON_LABELS.search(head) is not None


def _beside(picture: str) -> list[str]:
    """Where labels of a picture usually lie: as trainers look for them."""
    folder, name = os.path.split(picture)
    stem = os.path.splitext(name)[0]
    above = os.path.dirname(folder)
    before, images, behind = picture.rpartition("/images/")
    moved = [f"{before}/labels/{os.path.splitext(behind)[0]}.txt"] if images else []
    of_folders = [f"{above}/{name}/{stem}.xml" for name in ("Annotations", "annotations")]
    of_set = f"{folder}/_annotations.coco.json"
    return [*moved, f"{above}/labels/{stem}.txt", *of_folders, f"{folder}/{stem}.xml", of_set]
