"""A mask of the source, laid where the source lies in the delivered picture.

Rule: a mask's values are ids, not brightness: they are moved and repeated, never mixed. A palette and its
indices stay. What the model painted around the source is `outside`: 255, where the mask itself says by 255
that no class is meant, else 0; or what the user says.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batcher import errors
from batcher.job import geometry
from batcher.results.export.voc_masks import VOID as VOID_COLOUR
from batcher.storage import pictures, stores

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

LARGEST = 100_000_000
"""Pixels; no model lays a source out larger."""
VOID = 255
"""What many sets say where no class is meant: VOC at the edges of objects, Cityscapes beside the street."""
MOST_16_BIT = 65_535


@dataclass(frozen=True, slots=True)
class LaidMask:
    """A PNG; `outside` is what it says where the source does not lie, None where it lies everywhere."""

    content: bytes
    outside: int | None


def laid(
    path: str,
    placement: Mapping[str, int],
    size: tuple[int, int],
    *,
    fitting: bool = False,
    outside: int | None = None,
) -> LaidMask:
    """The mask at `path` as a PNG of `size`; `fitting`: it has to have its source's shape. Raises BadDownload
    with what is wrong in words."""
    from PIL import Image

    room = (placement["width"], placement["height"])
    if room[0] * room[1] > LARGEST:
        raise errors.BadDownload(f"the mask {path} would have {room[0]} x {room[1]} pixels")
    try:
        mask = _opened(path)
        if fitting and not geometry.same_shape(mask.size, room):
            shown = f"{mask.width} x {mask.height}"
            raise errors.BadDownload(f"the mask {path} ({shown}) has not the shape of its picture")
        fill = outside_of(mask) if outside is None else _fitting(path, mask, outside)
        scaled = mask.resize(room, Image.Resampling.NEAREST)
        bands = len(mask.getbands())
        whole = Image.new(mask.mode, size, fill if bands == 1 else (fill,) * bands)
        colours = mask.getpalette() if mask.mode == "P" else None
        if colours is not None:
            whole.putpalette(_reaching(colours, fill))
        x, y = placement["x"], placement["y"]
        whole.paste(scaled, (x, y))
        everywhere = x <= 0 and y <= 0 and x + room[0] >= size[0] and y + room[1] >= size[1]
        return LaidMask(_png(whole), None if everywhere else fill)
    except errors.BadDownload:
        raise
    except Exception as error:
        # Foreign bytes: decoders raise whatever a damaged field leads to.
        raise errors.BadDownload(f"the mask {path} cannot be read: {error}") from error


def has_to_be_scaled(path: str, size: tuple[int, int]) -> bool:
    """Whether a mask has the shape of its picture and not its size: readers lay it pixel by pixel. What is
    wrong with it is told where it is laid."""
    try:
        with stores.open_address(path) as file:
            found = pictures.upright_size(file)
    except (OSError, errors.BadDownload):
        return False
    return found != size and geometry.same_shape(found, size)


def as_png(path: str) -> bytes:
    """The mask as it is, upright, as a PNG. Raises BadDownload."""
    try:
        return _png(_opened(path))
    except errors.BadDownload:
        raise
    except Exception as error:
        raise errors.BadDownload(f"the mask {path} cannot be read: {error}") from error


def outside_of(mask: PilImage) -> int:
    """What a mask says where no class is meant: VOID, where it has that beside classes, or VOC's palette; 0,
    also for one in black and white, where 255 is what is meant."""
    if mask.mode == "P":
        colours = mask.getpalette() or []
        is_vocs = tuple(colours[3 * VOID : 3 * VOID + 3]) == VOID_COLOUR
        return VOID if is_vocs or mask.histogram()[VOID] else 0
    if mask.mode == "L":
        used = {value for value, number in enumerate(mask.histogram()) if number}
        return VOID if VOID in used and used - {0, VOID} else 0
    return VOID if mask.mode == "I;16" and mask.getextrema()[1] == VOID else 0


def _fitting(path: str, mask: PilImage, outside: int) -> int:
    """What the user says, where the mask has room for it. Raises BadDownload."""
    if outside > VOID and mask.mode != "I;16":
        raise errors.BadDownload(f"the mask {path} has 8 bits: there is no {outside} in it")
    return outside


def _opened(path: str) -> PilImage:
    """The mask, upright, with values that a PNG has. Raises BadDownload."""
    from PIL import Image, ImageOps

    with stores.open_address(path) as file, Image.open(file) as image:
        mask = ImageOps.exif_transpose(image)
    if mask.mode in ("1", "CMYK", "YCbCr"):
        return mask.convert("L")
    if mask.mode == "F" or (mask.mode.startswith("I") and mask.mode != "I;16"):
        return _whole_numbers(path, mask)
    return mask


def _whole_numbers(path: str, mask: PilImage) -> PilImage:
    """A mask of numbers, each of which a PNG of 8 or 16 bits holds. Raises BadDownload with what it has else:
    nobody could say which classes fractions are."""
    numbers = mask if mask.mode == "F" else mask.convert("I")
    values = set(array("f" if mask.mode == "F" else "i", numbers.tobytes()))
    if not all(float(value).is_integer() and 0 <= value <= MOST_16_BIT for value in values):
        shown = f"{min(values):g} to {max(values):g}"
        raise errors.BadDownload(
            f"the mask {path} has fractions, or no numbers of classes ({shown}); "
            f"write its classes as whole numbers from 0 to {MOST_16_BIT}"
        )
    if max(values, default=0) <= VOID:
        return numbers.convert("L")
    return numbers.convert("I").convert("I;16")


def _reaching(colours: list[int], fill: int) -> list[int]:
    """A palette in which `fill` has a colour, for an index without one is not kept."""
    if len(colours) > 3 * fill:
        return colours
    return [*colours, *[0] * (3 * VOID - len(colours)), *VOID_COLOUR]


def _png(image: PilImage) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **({"bits": 8} if image.mode == "P" else {}))
    return buffer.getvalue()
