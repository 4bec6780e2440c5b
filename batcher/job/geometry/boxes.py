"""The objects of a source picture: read from what people have, carried to where it lies in the output.

They stand in columns of one length, an entry for each object:

    boxes            [[x, y, width, height], ...]            COCO's form, in pixels of the upright picture
    box_classes      ["cat", ...]                            names; numbers of a YOLO file without names
    box_polygons     [[[x1, y1, x2, y2, ...], ...], ...]     the outlines of each; [] of one that has none
    box_rles         [{"size": [height, width], "counts": "..."}, ...]     COCO's compressed form; or null
    box_attributes   [{"iscrowd": 0, "id": 17}, ...]         what else stood there of each

A column that says nothing of any object is absent, but for `boxes`: a picture without objects has [].

Rule: a box stays what it was, or goes. It is clipped to what is seen of the source; less than a pixel of it
is no box any more. Its class, outline, mask and attributes go with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from batcher.job.geometry import polygons, rle
from batcher.job.geometry.placement import Placement, Size
from batcher.job.geometry.polygons import FARTHEST, Polygon
from batcher.job.geometry.rle import Rle

Box = tuple[float, float, float, float]
"""COCO's form: x and y of the left top corner, width, height; in pixels."""
Class = int | str
_Cell = TypeVar("_Cell")

LEAST = 1.0
"""Pixels in width and in height below which a clipped box is dropped."""
LABEL_COLUMNS = ("boxes", "box_classes", "box_polygons", "box_rles", "box_attributes")
"""The columns of a picture's objects."""
CLASS_KEYS = ("category_id", "category", "categories", "label", "labels")
"""What the class of an annotation is called."""
TRUNCATED = "truncated"
"""The attribute by which Pascal VOC says that a box is not all of its object."""
NO_ATTRIBUTES = frozenset(
    {*CLASS_KEYS, "bbox", "segmentation", "area", "image_id", "keypoints", "num_keypoints"}
)
"""What of an annotation is read otherwise, or is not true any more of a picture that is laid out anew."""


class LabelError(ValueError):
    """Labels that cannot be read, with what is wrong in words."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Boxes in pixels of their picture; `classes` says what each holds. Each further field has an entry for
    each box, or is None where nobody told."""

    boxes: tuple[Box, ...] = ()
    classes: tuple[Class, ...] | None = None
    polygons: tuple[tuple[Polygon, ...], ...] | None = None
    rles: tuple[Rle | None, ...] | None = None
    attributes: tuple[Mapping[str, Any], ...] | None = None


def from_row(columns: Mapping[str, Any]) -> Labels | None:
    """The labels in the columns of a row: LABEL_COLUMNS, or `objects` as Hugging Face documents it, a mapping
    of lists, or a list of mappings. None where the row has neither. Raises LabelError."""
    if columns.get("boxes") is not None:
        return from_columns(*(columns.get(name) for name in LABEL_COLUMNS))
    objects = columns.get("objects")
    if not are_objects(objects):
        return None
    if isinstance(objects, str):
        objects = _parsed(objects, "objects")
    if isinstance(objects, dict):
        number = len(objects["bbox"])
        lists = {name: cell for name, cell in objects.items() if isinstance(cell, list | tuple)}
        for name, cell in lists.items():
            if len(cell) != number:
                raise LabelError(f"objects: {number} `bbox` have {len(cell)} `{name}`")
        objects = [{name: cell[place] for name, cell in lists.items()} for place in range(number)]
    return from_columns(objects)


def are_objects(value: Any) -> bool:
    """Whether a cell of a column `objects` holds boxes, and is not a word that people may have there."""
    if isinstance(value, str):
        if value.lstrip()[:1] not in ("[", "{") or '"bbox"' not in value:
            return False
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return True  # what is wrong with it is told where it is read
    if isinstance(value, dict):
        return isinstance(value.get("bbox"), list | tuple)
    return isinstance(value, list | tuple) and all(isinstance(one, dict) and "bbox" in one for one in value)


