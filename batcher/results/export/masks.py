"""A mask of the source, laid where the source lies in the delivered picture.

Rule: a mask's values are ids, not brightness: they are moved and repeated, never mixed. What the model
painted around the source is 0.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

from batcher import errors
from batcher.job import geometry
from batcher.storage import stores

LARGEST = 100_000_000
"""Pixels; no model lays a source out larger."""


def laid(path: str, placement: Mapping[str, int], size: tuple[int, int], *, fitting: bool = False) -> bytes:
    """The mask at `path` as a PNG of `size`; `fitting`: it has to have its source's shape. Raises BadDownload
    with what is wrong in words."""
    from PIL import Image, ImageOps

    room = (placement["width"], placement["height"])
    if room[0] * room[1] > LARGEST:
        raise errors.BadDownload(f"the mask {path} would have {room[0]} x {room[1]} pixels")
    try:
        with stores.open_address(path) as file, Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            if fitting and not geometry.same_shape(upright.size, room):
                shown = f"{upright.width} x {upright.height}"
                raise errors.BadDownload(f"the mask {path} ({shown}) has not the shape of its picture")
            mask = upright.convert("L") if upright.mode in ("1", "CMYK", "YCbCr", "F") else upright
            scaled = mask.resize(room, Image.Resampling.NEAREST)
        whole = Image.new(mask.mode, size, 0)
        if mask.mode == "P" and (palette := mask.getpalette()) is not None:
            whole.putpalette(palette)
        whole.paste(scaled, (placement["x"], placement["y"]))
        buffer = io.BytesIO()
        whole.save(buffer, "PNG")
    except errors.BadDownload:
        raise
    except Exception as error:
        # Foreign bytes: decoders raise whatever a damaged field leads to.
        raise errors.BadDownload(f"the mask {path} cannot be read: {error}") from error
    return buffer.getvalue()
