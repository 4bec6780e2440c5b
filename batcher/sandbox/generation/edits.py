"""What each model does to its input; sizes and places are the table of this package's docstring."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image, ImageFilter, ImageOps

from batcher.sandbox.generation import GeneratedImage
from batcher.sandbox.generation.brush import (
    feathered,
    graded,
    grown,
    healed,
    mirrored,
    painted,
    palette,
    ramp,
)
from batcher.sandbox.job import JobFailed

PIXELS = 50_000_000
"""No larger input is decoded, no larger output made."""
NATIVE = 512
"""Side of the square into which sd1.5-outpaint fits its input at scale 1."""

Edit = Callable[[Mapping[str, Any], Mapping[str, bytes], int], Image.Image]


def draw(slug: str, values: Mapping[str, Any], inputs: Mapping[str, bytes], seed: int) -> GeneratedImage:
    """One output of a model.

    Raises:
        JobFailed: an input cannot be decoded, or the output would be larger than a model makes.
    """
    image = _EDITS.get(slug, _other)(values, inputs, seed)
    return GeneratedImage.encoded(image, "image/png" if values.get("base64") else "image/jpeg")


def _sd_outpaint(values: Mapping[str, Any], inputs: Mapping[str, bytes], seed: int) -> Image.Image:
    size = (values["img_width"] or 1024, values["img_height"] or 1024)
    side = max(16, round(NATIVE * values["scale"]))
    source = _contained(decoded(inputs["image"]), (side, side))
    at = (values["offset_x"], values["offset_y"])
    return _extended(source, size, at, values["prompt"], values["strength"], values["mask_expand"], seed)


def _seg_beyond(values: Mapping[str, Any], inputs: Mapping[str, bytes], seed: int) -> Image.Image:
    source = decoded(inputs["input_image"])
    left, top = values["left"], values["top"]
    size = (source.width + left + values["right"], source.height + top + values["bottom"])
    return _extended(source, size, (left, top), values["prompt"], 1.0, 12, seed)


def _focus_outpaint(values: Mapping[str, Any], inputs: Mapping[str, bytes], seed: int) -> Image.Image:
    size = _ratio(values["aspect_ratios"])
    sides = {side.strip().lower() for side in str(values["outpaint_selections"]).split(",")}
    left, right, top, bottom = (side in sides for side in ("left", "right", "top", "bottom"))
    room = (size[0] - (left + right) * size[0] // 4, size[1] - (top + bottom) * size[1] // 4)
    source = _contained(decoded(inputs["input_image"]), room)
    spare = (size[0] - source.width, size[1] - source.height)
    at = (_share(spare[0], left, right), _share(spare[1], top, bottom))
    return _extended(source, size, at, values["prompt"], 1.0, 12, seed)


def _inpaint(values: Mapping[str, Any], inputs: Mapping[str, bytes], seed: int) -> Image.Image:
    size = (values["img_width"], values["img_height"])
    whole = decoded(inputs["image"])
    mask = decoded(inputs["mask"]).convert("L").resize(whole.size)
    image = ImageOps.fit(whole, size, Image.Resampling.BICUBIC)
    hole = ImageOps.fit(mask, size).point(lambda value: 255 if value >= 128 else 0)
    colours, chance = palette(values["prompt"]), random.Random(f"{seed}/inpaint")
    around = healed(image, grown(hole, 4))
    motif = chance.choice((ImageOps.mirror, ImageOps.flip))(image).filter(ImageFilter.BoxBlur(2))
    fresh = graded(Image.blend(around, motif, 0.6), colours, 0.4)
    for strokes, length in ((500, size[0] / 14), (1500, size[0] / 34)):
        fresh = painted(fresh, chance, strokes, length, hole)
    fresh = Image.blend(image, fresh, values["strength"])
    return Image.composite(fresh, image, hole.filter(ImageFilter.GaussianBlur(2)))


def _img2img(values: Mapping[str, Any], inputs: Mapping[str, bytes], seed: int) -> Image.Image:
    size = (values["img_width"], values["img_height"])
    image = ImageOps.fit(decoded(inputs["image"]), size, Image.Resampling.BICUBIC)
    return _restyled(image, values["prompt"], values["strength"], seed)


def _other(values: Mapping[str, Any], inputs: Mapping[str, bytes], seed: int) -> Image.Image:
    """A model of which only its page is known."""
    source = next(iter(inputs.values()), None)
    image = decoded(source) if source else Image.new("RGB", (512, 512), (128, 128, 128))
    return _restyled(image, str(values.get("prompt") or ""), 0.75, seed)


def _extended(
    source: Image.Image,
    size: tuple[int, int],
    at: tuple[int, int],
    prompt: str,
    strength: float,
    feather: int,
    seed: int,
) -> Image.Image:
    """The source on a larger canvas: reflected close by, repainted in the prompt's colours farther away."""
    if size[0] * size[1] > PIXELS:
        raise JobFailed(f"output of {size[0]}x{size[1]} is too large")
    chance = random.Random(f"{seed}/extend")
    box = (at[0], at[1], at[0] + source.width, at[1] + source.height)
    near = mirrored(source, size, at)
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    turned = ImageOps.mirror(source) if chance.random() < 0.5 else source
    far = ImageOps.fit(turned, half, centering=(chance.random(), 0.5)).filter(ImageFilter.BoxBlur(5))
    far = painted(far, chance, 900, half[0] / 10)
    soft = near.resize(half, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(9))
    far = Image.blend(soft, far, strength)
    colours, reach = palette(prompt), max(48, min(size) // 4)
    # From the seam outwards: a sharp reflection, a soft one, so that no face stands on its head, and paint.
    halved = (box[0] // 2, box[1] // 2, box[2] // 2, box[3] // 2)
    paint = Image.composite(
        graded(far, colours, 0.5), graded(soft, colours, 0.3), ramp(half, halved, reach // 2)
    )
    outside = Image.composite(
        paint.resize(size, Image.Resampling.BILINEAR), near, ramp(size, box, reach // 4)
    )
    # A quarter of a picture that is small is enough to lose in its seam.
    seam = min(feather, source.width // 4, source.height // 4)
    outside.paste(near, mask=feathered(size, box, seam))
    return outside


def _restyled(image: Image.Image, prompt: str, strength: float, seed: int) -> Image.Image:
    """The whole picture as a painting in the prompt's colours, by `strength` from 0.1 to 1."""
    chance = random.Random(f"{seed}/restyle")
    long = max(image.size)
    style = graded(image.filter(ImageFilter.BoxBlur(4)), palette(prompt), 0.6)
    for strokes, length in ((1200, long / 14), (3200, long / 34)):
        style = painted(style, chance, strokes, length)
    # What is fine in the motif shows through, so that a person recognises it.
    style = Image.blend(style, image, 0.2)
    outlines = (
        ImageOps.grayscale(image).filter(ImageFilter.FIND_EDGES).point(lambda value: min(255, value * 2))
    )
    dark = Image.new("RGB", image.size, palette(prompt)[0])
    style = Image.composite(dark, style, outlines.point(lambda value: value // 2))
    return Image.blend(image, style, strength)


@functools.lru_cache(maxsize=4)
def decoded(data: bytes) -> Image.Image:
    """The input, upright, in RGB on white. Callers do not change it in place: it is shared.

    Raises:
        JobFailed: it is no picture, or too large a one.
    """
    try:
        image = Image.open(io.BytesIO(data))
        small = image.width * image.height <= PIXELS
        upright = ImageOps.exif_transpose(image) if small else image
        if small and upright.has_transparency_data:
            upright = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
        rgb = upright.convert("RGB") if small else None
    except Exception as problem:  # decoders raise whatever a broken file makes them stumble over
        raise JobFailed("cannot identify image file") from problem
    if rgb is None:
        raise JobFailed(f"image of {image.width}x{image.height} is too large")
    return rgb


def _contained(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    """The image as large as it fits into the room, at least one pixel wide and high."""
    factor = min(room[0] / image.width, room[1] / image.height)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _ratio(text: str) -> tuple[int, int]:
    width, star, height = str(text).partition("*")
    if not star or not width.isascii() or not (width + height).isdigit():
        raise JobFailed(f"Invalid value for parameter 'aspect_ratios': {text}")
    return max(1, int(width)), max(1, int(height))


def _share(spare: int, before: bool, after: bool) -> int:
    """How much of the spare room comes before the source: all, none, or half of it."""
    if before == after:
        return spare // 2
    return spare if before else 0


_EDITS: Mapping[str, Edit] = {
    "sd1.5-outpaint": _sd_outpaint,
    "seg-beyond": _seg_beyond,
    "focus-outpaint": _focus_outpaint,
    "sd1.5-inpainting": _inpaint,
    "sd1.5-img2img": _img2img,
}
