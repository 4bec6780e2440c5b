"""Canvas arithmetic: what a model is to be asked for so that a picture gets another shape.

    canvas: {aspect: "16:9", anchor: center}    in `params`, in place of left, right, offsets, scale ...

Rule: it is the inverse of `geometry.place`, in the model's own parameters and within its own limits. What
cannot be done is told; nothing is cropped, and nothing is asked for that would add nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batcher.job.catalog.model import Model
from batcher.job.geometry import Geometry, Size

KEY = "canvas"
"""The parameter that is replaced; a model that has one of that name keeps it."""
ANCHORS = {
    f"{vertical}{'-' if vertical and horizontal else ''}{horizontal}" or "center": (x, y)
    for vertical, y in (("", 0.5), ("top", 0.0), ("bottom", 1.0))
    for horizontal, x in (("", 0.5), ("left", 0.0), ("right", 1.0))
}
"""Where the picture lies on its canvas: the share of the added room that is left of it, and above it."""
NEAR = 0.05
"""How far the shape of a model's fixed sizes may be from the one asked for: 1344*768 stands for 16:9."""
SAME = 0.01
"""Shapes as near as this are one: there is nothing to add."""

# fmt: off
FOOOCUS: tuple[Size, ...] = (
    (704, 1408), (704, 1344), (768, 1344), (768, 1280), (832, 1216), (832, 1152), (896, 1152), (896, 1088),
    (960, 1088), (960, 1024), (1024, 1024), (1024, 960), (1088, 960), (1088, 896), (1152, 896), (1152, 832),
    (1216, 832), (1280, 768), (1344, 768), (1344, 704), (1408, 704), (1472, 704), (1536, 640), (1600, 640),
    (1664, 576), (1728, 576),
)
# fmt: on
"""Fooocus's own sizes. The page of focus-outpaint spells out the first eleven, and says that there are 26."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What was asked for: width over height, and where the picture lies."""

    aspect: str
    ratio: float
    anchor: str


def applies(model: Model | None) -> bool:
    """Whether `canvas` in params means this arithmetic: the model extends pictures, as far as is known."""
    if model is None or model.geometry is None or KEY in model.parameters:
        return False
    rule = model.geometry
    return bool(rule.margins or rule.sides or (rule.square and rule.scale and rule.x and rule.y))


def parameter_names(model: Model) -> tuple[str, ...]:
    """The parameters that `canvas` fills in."""
    rule = model.geometry
    return () if rule is None else rule.parameters


def parse(model: Model, value: Any) -> Canvas:
    """What `canvas` says: "16:9", or a mapping of aspect and anchor.

    Raises ValueError, with a sentence, where that is nothing that the model could be asked for.
    """
    settings = value if isinstance(value, Mapping) else {"aspect": value}
    if unknown := sorted(settings.keys() - {"aspect", "anchor"}):
        raise ValueError(f"`{unknown[0]}` is unknown here; it takes aspect and anchor")
    aspect, anchor = settings.get("aspect"), settings.get("anchor", "center")
    match = _ASPECT.fullmatch(aspect) if isinstance(aspect, str) else None
    if not isinstance(aspect, str) or match is None or not float(match[1]) or not float(match[2]):
        raise ValueError(f'{aspect!r} is no aspect; write width:height, as aspect: "16:9"')
    if anchor not in ANCHORS:
        raise ValueError(f"{anchor!r} is no anchor; there are {', '.join(ANCHORS)}")
    ratio = float(match[1]) / float(match[2])
    if not 0.05 <= ratio <= 20:
        raise ValueError(f"{aspect!r} is no shape for a picture; 1:20 to 20:1 are")
    canvas = Canvas(aspect, ratio, anchor)
    if model.geometry is not None and model.geometry.canvas:
        _nearest(model, canvas)
    return canvas


_ASPECT = re.compile(r"\s*([0-9]{1,5}(?:\.[0-9]{1,5})?)\s*[:x×/]\s*([0-9]{1,5}(?:\.[0-9]{1,5})?)\s*")


