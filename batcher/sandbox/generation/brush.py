"""The strokes of which every edit is made: mirrored content, painted texture, the colours of a prompt."""

from __future__ import annotations

import colorsys
import hashlib
import math
import random
import re
from collections.abc import Mapping

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]
Palette = tuple[Colour, Colour, Colour]
"""What becomes of black, of the middle and of white."""

_WINTER = ((18, 32, 58), (120, 150, 185), (246, 250, 255))
_SUMMER = ((52, 26, 6), (208, 152, 62), (255, 248, 212))
_AUTUMN = ((45, 18, 8), (192, 102, 40), (255, 226, 170))
_SPRING = ((12, 36, 16), (104, 162, 92), (238, 250, 218))
_NIGHT = ((4, 6, 24), (42, 52, 112), (200, 206, 255))
_DUSK = ((36, 10, 46), (192, 92, 112), (255, 216, 170))
_MIST = ((32, 36, 40), (132, 140, 147), (226, 231, 235))
_SEA = ((6, 30, 50), (62, 142, 162), (236, 250, 246))

PALETTES: Mapping[str, Palette] = {
    **dict.fromkeys(("winter", "snow", "ice", "mountains"), _WINTER),
    **dict.fromkeys(("summer", "sun", "sunny", "desert"), _SUMMER),
    **dict.fromkeys(("autumn", "fall", "october"), _AUTUMN),
    **dict.fromkeys(("spring", "forest", "garden", "meadow", "jungle"), _SPRING),
    **dict.fromkeys(("night", "neon", "midnight", "space"), _NIGHT),
    **dict.fromkeys(("sunset", "dusk", "dawn", "fantasy", "mystical"), _DUSK),
    **dict.fromkeys(("rain", "rainy", "fog", "mist", "storm"), _MIST),
    **dict.fromkeys(("sea", "ocean", "beach", "lake", "river"), _SEA),
}


def palette(prompt: str) -> Palette:
    """The colours of a prompt: those of the first word that has any, shifted a little by all of its words."""
    hue = hashlib.sha256(prompt.encode()).digest()[0] / 256
    own: Palette = (_hls(hue, 0.10, 0.4), _hls(hue, 0.52, 0.28), _hls(hue, 0.95, 0.5))
    words = re.findall(r"[a-z]+", prompt.lower())
    known = next((PALETTES[word] for word in words if word in PALETTES), None)
    if known is None:
        return own
    return _mix(known[0], own[0], 0.25), _mix(known[1], own[1], 0.25), _mix(known[2], own[2], 0.25)


def graded(image: Image.Image, colours: Palette, amount: float) -> Image.Image:
    """The picture in the colours of a palette; `amount` from 0 (as it is) to 1."""
    black, mid, white = colours
    toned = ImageOps.colorize(ImageOps.grayscale(image), black=black, white=white, mid=mid)
    return Image.blend(image, toned, amount)


def mirrored(source: Image.Image, size: tuple[int, int], at: tuple[int, int]) -> Image.Image:
    """A canvas on which `source` stands at `at` and is reflected at its edges in every direction."""
    width, height = source.size
    across = ImageOps.mirror(source)
    tiles = ((source, across), (ImageOps.flip(source), ImageOps.flip(across)))
    canvas = Image.new("RGB", size)
    for row in range(-math.ceil(at[1] / height), math.ceil((size[1] - at[1]) / height)):
        for column in range(-math.ceil(at[0] / width), math.ceil((size[0] - at[0]) / width)):
            canvas.paste(tiles[row % 2][column % 2], (at[0] + column * width, at[1] + row * height))
    return canvas


def painted(
    image: Image.Image, chance: random.Random, strokes: int, length: float, mask: Image.Image | None = None
) -> Image.Image:
    """The picture overpainted with brush strokes of its own colours, `length` being the longest, in pixels.

    With a mask (L, of the same size) strokes begin only where it is white.
    """
    width, height = image.size
    hints = image.resize((96, 96), Image.Resampling.BOX).load()
    places = mask.resize((96, 96), Image.Resampling.BOX).load() if mask else None
    assert hints is not None
    canvas = image.copy()
    draw = ImageDraw.Draw(canvas)
    swing = chance.uniform(-0.6, 0.6)
    for _ in range(strokes):
        column, row = chance.randrange(96), chance.randrange(96)
        if places is not None and places[column, row] < 96:  # type: ignore[operator]  # one band: a number
            continue
        light = chance.uniform(0.86, 1.14)
        red, green, blue = hints[column, row]  # type: ignore[misc]  # three bands: a tuple of three
        angle = swing + chance.gauss(0, 0.5)
        reach = length * chance.uniform(0.3, 1)
        x, y = (column + chance.random()) * width / 96, (row + chance.random()) * height / 96
        end = (x + reach * math.cos(angle), y + reach * math.sin(angle))
        colour = (min(255, int(red * light)), min(255, int(green * light)), min(255, int(blue * light)))
        draw.line(((x, y), end), fill=colour, width=max(2, int(reach / 5)))
    return canvas.filter(ImageFilter.GaussianBlur(0.8))


def healed(image: Image.Image, hole: Image.Image) -> Image.Image:
    """The picture with its hole (L, white) filled smoothly from all around, coarse to fine."""
    known = image.copy()
    known.putalpha(ImageChops.invert(hole))
    level = known.resize((1, 1), Image.Resampling.BOX)
    level.putalpha(255)
    for side in (2, 4, 8, 16, 32, 64, 128):
        level = level.resize((side, side), Image.Resampling.BICUBIC)
        level.alpha_composite(known.resize((side, side), Image.Resampling.BOX))
    filled = level.convert("RGB").resize(image.size, Image.Resampling.BICUBIC)
    return Image.composite(filled, image, hole)


def grown(mask: Image.Image, width: int) -> Image.Image:
    """A mask (L) whose white reaches about `width` pixels farther."""
    return mask.filter(ImageFilter.BoxBlur(width)).point(lambda value: 255 if value > 8 else 0)


def ramp(size: tuple[int, int], box: tuple[int, int, int, int], reach: int) -> Image.Image:
    """L: black inside `box`, growing white with the distance from it, white about `reach` pixels away."""
    eighth = (max(1, size[0] // 8), max(1, size[1] // 8))
    coarse = Image.new("L", eighth, 255)
    left, top, right, bottom = (edge / 8 for edge in box)
    grown = reach / 16
    ImageDraw.Draw(coarse).rectangle((left - grown, top - grown, right + grown, bottom + grown), fill=0)
    blurred = coarse.filter(ImageFilter.GaussianBlur(max(0.5, reach / 24)))
    return blurred.resize(size, Image.Resampling.BICUBIC)


def feathered(size: tuple[int, int], box: tuple[int, int, int, int], width: int) -> Image.Image:
    """L: white inside `box`, with edges that fade inwards over `width` pixels, except at the canvas's own."""
    far = 2 * width + 2
    edges = (
        box[0] + width / 2 if box[0] > 0 else -far,
        box[1] + width / 2 if box[1] > 0 else -far,
        (box[2] - 1 - width / 2) if box[2] < size[0] else size[0] + far,
        (box[3] - 1 - width / 2) if box[3] < size[1] else size[1] + far,
    )
    mask = Image.new("L", size, 0)
    if edges[0] <= edges[2] and edges[1] <= edges[3]:
        ImageDraw.Draw(mask).rectangle(edges, fill=255)
    return mask.filter(ImageFilter.BoxBlur(width / 2)) if width else mask


def _hls(hue: float, light: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue, light, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
