"""What the models draw: real edits of the real input with Pillow, so that a person sees what would be.

    model               size of the output                    where the input stands in it
    sd1.5-outpaint      img_width x img_height (1024)         at offset_x, offset_y, fitted into a square
                                                              of 512 x scale pixels
    seg-beyond          the input's + left, right, top,       at (left, top), unscaled
                        bottom
    focus-outpaint      aspect_ratios, "W*H"                  fitted into what the selections leave: each
                                                              takes a quarter of the width or height
    sd1.5-inpainting    img_width x img_height (512)          everywhere, cropped to cover; the white of
                                                              the mask is refilled
    sd1.5-img2img       img_width x img_height (512)          everywhere, cropped to cover; restyled
    any other           the input's                           everywhere, restyled

    edits.py    what each model does to its input
    retouch.py  outputs that no model should give
    brush.py    the strokes of which every edit is made
    stock.py    photographs and masks that no network has to deliver

Rule: the same parameters, inputs and seed give the same bytes. Pillow is imported with the first picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

CONSTANT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
)
"""A PNG of one pixel."""


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """An encoded picture."""

    data: bytes
    content_type: str

    @classmethod
    def constant(cls) -> GeneratedImage:
        """The tiny picture that stands for every other where speed matters more than sight."""
        return cls(CONSTANT, "image/png")

    @classmethod
    def encoded(cls, image: Image.Image, content_type: str) -> GeneratedImage:
        """A picture as PNG or JPEG."""
        buffer = io.BytesIO()
        if content_type == "image/png":
            image.save(buffer, "PNG", compress_level=1)
        else:
            image.save(buffer, "JPEG", quality=90)
        return cls(buffer.getvalue(), content_type)


def generate(
    slug: str, values: Mapping[str, Any], inputs: Mapping[str, bytes], seed: int, count: int
) -> list[GeneratedImage]:
    """The outputs of one job: JPEG, or PNG where `base64` is asked for; some 0.1 s each.

    `values` are the parameters with the page's defaults filled in, `inputs` the bytes of the media ones.

    Raises:
        JobFailed: an input cannot be decoded.
    """
    from batcher.sandbox.generation import edits

    return [edits.draw(slug, values, inputs, seed + index) for index in range(count)]
