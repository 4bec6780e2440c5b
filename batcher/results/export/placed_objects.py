"""The objects of a picture as it leaves, for the forms that people train detectors with.

Rule: an object whose place in the picture is not known is none: nothing is guessed, and a picture whose
objects nobody can place does not pass for one without objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from batcher.job import geometry
from batcher.job.geometry import LABEL_COLUMNS, polygons, rle
from batcher.job.geometry.boxes import Box
from batcher.job.geometry.polygons import Polygon
from batcher.job.geometry.rle import Rle
from batcher.progress.summary import several
from batcher.results.export.class_table import ObjectClass
from batcher.results.export.items import ExportItem


@dataclass(frozen=True, slots=True)
class PlacedObject:
    """One object, in pixels of its picture; `attributes` are what else its data set said of it."""

    box: Box
    kind: ObjectClass = None
    outline: tuple[Polygon, ...] = ()
    mask: Rle | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def area(self) -> float:
        """Square pixels: of its mask, else its outline, else its box."""
        if self.mask is not None:
            return float(rle.area(self.mask))
        return polygons.area(self.outline) if self.outline else self.box[2] * self.box[3]

    @property
    def crowd(self) -> bool:
        """Whether it is many at once, as COCO says it."""
        return bool(self.flag("iscrowd"))

    def flag(self, name: str) -> int:
        """0 or 1, as an attribute says."""
        value = self.attributes.get(name)
        return int(str(value).strip().lower() in ("1", "1.0", "true", "yes"))


def objects_of(values: Mapping[str, Any]) -> list[PlacedObject]:
    """The objects in the columns of a picture that leaves."""
    if values.get("boxes") is None:
        return []
    labels = geometry.from_columns(*(values.get(name) for name in LABEL_COLUMNS))
    return [
        PlacedObject(
            box,
            None if labels.classes is None else labels.classes[number],
            () if labels.polygons is None else labels.polygons[number],
            None if labels.rles is None else labels.rles[number],
            {} if labels.attributes is None else labels.attributes[number],
        )
        for number, box in enumerate(labels.boxes)
    ]


@dataclass(slots=True)
class ObjectFacts:
    """What is learned of the objects of an export in its first reading. `outlined`: some have an outline or
    a mask; `unseen` are no longer in their pictures; of `unlabelled` pictures no row says what is on them."""

    classes: set[ObjectClass] = field(default_factory=set)
    outlined: bool = False
    unseen: int = 0
    labelled: int = 0
    unlabelled: int = 0

    def learn(self, item: ExportItem) -> None:
        """One more picture. Of what its original holds too: what it does not show, that may."""
        for prefix in ("", "source_"):
            boxes, classes = (item.values.get(f"{prefix}{name}") for name in ("boxes", "box_classes"))
            if isinstance(classes, list):
                self.classes.update(one for one in classes if isinstance(one, str | int))
            elif isinstance(boxes, list) and boxes:
                self.classes.add(None)
        if item.unplaced:
            return
        boxes, source = item.values.get("boxes"), item.values.get("source_boxes")
        if boxes is None:
            self.unlabelled += 1
            return
        self.labelled += 1
        self.outlined = self.outlined or any(_outlines(item.values))
        self.unseen += max(0, len(source) - len(boxes)) if isinstance(source, list) else 0

    def knows(self, item: ExportItem) -> bool:
        """Whether its objects are of classes that were learned: label files are read anew, and may change."""
        classes = item.values.get("box_classes")
        if classes is None:
            classes = [None] if item.values.get("boxes") else []
        return self.classes.issuperset(classes)

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        notes = []
        if not self.labelled:
            notes.append("no picture has boxes: all leave with their masks, and as without objects")
        elif self.unlabelled:
            notes.append(
                "of 1 picture no row says what is on it: it counts as one without objects"
                if self.unlabelled == 1
                else f"of {self.unlabelled:,} pictures no row says what is on them: "
                "they count as ones without objects"
            )
        if self.unseen:
            objects = several(self.unseen, "object is", "objects are")
            notes.append(f"{objects} left out: the pictures do not show that part of their source")
        if None in self.classes:
            notes.append("objects of which no row says the class are called object")
        return notes


def _outlines(values: Mapping[str, Any]) -> Iterator[bool]:
    """Whether each object has an outline or a mask; a crowd's is none that a form of outlines takes."""
    for prefix in ("", "source_"):
        columns = [values.get(f"{prefix}{name}") for name in ("box_polygons", "box_rles", "box_attributes")]
        for outline, mask, attributes in zip_longest(
            *(one if isinstance(one, list) else () for one in columns)
        ):
            crowd = PlacedObject((0, 0, 0, 0), attributes=attributes or {}).crowd
            yield not crowd and (bool(outline) or mask is not None)
