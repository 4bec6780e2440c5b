"""Boxes of a source picture: read from what people have, carried to where the source lies in the output.

Law: a box stays what it was, or goes. It is clipped to what is seen of the source; less than a pixel of it is
no box any more. Its class goes with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batcher.geometry.placing import Placement, Size

Box = tuple[float, float, float, float]
"""COCO's form: x and y of the left top corner, width, height; in pixels."""
Class = int | str

LEAST = 1.0
"""Pixels in width and in height below which a clipped box is dropped."""
FARTHEST = 1e9
"""No picture has a pixel there; and neither infinity nor NaN is nearer."""
NORMALISED = 1.001
"""YOLO's numbers are shares of the picture; some writers round above 1."""


class LabelError(ValueError):
    """Labels that cannot be read, with what is wrong in words."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Boxes in pixels of their picture; `classes` says what each holds, or is None where nobody told."""

    boxes: tuple[Box, ...] = ()
    classes: tuple[Class, ...] | None = None


def from_columns(boxes: Any, classes: Any = None) -> Labels:
    """Labels from the cells of a row: COCO boxes `[[x, y, width, height], ...]`, or COCO annotations
    `[{"bbox": [...], "category_id": 3}, ...]`, as lists or as their JSON text; an empty cell is no box.

    Raises LabelError.
    """
    found = _listed(boxes, "boxes")
    if len(found) == 4 and not any(isinstance(part, list | tuple | dict) for part in found):
        found = [found]
    told = None if classes in (None, "") else _listed(classes, "box_classes")
    if found and all(isinstance(one, dict) for one in found):
        annotations = [(one.get("bbox"), one.get("category_id", one.get("category"))) for one in found]
        found = [box for box, _ in annotations]
        if told is None and all(kind is not None for _, kind in annotations):
            told = [kind for _, kind in annotations]
    kept = tuple(_box(one, number) for number, one in enumerate(found, 1))
    if told is None:
        return Labels(kept)
    if len(told) != len(kept):
        raise LabelError(f"{len(kept)} boxes have {len(told)} classes")
    return Labels(kept, tuple(_class(one) for one in told))


def from_yolo(text: str, size: Size) -> Labels:
    """Labels from a YOLO text file: lines of `class x y width height`, the centre and the size as shares of
    a picture of `size`; a sixth number, the confidence, is passed over.

    Raises LabelError with the line.
    """
    boxes: list[Box] = []
    classes: list[Class] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) not in (5, 6):
            raise LabelError(f"line {number}: {len(words)} values; a box is `class x y width height`")
        try:
            kind = int(words[0])
            x, y, width, height = (float(word) for word in words[1:5])
        except ValueError:
            raise LabelError(f"line {number}: {line.strip()[:60]!r} is not made of numbers") from None
        if not all(0 <= value <= NORMALISED for value in (x, y, width, height)):
            raise LabelError(f"line {number}: YOLO's numbers are shares of the picture, from 0 to 1")
        left, top = (x - width / 2) * size[0], (y - height / 2) * size[1]
        boxes.append((left, top, width * size[0], height * size[1]))
        classes.append(kind)
    return Labels(tuple(boxes), tuple(classes))


def strays(labels: Labels, source: Size) -> str | None:
    """Why these are not the labels of a picture of this size, in words: a box of which it shows nothing."""
    for number, (x, y, width, height) in enumerate(labels.boxes, 1):
        if x >= source[0] or y >= source[1] or x + width <= 0 or y + height <= 0:
            shown = ", ".join(f"{part:g}" for part in (x, y, width, height))
            return f"box {number}: [{shown}] lies outside its picture ({source[0]} x {source[1]})"
    return None


def carried(labels: Labels, source: Size, placement: Placement, output: Size) -> Labels:
    """The labels in pixels of the output, clipped to the part of the source that is seen there."""
    across, down = placement.width / source[0], placement.height / source[1]
    seen = (
        max(0, placement.x),
        max(0, placement.y),
        min(output[0], placement.x + placement.width),
        min(output[1], placement.y + placement.height),
    )
    boxes: list[Box] = []
    kept: list[int] = []
    for number, (x, y, width, height) in enumerate(labels.boxes):
        left = max(seen[0], placement.x + x * across)
        top = max(seen[1], placement.y + y * down)
        right = min(seen[2], placement.x + (x + width) * across)
        bottom = min(seen[3], placement.y + (y + height) * down)
        if right - left >= LEAST and bottom - top >= LEAST:
            boxes.append((left, top, right - left, bottom - top))
            kept.append(number)
    classes = None if labels.classes is None else tuple(labels.classes[number] for number in kept)
    return Labels(tuple(boxes), classes)


def as_lists(labels: Labels) -> list[list[float]]:
    """The boxes as JSON has them: always floats, to a hundredth of a pixel."""
    return [[round(float(part), 2) for part in box] for box in labels.boxes]


def _listed(value: Any, what: str) -> Sequence[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise LabelError(f"{what}: {value[:60]!r} is not JSON") from None
    if not isinstance(value, list | tuple):
        raise LabelError(f"{what}: {str(value)[:60]!r} is not a list")
    return value


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
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise LabelError(f"class {str(value)[:60]!r} is neither a number nor a name")
    return value
