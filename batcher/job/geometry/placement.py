"""A model's rule for the place of its source, and what the rule gives for one picture.

Rule: the rule is data. It speaks of parameters by name and is worked out in whole pixels, as a model does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal

Size = tuple[int, int]
"""Width and height in pixels."""
Fit = Literal["none", "contain", "cover", "stretch"]

SAME_SHAPE = 0.01
"""How far (as a share) a delivered picture's shape may be from the canvas that was asked for: models round to
multiples of 8, and some deliver smaller than asked."""


@dataclass(frozen=True)
class Geometry:
    """How a model lays its source onto its canvas; every text is the name of a parameter.

    `input`: the media parameter that holds the source. `canvas`: the parameters that ask for the output's
    size, width and height or one as "W*H"; none: whatever is delivered. `fit`: how the source is scaled into
    its room. The room is the canvas; or a `square` of so many pixels times the parameter `scale`; or what is
    left where each side that the parameter `sides` lists takes its `share` of the canvas. `margins` (left,
    top, right, bottom) are pixels around the source, which make the canvas. `x` and `y` say where its left
    top corner lies; without them it lies centred, or away from the `sides`. `defaults` are those that the
    model's page gives to the parameters named here.
    """

    input: str
    fit: Fit = "stretch"
    canvas: tuple[str, ...] = ()
    square: float | None = None
    scale: str = ""
    sides: str = ""
    share: float = 0.0
    margins: tuple[str, ...] = ()
    x: str = ""
    y: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Every parameter that the rule reads, the source apart."""
        named = (*self.canvas, self.scale, self.sides, *self.margins, self.x, self.y)
        return tuple(name for name in named if name)


@dataclass(frozen=True, slots=True)
class Placement:
    """The rectangle of the output, in its pixels, that the whole source covers.

    It reaches beyond the output where the model crops the source.
    """

    x: int
    y: int
    width: int
    height: int


def place(geometry: Geometry, params: Mapping[str, Any], source: Size, output: Size) -> Placement | None:
    """Where a source of this size (upright) lies in the delivered picture; None where the rule cannot tell:
    a parameter is not a number, or the picture has not the shape that was asked for."""
    if min(*source, *output) < 1:
        return None
    values = {**geometry.defaults, **params}
    try:
        canvas = _canvas(geometry, values, source, output)
        room = _room(geometry, values, canvas)
        size = _fitted(geometry.fit, source, room)
        corner = _corner(geometry, values, canvas, size)
    except _Unknown:
        return None
    across, down = output[0] / canvas[0], output[1] / canvas[1]
    if abs(across / down - 1) > SAME_SHAPE:
        return None
    return Placement(
        round(corner[0] * across), round(corner[1] * down), round(size[0] * across), round(size[1] * down)
    )


def asked_size(geometry: Geometry, params: Mapping[str, Any], source: Size | None) -> Size | None:
    """The size of the picture that these parameters ask for; None where they, or the source's size, do not
    say it."""
    values = {**geometry.defaults, **params}
    try:
        if geometry.margins:
            asked = any(name in params for name in geometry.margins)
            return _canvas(geometry, values, source, source) if asked and source is not None else None
        if not geometry.canvas or any(params.get(name) is None for name in geometry.canvas):
            return None
        return _canvas(geometry, values, (1, 1), (1, 1))
    except _Unknown:
        return None


def same_shape(one: Size, other: Size) -> bool:
    """Whether one is the other, scaled: but for a pixel of rounding, or a hundredth."""
    if min(*one, *other) < 1:
        return False
    width, height = other[0] * one[1] / other[1], other[1] * one[0] / other[0]
    return abs(one[0] - width) <= max(1.0, SAME_SHAPE * width) or abs(one[1] - height) <= 1.0


def as_text(geometry: Geometry | None) -> str:
    """The rule as the ledger keeps it; empty for a model that has none."""
    return "" if geometry is None else json.dumps(asdict(geometry), sort_keys=True)


@lru_cache(maxsize=64)
def from_text(text: str) -> Geometry | None:
    """The rule that `as_text` wrote."""
    if not text:
        return None
    facts: dict[str, Any] = {
        name: tuple(fact) if isinstance(fact, list) else fact for name, fact in json.loads(text).items()
    }
    return Geometry(**facts)


class _Unknown(Exception):
    """A parameter does not say what the rule needs."""


def _canvas(geometry: Geometry, values: Mapping[str, Any], source: Size, output: Size) -> Size:
    if geometry.margins:
        left, top, right, bottom = (_number(values, name) for name in geometry.margins)
        return _sized(source[0] + left + right, source[1] + top + bottom)
    if not geometry.canvas or any(values.get(name) is None for name in geometry.canvas):
        return output
    if len(geometry.canvas) == 1:
        found = re.fullmatch(r"\s*([0-9]{1,6})\s*[*x×]\s*([0-9]{1,6})\s*", str(values[geometry.canvas[0]]))
        if found is None:
            raise _Unknown
        return _sized(int(found[1]), int(found[2]))
    width, height = (_number(values, name) for name in geometry.canvas)
    return _sized(width, height)


def _room(geometry: Geometry, values: Mapping[str, Any], canvas: Size) -> Size:
    if geometry.square is not None:
        side = round(geometry.square * (_number(values, geometry.scale) if geometry.scale else 1))
        return _sized(side, side)
    if geometry.sides:
        left, top, right, bottom = _named_sides(geometry, values)
        width, height = canvas
        return _sized(
            width - int((left + right) * geometry.share * width),
            height - int((top + bottom) * geometry.share * height),
        )
    return canvas


def _fitted(fit: Fit, source: Size, room: Size) -> Size:
    if fit == "none":
        return source
    if fit == "stretch":
        return room
    factors = (room[0] / source[0], room[1] / source[1])
    factor = min(factors) if fit == "contain" else max(factors)
    return max(1, round(source[0] * factor)), max(1, round(source[1] * factor))


def _corner(geometry: Geometry, values: Mapping[str, Any], canvas: Size, size: Size) -> tuple[float, float]:
    if geometry.margins:
        return _number(values, geometry.margins[0]), _number(values, geometry.margins[1])
    spare = (canvas[0] - size[0], canvas[1] - size[1])
    if geometry.sides:
        left, top, right, bottom = _named_sides(geometry, values)
        return _share(spare[0], left, right), _share(spare[1], top, bottom)
    x = _number(values, geometry.x) if geometry.x else spare[0] / 2
    y = _number(values, geometry.y) if geometry.y else spare[1] / 2
    return x, y


def _named_sides(geometry: Geometry, values: Mapping[str, Any]) -> tuple[bool, bool, bool, bool]:
    named = {side.strip().casefold() for side in str(values.get(geometry.sides) or "").split(",")}
    return "left" in named, "top" in named, "right" in named, "bottom" in named


def _share(spare: int, before: bool, after: bool) -> int:
    """How much of the spare room comes before the source: half of it, all, or none."""
    if before == after:
        return spare // 2
    return spare if before else 0


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unknown
    return value


def _sized(width: float, height: float) -> Size:
    if not (1 <= width <= 1_000_000 and 1 <= height <= 1_000_000):
        raise _Unknown
    return int(width), int(height)