def fill(model: Model, canvas: Canvas, source: Size) -> dict[str, Any]:
    """The model's parameters for a picture of this size (upright). Raises ValueError with a sentence."""
    rule = model.geometry
    assert rule is not None, "`applies` comes first"
    if min(source) < 1:
        raise ValueError("the picture has no size")
    _refuse_same(canvas, source, canvas.ratio)
    if rule.margins:
        params = _margins(rule, canvas, source)
    elif rule.sides:
        params = _sides(rule, model, canvas, source)
    else:
        params = _placed(rule, model, canvas, source)
    for name, value in params.items():
        limit = model.parameters[name]
        if isinstance(value, str) or limit.allowed:
            continue
        low, high = limit.minimum, limit.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            limits = f"{model.slug} takes {low} to {high}"
            raise ValueError(f"{canvas.aspect} from {_spelled(source)} needs {name}: {value}; {limits}")
    return params


def _margins(rule: Geometry, canvas: Canvas, source: Size) -> dict[str, Any]:
    """Pixels on each side; the picture itself keeps its size."""
    width, height = source
    if width / height < canvas.ratio:
        added = (max(1, round(height * canvas.ratio) - width), 0)
    else:
        added = (0, max(1, round(width / canvas.ratio) - height))
    x, y = ANCHORS[canvas.anchor]
    left, top = int(added[0] * x), int(added[1] * y)
    sides = (left, top, added[0] - left, added[1] - top)
    return dict(zip(rule.margins, sides, strict=True))


def _placed(rule: Geometry, model: Model, canvas: Canvas, source: Size) -> dict[str, Any]:
    """The largest canvas of the shape, and on it the picture as large as it goes."""
    width, height = _nearest(model, canvas)
    assert rule.square is not None, "`applies` comes first"
    _refuse_same(canvas, source, width / height)
    side = int(max(source) * min(width / source[0], height / source[1]) + 1e-6)
    # The model works with the scale alone: what it makes of it is where the picture lies.
    size = [max(1, round(one * side / max(source))) for one in source]
    x, y = ANCHORS[canvas.anchor]
    across, down = int((width - size[0]) * x), int((height - size[1]) * y)
    params: dict[str, Any] = dict(zip(rule.canvas, (width, height), strict=True))
    return params | {rule.scale: side / rule.square, rule.x: max(0, across), rule.y: max(0, down)}


def _sides(rule: Geometry, model: Model, canvas: Canvas, source: Size) -> dict[str, Any]:
    """One of the model's sizes, and the sides on which there is room to paint."""
    width, height = _nearest(model, canvas)
    _refuse_same(canvas, source, width / height)
    wider = source[0] / source[1] < width / height
    before, after = ("Left", "Right") if wider else ("Top", "Bottom")
    share = ANCHORS[canvas.anchor][0 if wider else 1]
    sides = {0.0: after, 1.0: before}.get(share, f"{before}, {after}")
    return {rule.canvas[0]: f"{width}*{height}", rule.sides: sides}


def _sizes(model: Model) -> Iterator[Size]:
    """The output sizes that the model allows."""
    assert model.geometry is not None, "`applies` comes first"
    allowed = [model.parameters[name] for name in model.geometry.canvas]
    if len(allowed) == 2:
        yield from itertools.product(*((int(one) for one in each.allowed) for each in allowed))
        return
    # A page that cuts its list of 26 short means Fooocus's.
    if not allowed[0].complete and allowed[0].allowed_total == len(FOOOCUS):
        yield from FOOOCUS
        return
    for text in map(str, allowed[0].allowed):
        width, _, height = text.partition("*")
        yield int(width), int(height)


def _nearest(model: Model, canvas: Canvas) -> Size:
    """The size nearest to the shape asked for, the larger one of two. Raises ValueError."""
    sizes = list(_sizes(model))

    def distance(size: Size) -> float:
        ratio = size[0] / size[1] / canvas.ratio
        return max(ratio, 1 / ratio) - 1

    fitting = [size for size in sizes if distance(size) <= NEAR]
    if not fitting:
        largest_last = sorted(sizes, key=lambda size: size[0] * size[1])
        shapes = sorted({size[0] / size[1]: size for size in largest_last}.items())
        there = ", ".join(_spelled(size) for _, size in shapes[:30])
        raise ValueError(f"{model.slug} makes no {canvas.aspect}; its sizes are {there}")
    return min(fitting, key=lambda size: (round(distance(size), 3), -size[0] * size[1]))


def _refuse_same(canvas: Canvas, source: Size, ratio: float) -> None:
    if abs(source[0] / source[1] / ratio - 1) <= SAME:
        raise ValueError(
            f"the picture ({_spelled(source)}) is {canvas.aspect} already; there is nothing to add"
        )


def _spelled(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
