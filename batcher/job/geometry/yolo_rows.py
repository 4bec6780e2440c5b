"""The rows of a YOLO text file: boxes and outlines as shares of their picture.

    class x y width height [confidence]      the centre and the size of a box
    class x1 y1 x2 y2 x3 y3 ...              the outline of an object, of three corners or more

Form: ultralytics, "Object Detection Datasets Overview" and "Instance Segmentation Datasets Overview".
"""

from __future__ import annotations

from batcher.job.geometry import polygons
from batcher.job.geometry.boxes import Box, Class, LabelError, Labels
from batcher.job.geometry.placement import Size

LEAST, MOST = -0.01, 1.01
"""YOLO's numbers are shares of the picture; some writers round below 0 or above 1, and ultralytics takes so
much of that."""


def from_yolo(text: str, size: Size, *, points: int = 0) -> Labels:
    """Labels from a YOLO text file, in pixels of a picture of `size`; a sixth number, the confidence, is
    passed over. `points`: of a data set of poses, how many numbers follow each box, which are passed over.

    Raises LabelError with the line.
    """
    boxes: list[Box] = []
    classes: list[Class] = []
    outlines: list[tuple[polygons.Polygon, ...]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if points and len(words) == 5 + points:
            words = words[:5]
        if len(words) not in (5, 6) and (len(words) < 7 or len(words) % 2 == 0):
            raise LabelError(f"line {number}: {len(words)} values; a box is `class x y width height`")
        try:
            kind, *values = (float(word) for word in words)
        except ValueError:
            raise LabelError(f"line {number}: {line.strip()[:60]!r} is not made of numbers") from None
        if not kind.is_integer():  # numpy writes whole numbers as 1.0
            raise LabelError(f"line {number}: the class {words[0][:60]} is no whole number")
        is_box = len(words) < 7
        shares = values[:4] if is_box else values
        wrong = [value for value in shares if not LEAST <= value <= MOST]
        wrong += [side for side in shares[2:] if is_box and side < 0]
        if wrong:
            share = "YOLO's numbers are shares of the picture, from 0 to 1"
            raise LabelError(f"line {number}: {share}, and {wrong[0]:g} is not")
        if is_box:
            x, y, width, height = values[:4]
            left, top = (x - width / 2) * size[0], (y - height / 2) * size[1]
            boxes.append((left, top, width * size[0], height * size[1]))
            outlines.append(())
        else:
            outline = tuple(value * size[place % 2] for place, value in enumerate(values))
            boxes.append(polygons.bounds([outline]))
            outlines.append((outline,))
        classes.append(int(kind))
    return Labels(tuple(boxes), tuple(classes), polygons=tuple(outlines) if any(outlines) else None)
