"""Pictures in the forms of detectors: under their stem, with their caption; and their objects within them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from batcher.job.geometry import polygons
from batcher.results.export.imagefolder import put, write
from batcher.results.export.loading import LoadedItem
from batcher.results.export.placed_objects import PlacedObject, objects_of

RESERVED = frozenset({"annotations", "images", "instance_masks", "labels", "masks"})
"""Folders of these forms, which no split can be called."""


def put_picture(picture: LoadedItem, folder: Path, suffix: str | None = None) -> str:
    """The picture and its caption in `folder`; what it is called there."""
    item = picture.item
    name = f"{item.key}{Path(item.name).suffix if suffix is None else suffix}"
    put(picture, folder / name)
    if item.caption:
        write(folder / f"{item.key}.txt", item.caption.encode())
    return name


def put_masks(picture: LoadedItem, target: Path, split: str) -> tuple[str | None, str | None]:
    """Its masks, of classes and of instances, in folders of the dataset; where they lie there."""
    places: list[str | None] = []
    for folder, mask in (("masks", picture.mask), ("instance_masks", picture.instance_mask)):
        place = None if mask is None else f"{folder}/{split}/{picture.item.key}{Path(mask[0]).suffix}"
        if mask is not None and place is not None:
            write(target / place, mask[1])
        places.append(place)
    return places[0], places[1]


def size_of(picture: LoadedItem) -> tuple[int, int]:
    """Width and height, upright."""
    return int(picture.item.values["width"]), int(picture.item.values["height"])


def seen_objects(picture: LoadedItem) -> Iterator[PlacedObject]:
    """The objects of a picture, clipped to it: an original's may reach beyond it."""
    width, height = size_of(picture)
    for one in objects_of(picture.item.values):
        x, y, across, down = one.box
        left, top = max(0.0, x), max(0.0, y)
        box = (left, top, min(width, x + across) - left, min(height, y + down) - top)
        if min(box[2:]) > 0:
            edges = (0.0, 0.0, float(width), float(height))
            outline = (polygons.moved(part, (1, 1), (0, 0), edges) for part in one.outline)
            yield replace(one, box=box, outline=tuple(filter(None, outline)))
