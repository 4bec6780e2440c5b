"""A Pascal VOC annotation: the objects of a picture in an XML file.

    <annotation><filename>1.jpg</filename>
      <object><name>cat</name><difficult>0</difficult><truncated>1</truncated><pose>Left</pose>
        <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>100</xmax><ymax>80</ymax></bndbox></object></annotation>

Form: the challenge's development kit: pixels are counted from 1, and xmax and ymax are inside. Its box from 1
to the width is the whole picture: in the columns here x is xmin - 1, the width xmax - xmin + 1.

Rule: the file is foreign data. It may have no document type: no entity is unfolded, no other file is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from batcher.job import geometry
from batcher.job.geometry import LabelError, Labels, Size
from batcher.storage import stores

SUFFIX = ".xml"
LARGEST = 16 << 20
"""Bytes of an annotation."""
DEEPEST = 50
CORNERS = ("xmin", "ymin", "xmax", "ymax")
FACTS = ("difficult", "truncated", "occluded", "pose")
"""What stands of an object beside its box."""


@dataclass(frozen=True, slots=True)
class VocAnnotation:
    """The objects of a picture, as columns take them; its `filename` as it stands there, `segmented` where it
    says whether there are masks; `parts`: how many parts of their own its objects have; `size` of the
    picture, 0 x 0 where it does not say."""

    labels: Labels
    filename: str
    segmented: int | None
    parts: int
    size: Size = (0, 0)


def read_voc_file(path: str) -> VocAnnotation:
    """Raises LabelError with what is wrong, and the line where it is known; OSError."""
    content = stores.first_bytes(path, LARGEST + 1)
    if len(content) > LARGEST:
        raise LabelError("is too large for an annotation")
    root, lines = _parsed(content)
    if root.tag != "annotation":
        raise LabelError(f"is no annotation of Pascal VOC: it holds <{root.tag[:60]}>")
    objects = root.findall("object")
    annotations = []
    for one in objects:
        try:
            annotations.append(_annotation(one))
            geometry.from_columns(annotations[-1:])
        except LabelError as error:
            raise LabelError(f"line {lines[one]}: {str(error).removeprefix('box 1: ')}") from None
    return VocAnnotation(
        geometry.from_columns(annotations),
        _text(root, "filename"),
        {"0": 0, "1": 1}.get(_text(root, "segmented")),
        sum(len(one.findall("part")) for one in objects),
        (_whole(root, "size/width"), _whole(root, "size/height")),
    )


def _annotation(one: Element) -> dict[str, Any]:
    """An object in COCO's words. Raises LabelError."""
    name = _text(one, "name")
    if not name:
        raise LabelError("an object has no <name>")
    box = one.find("bndbox")
    if box is None:
        raise LabelError(f"the object {name[:60]!r} has no <bndbox>")
    left, top, right, bottom = (_number(box, corner) for corner in CORNERS)
    facts = {key: text for key in FACTS if (text := _text(one, key))}
    return {
        "category": name,
        "bbox": [left - 1, top - 1, right - left + 1, bottom - top + 1],
        "segmentation": _outline(one.find("polygon")),
        **{key: int(text) if text in ("0", "1") else text for key, text in facts.items()},
    }


def _outline(polygon: Element | None) -> Sequence[Sequence[float]]:
    """The outline that some tools write: <polygon><x1>..</x1><y1>..</y1><x2>...; raises LabelError."""
    if polygon is None:
        return []
    corners = []
    number = 1
    while polygon.find(f"x{number}") is not None:
        corners += [_number(polygon, f"x{number}") - 1, _number(polygon, f"y{number}") - 1]
        number += 1
    return [corners] if corners else []


def _number(above: Element, tag: str) -> float:
    text = _text(above, tag)
    try:
        return float(text)
    except ValueError:
        raise LabelError(f"<{tag}> is {text[:60]!r}, and is to be a number of pixels") from None


def _whole(above: Element, tag: str) -> int:
    """A number of pixels; 0 where none stands there."""
    text = _text(above, tag)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _text(above: Element, tag: str) -> str:
    return (above.findtext(tag) or "").strip()


def _parsed(content: bytes) -> tuple[Element, dict[Element, int]]:
    """The root, and the line of each element below it. Raises LabelError."""
    builder = TreeBuilder()
    lines: dict[Element, int] = {}
    parser = expat.ParserCreate()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise LabelError(f"line {parser.CurrentLineNumber}: is nested too deeply")
        element = builder.start(tag, attributes)
        if depth == 2:
            lines[element] = parser.CurrentLineNumber

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise LabelError(
            f"line {parser.CurrentLineNumber}: has a document type (<!DOCTYPE ...>), which is not read here"
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return builder.close(), lines
    except expat.ExpatError as error:
        raise LabelError(f"line {error.lineno}: is not XML: {expat.ErrorString(error.code)}") from None
    except (ValueError, LookupError) as error:
        if isinstance(error, LabelError):
            raise
        raise LabelError(f"is in an encoding that is not known here: {error}") from None
