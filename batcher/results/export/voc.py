"""Pascal VOC: pictures, an XML file of objects for each, their masks, and lists of what is in which split.

    DIR/JPEGImages/*.jpg
    DIR/Annotations/*.xml
    DIR/ImageSets/Main/<split>.txt, Segmentation/<split>.txt (of those that have a mask)
    DIR/SegmentationClass/*.png, SegmentationObject/*.png
    DIR/metadata_<split>.jsonl

Rule: pixels are counted from 1, and both corners belong to a box. A mask's indices are its classes: whatever
palette shows them, they stay.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from batcher.job.labels.voc_layout import ANNOTATIONS, CLASS_MASKS, IMAGE_SETS, OBJECT_MASKS, PICTURES
from batcher.progress.summary import several
from batcher.results.export import batches, voc_masks
from batcher.results.export.class_table import ClassTable
from batcher.results.export.columns import Columns
from batcher.results.export.imagefolder import write
from batcher.results.export.items import ExportItem
from batcher.results.export.loading import LoadedItem
from batcher.results.export.metadata_files import MetadataFiles, MetadataLines
from batcher.results.export.object_files import put_picture, seen_objects, size_of
from batcher.results.export.object_names import ObjectNames
from batcher.results.export.placed_objects import PlacedObject

CROWDS, OTHER_SUFFIX = "crowds", "other suffix"
BLACK_AND_WHITE, NOT_INDEXED = "black and white", "not indexed"
FLAGS = ("truncated", "difficult", "occluded")
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML file can hold, however it is written."""


@dataclass(frozen=True, slots=True)
class VocPicture:
    """One picture that was written: its name, its stem, its metadata line, whether it has a mask of classes;
    and what there is to tell of it, counted."""

    variant: bool
    file: str
    stem: str
    line: str
    masked: bool
    noted: Mapping[str, int]


class Voc:
    """Writes one into `target`."""

    largest = batches.HANDFUL_SAMPLES, batches.HANDFUL_BYTES
    leads: frozenset[str] = frozenset()
    about = (
        "It is in Pascal VOC's layout: `JPEGImages`, `Annotations`, `ImageSets/Main/<split>.txt`, and, where "
        "there are masks, `SegmentationClass` and `SegmentationObject`. `metadata_<split>.jsonl` has what "
        "else is known of the pictures."
    )

    def __init__(self, target: Path, columns: Columns, showing: Collection[str], classes: ClassTable) -> None:
        self._target = target
        self._names = ObjectNames(spaces=False)
        lines = MetadataLines.of_columns(columns)
        self._notes = lines.notes
        self.write = partial(_files, target, lines, classes)
        self._metadata = MetadataFiles(lambda split: target / _metadata(split), showing)
        self._lists: dict[str, IO[str]] = {}
        self._noted: Counter[str] = Counter()
        self._patterns: set[str] = set()

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        notes = [*self._notes]
        if number := self._noted[CROWDS]:
            are = several(number, "crowd is", "crowds are")
            notes.append(f"{are} marked as difficult: VOC has no word for them")
        if number := self._noted[OTHER_SUFFIX]:
            files = several(number, "picture", "pictures")
            notes.append(f"{files} in {PICTURES} with another suffix than .jpg, which some readers expect")
        if number := self._noted[BLACK_AND_WHITE]:
            masks = several(number, "mask is", "masks are")
            notes.append(f"{masks} black and white (0 and 255): in VOC, 255 is no class but void")
        if number := self._noted[NOT_INDEXED]:
            masks = several(number, "mask is", "masks are")
            notes.append(
                f"{masks} in colour, or of 16 bits, and left so: readers of VOC expect the indices of classes"
            )
        return notes

    def tops(self, splits: Collection[str]) -> list[str]:
        """The same for all splits."""
        return [PICTURES, ANNOTATIONS, IMAGE_SETS, CLASS_MASKS, OBJECT_MASKS]

    def named(self, item: ExportItem) -> ExportItem:
        """With a stem of its own, without spaces: lists are read word by word."""
        return self._names.named(item)

    def take(self, split: str, written: list[VocPicture]) -> None:
        """Each picture into the lists of its split."""
        for picture in written:
            self._metadata.add(split, picture.file if picture.variant else "", picture.line)
            self._patterns.add(f"{PICTURES}/*{_suffix(picture.file)}")
            self._noted.update(picture.noted)
            self._list(f"Main/{split}").write(f"{picture.stem}\n")
            if picture.masked:
                self._list(f"Segmentation/{split}").write(f"{picture.stem}\n")

    def files(self, split: str) -> list[str]:
        """The split's metadata, which names its pictures among all."""
        return [_metadata(split), *sorted(self._patterns)] if f"Main/{split}" in self._lists else []

    def finish(self) -> None:
        """The lists, and metadata.jsonl."""
        self._metadata.finish()
        for name, file in self._lists.items():
            file.close()
            os.replace(self._path(name, ".new"), self._path(name, ".txt"))

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        self._metadata.close()
        self._names.close()
        for file in self._lists.values():
            file.close()

    def _list(self, name: str) -> IO[str]:
        if name not in self._lists:
            path = self._path(name, ".new")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lists[name] = open(path, "w", encoding="utf-8")  # noqa: SIM115  # closed by finish()
        return self._lists[name]

    def _path(self, name: str, suffix: str) -> Path:
        return self._target / IMAGE_SETS / f"{name}{suffix}"


