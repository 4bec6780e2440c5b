"""COCO: pictures by split, and one JSON file of their objects for each.

    DIR/<split>/*.jpg, metadata.jsonl
    DIR/annotations/instances_<split>.json      file_name is relative to DIR/<split>
    DIR/masks/<split>/*.png, instance_masks/<split>/*.png

Rule: ids are the same in every export: a picture's comes from its key and content, an object's from its
picture and its place there, a category's from its data set. Objects are written as they come: memory does not
grow with them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from batcher.job.geometry import polygons, rle
from batcher.results.export import batches
from batcher.results.export.class_table import ClassTable
from batcher.results.export.columns import Columns
from batcher.results.export.items import ExportItem
from batcher.results.export.loading import LoadedItem
from batcher.results.export.metadata_files import INSTANCE_MASK, MASK, METADATA, MetadataFiles, MetadataLines
from batcher.results.export.object_files import put_masks, put_picture, size_of
from batcher.results.export.object_names import ObjectNames
from batcher.results.export.placed_objects import PlacedObject, objects_of

ANNOTATIONS = "annotations"
OBJECT_BITS = 16
"""Of an object's number within its picture."""
OWN_KEYS = frozenset({"id", "image_id", "category_id", "bbox", "segmentation", "area", "iscrowd"})


@dataclass(frozen=True, slots=True)
class CocoPicture:
    """One picture that was written: its file, its metadata line, its entry of `images`, and those of its
    objects, each as JSON."""

    variant: bool
    file: str
    line: str
    image: str
    annotations: tuple[str, ...]


class Coco:
    """Writes one into `target`."""

    largest = batches.HANDFUL_SAMPLES, batches.HANDFUL_BYTES
    leads: frozenset[str] = frozenset()
    about = (
        "Objects stand in COCO's form in `annotations/instances_<split>.json`; the pictures of a split lie "
        "in the folder of its name, and what else is known of them in `metadata.jsonl` there."
    )

    def __init__(self, target: Path, columns: Columns, showing: Collection[str], classes: ClassTable) -> None:
        self._target = target
        self._classes = classes
        self._names = ObjectNames()
        lines = MetadataLines.of_columns(columns, also_text=[MASK, INSTANCE_MASK])
        self.notes = lines.notes
        self.write = partial(_files, target, lines, classes)
        self._metadata = MetadataFiles(lambda split: target / split / METADATA, showing)
        self._parts: dict[str, dict[str, IO[str]]] = {}
        self._patterns: dict[str, set[str]] = {}

    def tops(self, splits: Collection[str]) -> list[str]:
        """The splits' folders, and those of what belongs to their pictures."""
        return [*splits, ANNOTATIONS, "masks", "instance_masks"]

    def named(self, item: ExportItem) -> ExportItem:
        """With a stem and a number of its own."""
        return self._names.named(item)

    def take(self, split: str, written: list[CocoPicture]) -> None:
        """The entries of each picture."""
        for picture in written:
            if split not in self._parts:
                self._parts[split] = {part: self._opened(split, part) for part in ("images", ANNOTATIONS)}
            self._patterns.setdefault(split, set()).add(f"*{Path(picture.file).suffix}")
            self._metadata.add(split, picture.file if picture.variant else "", picture.line)
            for part, entries in (("images", [picture.image]), (ANNOTATIONS, picture.annotations)):
                file = self._parts[split][part]
                for entry in entries:
                    file.write(f"{',' if file.tell() else ''}\n{entry}")

    def files(self, split: str) -> list[str]:
        """By suffix, beside their metadata."""
        return [f"{split}/{pattern}" for pattern in (METADATA, *sorted(self._patterns.get(split, ())))]

    def finish(self) -> None:
        """Every metadata.jsonl and every file of annotations takes its place."""
        self._metadata.finish()
        for split, parts in self._parts.items():
            unfinished = self._path(split, "new")
            with open(unfinished, "w", encoding="utf-8") as file:
                file.write('{\n"info": {"description": "exported by batcher"},\n"licenses": []')
                for part, gathered in parts.items():
                    gathered.close()
                    file.write(f',\n"{part}": [')
                    with open(self._path(split, part), encoding="utf-8") as entries:
                        shutil.copyfileobj(entries, file)
                    file.write("\n]")
                    self._path(split, part).unlink()
                file.write(f',\n"categories": {json.dumps(self._categories(), ensure_ascii=False)}\n}}\n')
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self._target / ANNOTATIONS / f"instances_{split}.json")

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        self._metadata.close()
        self._names.close()
        for parts in self._parts.values():
            for file in parts.values():
                file.close()

    def _categories(self) -> list[dict[str, Any]]:
        return [
            {"id": one.id, "name": one.name}
            | ({} if one.supercategory is None else {"supercategory": one.supercategory})
            for one in self._classes.classes
        ]

    def _path(self, split: str, part: str) -> Path:
        return self._target / ANNOTATIONS / f".{split}.{part}"

    def _opened(self, split: str, part: str) -> IO[str]:
        path = self._path(split, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "w", encoding="utf-8")


def annotation(one: PlacedObject, image: int, number: int, category: int) -> dict[str, Any]:
    """The entry of one object, the `number`th of its picture."""
    segmentation: Any = rle.as_json(one.mask) if one.mask is not None else polygons.as_json(one.outline)
    others: Mapping[str, Any] = {
        name: value for name, value in one.attributes.items() if name not in OWN_KEYS
    }
    return {
        "id": (image << OBJECT_BITS) + number,
        "image_id": image,
        "category_id": category,
        "bbox": [round(part, 2) for part in one.box],
        "segmentation": segmentation,
        "area": round(one.area, 2),
        "iscrowd": int(one.crowd),
        **others,
        **({"source_id": one.attributes["id"]} if "id" in one.attributes else {}),
    }


def _files(
    target: Path, lines: MetadataLines, classes: ClassTable, split: str, pictures: Iterator[LoadedItem]
) -> list[CocoPicture]:
    """A handful of pictures under their names, and their entries."""
    written = []
    for picture in pictures:
        item = picture.item
        name = put_picture(picture, target / split)
        masks = put_masks(picture, target, split)
        size = dict(zip(("width", "height"), size_of(picture), strict=True))
        written.append(
            CocoPicture(
                item.folder == "images",
                item.name,
                lines.of(item, name, *masks),
                json.dumps({"id": item.number, "file_name": name, **size}, ensure_ascii=False),
                tuple(
                    json.dumps(annotation(one, item.number, number, classes.of(one.kind).id))
                    for number, one in enumerate(objects_of(item.values))
                ),
            )
        )
    return written