def from_columns(
    boxes: Any, classes: Any = None, outlines: Any = None, masks: Any = None, attributes: Any = None
) -> Labels:
    """Labels from the cells of a row: COCO boxes `[[x, y, width, height], ...]`, or COCO annotations
    `[{"bbox": [...], "category_id": 3, "segmentation": ...}, ...]`, as lists or as their JSON text; an empty
    cell is no box. The others are those of LABEL_COLUMNS.

    Raises LabelError.
    """
    cells = _as_list(boxes, "boxes")
    if len(cells) == 4 and not any(isinstance(part, list | tuple | dict) for part in cells):
        cells = [cells]
    labels = (
        _of_annotations(cells)
        if cells and all(isinstance(one, dict) for one in cells)
        else Labels(tuple(_box(one, number) for number, one in enumerate(cells, 1)))
    )
    if classes not in (None, ""):
        kinds = _each(classes, "box_classes", "classes", labels)
        labels = replace(labels, classes=tuple(_class(kind) for kind in kinds))
    if outlines not in (None, ""):
        labels = replace(labels, polygons=_read(outlines, "box_polygons", _polygons, labels))
    if masks not in (None, ""):
        labels = replace(labels, rles=_read(masks, "box_rles", _rle, labels))
    if attributes not in (None, ""):
        labels = replace(labels, attributes=_read(attributes, "box_attributes", _attributes, labels))
    return labels


def _of_annotations(cells: Sequence[Mapping[str, Any]]) -> Labels:
    """Of COCO annotations; one without a box has that of its outline or mask."""
    kinds = [next((one[key] for key in CLASS_KEYS if one.get(key) is not None), None) for one in cells]
    parts = [one.get("segmentation") for one in cells]
    outlines = [
        () if part is None or isinstance(part, dict) else _polygons(part, number)
        for number, part in enumerate(parts, 1)
    ]
    masks = [_rle(part, number) if isinstance(part, dict) else None for number, part in enumerate(parts, 1)]
    boxes = []
    for number, (one, outline, mask) in enumerate(zip(cells, outlines, masks, strict=True), 1):
        box = one.get("bbox")
        if not box and outline:
            box = polygons.bounds(outline)
        elif not box and mask is not None:
            box = rle.bounds(mask)
        boxes.append(_box(box, number))
    attributes = [_attributes(one, number) for number, one in enumerate(cells, 1)]
    without = [number for number, kind in enumerate(kinds, 1) if kind is None]
    if without and len(without) < len(kinds):
        raise LabelError(f"box {without[0]}: it has no class, and others of its picture have one")
    return Labels(
        tuple(boxes),
        None if without else tuple(_class(kind) for kind in kinds),
        tuple(outlines) if any(outlines) else None,
        tuple(masks) if any(mask is not None for mask in masks) else None,
        tuple(attributes) if any(attributes) else None,
    )


def misfit(labels: Labels, source: Size, *, voc: bool = False) -> str | None:
    """Why these are not the labels of a picture of this size, in words: a box of which it shows nothing, a
    mask of another size. `voc`: the numbers are told as a Pascal VOC file has them, corners from 1."""
    for number, (x, y, width, height) in enumerate(labels.boxes, 1):
        if x >= source[0] or y >= source[1] or x + width <= 0 or y + height <= 0:
            shown = f"[{', '.join(f'{part:g}' for part in (x, y, width, height))}]"
            if voc:
                shown = f"xmin {x + 1:g}, ymin {y + 1:g}, xmax {x + width:g}, ymax {y + height:g}"
            return f"box {number}: {shown} lies outside its picture ({source[0]} x {source[1]})"
    for number, mask in enumerate(labels.rles or (), 1):
        if mask is not None and (mask.width, mask.height) != source:
            size, wanted = f"{mask.width} x {mask.height}", f"{source[0]} x {source[1]}"
            return f"box {number}: its RLE ({size}) is not of the size of its picture ({wanted})"
    return None


def carry(labels: Labels, source: Size, placement: Placement, output: Size) -> Labels:
    """The labels in pixels of the output, clipped to the part of the source that is seen there."""
    across, down = placement.width / source[0], placement.height / source[1]
    visible = (
        max(0, placement.x),
        max(0, placement.y),
        min(output[0], placement.x + placement.width),
        min(output[1], placement.y + placement.height),
    )
    boxes: list[Box] = []
    kept: list[int] = []
    cut: set[int] = set()
    for number, (x, y, width, height) in enumerate(labels.boxes):
        x_min = max(visible[0], placement.x + x * across)
        top = max(visible[1], placement.y + y * down)
        right = min(visible[2], placement.x + (x + width) * across)
        bottom = min(visible[3], placement.y + (y + height) * down)
        if right - x_min >= LEAST and bottom - top >= LEAST:
            boxes.append((x_min, top, right - x_min, bottom - top))
            kept.append(number)
            if max(width * across - (right - x_min), height * down - (bottom - top)) >= LEAST:
                cut.add(number)
    by = (placement.x, placement.y)

    def clipped(outline: tuple[Polygon, ...]) -> tuple[Polygon, ...]:
        return tuple(filter(None, (polygons.moved(part, (across, down), by, visible) for part in outline)))

    def laid(mask: Rle | None) -> Rle | None:
        return None if mask is None else rle.carried(mask, placement, output)

    outlines, masks = _of(labels.polygons, kept), _of(labels.rles, kept)
    return Labels(
        tuple(boxes),
        _of(labels.classes, kept),
        None if outlines is None else tuple(map(clipped, outlines)),
        None if masks is None else tuple(map(laid, masks)),
        _of(_truncated(labels.attributes, cut), kept),
    )