def _files(
    target: Path, lines: MetadataLines, classes: ClassTable, split: str, pictures: Iterator[LoadedItem]
) -> list[VocPicture]:
    """A handful of pictures under their names, with their objects and masks."""
    written = []
    for picture in pictures:
        item, noted = picture.item, Counter[str]()
        name = put_picture(picture, target / PICTURES, _suffix(item.name))
        noted[OTHER_SUFFIX] += _suffix(item.name) != ".jpg"
        places: dict[str, str] = {}
        for folder, mask in ((CLASS_MASKS, picture.mask), (OBJECT_MASKS, picture.instance_mask)):
            if mask is not None:
                found = voc_masks.with_palette(mask[1])
                noted[BLACK_AND_WHITE] += found.black_and_white and folder == CLASS_MASKS
                noted[NOT_INDEXED] += not found.indexed
                places[folder] = f"{folder}/{item.key}.png"
                write(target / places[folder], found.content)
        objects = list(seen_objects(picture))
        noted[CROWDS] += sum(one.crowd for one in objects)
        document = annotation(picture, name, objects, classes, segmented=CLASS_MASKS in places)
        write(target / ANNOTATIONS / f"{item.key}.xml", document)
        place = f"{PICTURES}/{name}"
        line = lines.of(item, place, places.get(CLASS_MASKS), places.get(OBJECT_MASKS))
        written.append(
            VocPicture(item.folder == "images", item.name, item.key, line, CLASS_MASKS in places, +noted)
        )
    return written


def annotation(
    picture: LoadedItem, name: str, objects: Collection[PlacedObject], classes: ClassTable, *, segmented: bool
) -> bytes:
    """The XML file of one picture, which is called `name`."""
    size = size_of(picture)
    root = ElementTree.Element("annotation")
    _text(root, "folder", PICTURES)
    _text(root, "filename", name)
    sizes = ElementTree.SubElement(root, "size")
    for tag, value in zip(("width", "height", "depth"), (*size, _depth(picture)), strict=True):
        _text(sizes, tag, str(value))
    _text(root, "segmented", str(int(segmented)))
    for one in objects:
        _object(root, one, classes.name(one.kind), size)
    ElementTree.indent(root, "\t")
    return f"{ElementTree.tostring(root, encoding='unicode')}\n".encode()


def _object(root: ElementTree.Element, one: PlacedObject, name: str, size: tuple[int, int]) -> None:
    element = ElementTree.SubElement(root, "object")
    _text(element, "name", name)
    _text(element, "pose", str(one.attributes.get("pose") or "Unspecified"))
    for flag in FLAGS:
        if flag != "occluded" or flag in one.attributes:
            _text(element, flag, str(int(one.flag(flag) or (flag == "difficult" and one.crowd))))
    box = ElementTree.SubElement(element, "bndbox")
    x, y, width, height = one.box
    for tag, value in zip(("xmin", "ymin"), (x, y), strict=True):
        _text(box, tag, str(_first(value, size[tag == "ymin"])))
    for tag, start, length in (("xmax", x, width), ("ymax", y, height)):
        side = size[tag == "ymax"]
        _text(box, tag, str(max(_first(start, side), min(side, round(start + length)))))


def _first(start: float, side: int) -> int:
    """The first pixel of a box, counted from 1."""
    return min(side, round(start) + 1)


def _text(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _suffix(name: str) -> str:
    """VOC's pictures are .jpg."""
    suffix = Path(name).suffix.lower()
    return ".jpg" if suffix == ".jpeg" else suffix


def _metadata(split: str) -> str:
    return f"metadata_{split}.jsonl"


def _depth(picture: LoadedItem) -> int:
    """How many channels it has."""
    from PIL import Image

    content = picture.content
    with Image.open(picture.item.address if content is None else io.BytesIO(content)) as image:
        return 3 if image.mode == "P" else len(image.getbands())
