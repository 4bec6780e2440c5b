"""Outputs that no model should give: black, of another size, or the source again."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from batcher.sandbox.generation import GeneratedImage
from batcher.sandbox.generation.edits import decoded


def black(output: GeneratedImage) -> GeneratedImage:
    """A black picture of the output's size, as a safety filter leaves it."""
    return GeneratedImage.encoded(Image.new("RGB", _opened(output).size), output.content_type)


def rescaled(output: GeneratedImage, scale: float) -> GeneratedImage:
    """The output `scale` times as wide and high, and never of the size that it had."""
    image = _opened(output)
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    size = (width + 1, height) if (width, height) == image.size else (width, height)
    return GeneratedImage.encoded(image.resize(size), output.content_type)


def unchanged(output: GeneratedImage, source: bytes) -> GeneratedImage:
    """The source, cropped to cover the output's size.

    Raises:
        JobFailed: the source cannot be decoded.
    """
    image = ImageOps.fit(decoded(source), _opened(output).size, Image.Resampling.BICUBIC)
    return GeneratedImage.encoded(image, output.content_type)


def _opened(output: GeneratedImage) -> Image.Image:
    return Image.open(io.BytesIO(output.data)).convert("RGB")
