"""YOLO, as ultralytics lays it out: pictures, a text file of objects for each, and data.yaml.

    DIR/data.yaml
    DIR/images/<split>/*.jpg, metadata.jsonl
    DIR/labels/<split>/*.txt      class x y width height, or class x1 y1 x2 y2 ... where there are outlines
    DIR/masks/<split>/*.png, instance_masks/<split>/*.png

Rule: all files of a dataset have rows of one kind, for trainers take no mixture. A picture without objects
has an empty file.

Form: ultralytics, "Object Detection Datasets Overview" and "Instance Segmentation Datasets Overview".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from batcher.job.geometry.polygons import Polygon
from batcher.job.geometry.rle_outlines import joined, outlines
from batcher.job.sources.dataset_columns import SPLITS, TRAINING_SETS
from batcher.progress.summary import several
from batcher.results.export import batches
from batcher.results.export.class_table import ClassTable, ObjectClass
from batcher.results.export.columns import Columns
from batcher.results.export.imagefolder import write
from batcher.results.export.items import ExportItem
from batcher.results.export.loading import LoadedItem
from batcher.results.export.metadata_files import INSTANCE_MASK, MASK, METADATA, MetadataFiles, MetadataLines
from batcher.results.export.object_files import put_masks, put_picture, seen_objects, size_of
from batcher.results.export.object_names import ObjectNames
from batcher.results.export.placed_objects import PlacedObject

DATA = "data.yaml"
IN_PLACE_OF = {"val": ("test", "train"), "train": ()}
"""The splits without which no trainer begins, and what is taken where there is none: another that data.yaml
has no word for, before one that is kept to judge by."""
CROWDS, BOXED = "crowds", "boxed"


@dataclass(frozen=True, slots=True)
class YoloPicture:
    """One picture that was written: its file, its metadata line; how many of its objects left in another way
    than they stood there (CROWDS, BOXED)."""

    variant: bool
    file: str
    line: str
    noted: Mapping[str, int]


class Yolo:
    """Writes one into `target`. `outlined`: some objects have outlines or masks, so all rows are outlines."""

    largest = batches.HANDFUL_SAMPLES, batches.HANDFUL_BYTES
    leads: frozenset[str] = frozenset()
    about = (
        "It is in ultralytics' layout: `data.yaml` has the classes and the splits, `images/<split>/` the "
        "pictures, `labels/<split>/` their objects, and `metadata.jsonl` beside the pictures what else is "
        "known of them."
    )

    def __init__(
        self,
        target: Path,
        columns: Columns,
        showing: Collection[str],
        classes: ClassTable,
        *,
        outlined: bool,
    ) -> None:
        self._target = target
        self._classes = classes
        self._names = ObjectNames()
        lines = MetadataLines.of_columns(columns, also_text=[MASK, INSTANCE_MASK])
        self._notes = lines.notes
        self.write = partial(_files, target, lines, classes.indices(), outlined)
        self._metadata = MetadataFiles(lambda split: target / "images" / split / METADATA, showing)
        self._noted: Counter[str] = Counter()
        self._patterns: dict[str, set[str]] = {}

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        notes = [*self._notes]
        if number := self._noted[CROWDS]:
            notes.append(f"{several(number, 'crowd', 'crowds')} left out: YOLO has no word for them")
        if number := self._noted[BOXED]:
            objects = several(number, "object has", "objects have")
            notes.append(f"{objects} no outline: the box's corners stand for it, as rows are of one kind")
        for key, splits in self._in_place().items():
            named = " and ".join(splits)
            notes.append(f"no split is called {key}: {DATA} names {named} for it, for none trains without")
        return notes

    def tops(self, splits: Collection[str]) -> list[str]:
        """The same for all splits."""
        return ["images", "labels", "masks", "instance_masks"]

    def named(self, item: ExportItem) -> ExportItem:
        """With a stem of its own."""
        return self._names.named(item)

    def take(self, split: str, written: list[YoloPicture]) -> None:
        """What was written of each picture."""
        for picture in written:
            self._patterns.setdefault(split, set()).add(f"*{Path(picture.file).suffix}")
            self._metadata.add(split, picture.file if picture.variant else "", picture.line)
            self._noted.update(picture.noted)

    def files(self, split: str) -> list[str]:
        """By suffix, beside their metadata."""
        found = sorted(self._patterns.get(split, ()))
        return [f"images/{split}/{pattern}" for pattern in (METADATA, *found)]

    def finish(self) -> None:
        """data.yaml, and every metadata.jsonl."""
        self._metadata.finish()
        places = {
            key: [f"images/{split}" for split in splits]
            for key, splits in (self._own() | self._in_place()).items()
        }
        facts = {
            "path": "",
            **{key: found if len(found) > 1 else found[0] for key, found in places.items()},
            "nc": len(self._classes.names()),
            "names": dict(enumerate(self._classes.names())),
        }
        text = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
        head = "# `path` is empty: the splits lie beside this file, wherever that is.\n"
        write(self._target / DATA, (head + text).encode())

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
        self._metadata.close()
        self._names.close()

    def _own(self) -> dict[str, list[str]]:
        """The splits by their words in data.yaml."""
        found: dict[str, list[str]] = {}
        for split in self._patterns:
            word = SPLITS.get(split.lower())
            found.setdefault(split if word is None else TRAINING_SETS[word], []).append(split)
        return found

    def _in_place(self) -> dict[str, list[str]]:
        """What stands for the splits that have to be there."""
        own = self._own()
        free = [own[key] for key in own if key not in TRAINING_SETS.values()]
        last = next(iter([*free, *own.values()]), [])
        return {
            key: next((own[other] for other in others if other in own), last)
            for key, others in IN_PLACE_OF.items()
            if own and key not in own
        }


def _files(
    target: Path,
    lines: MetadataLines,
    indices: Mapping[ObjectClass, int],
    outlined: bool,
    split: str,
    pictures: Iterator[LoadedItem],
) -> list[YoloPicture]:
    """A handful of pictures under their names, and their files of objects."""
    written = []
    for picture in pictures:
        item = picture.item
        name = put_picture(picture, target / "images" / split)
        masks = put_masks(picture, target, split)
        rows, noted = rows_of(picture, indices, outlined=outlined)
        write(target / "labels" / split / f"{item.key}.txt", "".join(f"{row}\n" for row in rows).encode())
        written.append(YoloPicture(item.folder == "images", item.name, lines.of(item, name, *masks), noted))
    return written


def rows_of(
    picture: LoadedItem, indices: Mapping[ObjectClass, int], *, outlined: bool
) -> tuple[list[str], Counter[str]]:
    """The rows of one picture, and how many of its objects are told of."""
    rows: list[str] = []
    noted: Counter[str] = Counter()
    size = size_of(picture)
    for one in seen_objects(picture):
        if one.crowd:
            noted[CROWDS] += 1
            continue
        shape: tuple[float, ...]
        if outlined:
            outline = _outline(one)
            noted[BOXED] += outline is None
            shape = _corners(one) if outline is None else outline
        else:
            x, y, width, height = one.box
            shape = (x + width / 2, y + height / 2, width, height)
        shares = (min(1.0, max(0.0, value / size[place % 2])) for place, value in enumerate(shape))
        rows.append(" ".join([str(indices[one.kind]), *map(_share, shares)]))
    return rows, +noted


def _outline(one: PlacedObject) -> Polygon | None:
    """The outline of an object, or of its mask; None: nobody told it."""
    parts = one.outline or (outlines(one.mask) if one.mask is not None else ())
    return joined(parts) if parts else None


def _corners(one: PlacedObject) -> Polygon:
    x, y, width, height = one.box
    return x, y, x + width, y, x + width, y + height, x, y + height


def _share(share: float) -> str:
    """To a millionth, without idle zeros."""
    return f"{share:.6f}".rstrip("0").rstrip(".")