def _truncated(
    attributes: tuple[Mapping[str, Any], ...] | None, cut: Container[int]
) -> tuple[Mapping[str, Any], ...] | None:
    """The attributes, where those of a data set that says which objects are cut say it of these too."""
    if attributes is None or not any(TRUNCATED in one for one in attributes):
        return attributes
    return tuple({**one, TRUNCATED: 1} if number in cut else one for number, one in enumerate(attributes))


def _of(column: tuple[_Cell, ...] | None, kept: Sequence[int]) -> tuple[_Cell, ...] | None:
    """The entries of those boxes that are kept."""
    return None if column is None else tuple(column[number] for number in kept)


def as_columns(labels: Labels, prefix: str = "") -> dict[str, Any]:
    """The labels as the columns of a row, those of which something is known; the names with `prefix`. Pixels
    are always floats, to a hundredth."""
    columns: dict[str, Any] = {"boxes": [[round(float(part), 2) for part in box] for box in labels.boxes]}
    if labels.classes is not None:
        columns["box_classes"] = list(labels.classes)
    if labels.polygons is not None:
        columns["box_polygons"] = [polygons.as_json(outline) for outline in labels.polygons]
    if labels.rles is not None:
        columns["box_rles"] = [None if mask is None else rle.as_json(mask) for mask in labels.rles]
    if labels.attributes is not None:
        columns["box_attributes"] = [dict(one) for one in labels.attributes]
    return {f"{prefix}{name}": value for name, value in columns.items()}


def _read(cell: Any, column: str, reader: Callable[[Any, int], _Cell], labels: Labels) -> tuple[_Cell, ...]:
    values = _each(cell, column, f"`{column}`", labels)
    return tuple(reader(value, number) for number, value in enumerate(values, 1))


def _each(cell: Any, column: str, what: str, labels: Labels) -> Sequence[Any]:
    """The entries of a column, one for each box. Raises LabelError."""
    values = _as_list(cell, column)
    if len(values) != len(labels.boxes):
        raise LabelError(f"{len(labels.boxes)} boxes have {len(values)} {what}")
    return values


def _polygons(value: Any, number: int) -> tuple[Polygon, ...]:
    try:
        return () if value is None else polygons.from_json(value)
    except ValueError as error:
        raise LabelError(f"box {number}: {error}") from None


def _rle(value: Any, number: int) -> Rle | None:
    try:
        return None if value is None else rle.from_json(value)
    except ValueError as error:
        raise LabelError(f"box {number}: {error}") from None


def _attributes(value: Any, number: int) -> Mapping[str, Any]:
    """What is plain of a mapping: numbers and texts."""
    if not isinstance(value, dict | None):
        raise LabelError(f"box {number}: its attributes are no mapping")
    return {
        str(name): one
        for name, one in (value or {}).items()
        if name not in NO_ATTRIBUTES and isinstance(one, str | int | float) and not _is_no_json(one)
    }


def _is_no_json(value: str | float) -> bool:
    """Whether it is NaN or infinite: Python writes these into JSON, and nobody else reads them there."""
    return isinstance(value, float) and not math.isfinite(value)


def _as_list(value: Any, what: str) -> Sequence[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        if not value.strip():
            return []
        value = _parsed(value, what)
    if not isinstance(value, list | tuple):
        raise LabelError(f"{what}: {str(value)[:60]!r} is not a list")
    return value


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise LabelError(f"{what}: {text[:60]!r} is not JSON") from None


def _box(value: Any, number: int) -> Box:
    numbers = value if isinstance(value, list | tuple) else ()
    plain = [part for part in numbers if isinstance(part, int | float) and not isinstance(part, bool)]
    if len(numbers) != 4 or len(plain) != 4 or not all(abs(part) < FARTHEST for part in plain):
        shown = json.dumps(value, default=str)[:60]
        raise LabelError(f"box {number}: {shown} is not [x, y, width, height]")
    if plain[2] < 0 or plain[3] < 0:
        raise LabelError(f"box {number}: its width or height is negative")
    return float(plain[0]), float(plain[1]), float(plain[2]), float(plain[3])


def _class(value: Any) -> Class:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # pandas writes whole numbers so, where a column has gaps
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise LabelError(f"class {str(value)[:60]!r} is neither a number nor a name")
    return value
