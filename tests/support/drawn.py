"""Pictures that show where their objects are: a frame of one colour is drawn into the source, carried by the
test's own model of an outpainting, and found again by looking at every pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from tests.support.shelf import Shelf

FRAME = (255, 0, 255)
"""The colour of the frame."""
BOX = (8, 4, 16, 12)
"""Where it stands in the source, of 64 x 48 pixels: x, y, width, height."""
MARGIN = 36
"""Pixels that a variant has on its left beside the source."""


class Drawn:
    """Variants of sources with a frame, each with the frame's box twice: with its outline, and with its mask
    as COCO's runs."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def deliver(
        self,
        *kinds: str | int,
        attributes: Sequence[Mapping[str, Any]] | None = None,
        outlined: bool = True,
        **columns: Any,
    ) -> None:
        """One variant for each of these classes, which both objects of a picture are of."""
        tasks = []
        for kind in kinds:
            photo = self.shelf.photo(f"{kind}.png")
            with Image.open(photo) as image:
                source = framed(image)
            source.save(photo)
            labels: dict[str, Any] = {"boxes": [list(BOX)] * 2, "box_classes": [kind] * 2}
            if outlined:
                labels |= {"box_polygons": [[outline(BOX)], []], "box_rles": [None, runs(BOX, (64, 48))]}
            if attributes is not None:
                labels["box_attributes"] = attributes
            tasks.append(self.shelf.variant(f"v-{kind}", photo, **labels, **columns))
        self.shelf.deliver(*tasks)
        for kind in kinds:
            whole = Image.new("RGB", (100, 48), "white")
            with Image.open(self.shelf.folder / "photos" / f"{kind}.png") as source:
                whole.paste(source, (MARGIN, 0))
            self.shelf.repaint(f"v-{kind}.png", whole)


def framed(image: Image.Image) -> Image.Image:
    """The picture with the frame."""
    x, y, width, height = BOX
    copy = image.convert("RGB")
    ImageDraw.Draw(copy).rectangle((x, y, x + width - 1, y + height - 1), outline=FRAME)
    return copy


def frame_of(picture: Image.Image) -> tuple[int, int, int, int]:
    """x, y, width and height of the frame, found pixel by pixel."""
    pixels = picture.convert("RGB").load()
    assert pixels is not None
    found = [(x, y) for x in range(picture.width) for y in range(picture.height) if pixels[x, y] == FRAME]
    across, down = [x for x, _ in found], [y for _, y in found]
    return min(across), min(down), max(across) - min(across) + 1, max(down) - min(down) + 1


def lattice(picture: Image.Image) -> Any:
    """The colour at the frame's left top corner in a variant."""
    return picture.convert("RGB").getpixel((MARGIN + BOX[0], BOX[1]))


def outline(box: Sequence[float]) -> list[float]:
    """Its four corners."""
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def runs(box: Sequence[int], size: tuple[int, int]) -> dict[str, Any]:
    """It as COCO's uncompressed runs, counted pixel by pixel."""
    x, y, width, height = box
    values = [
        int(x <= across < x + width and y <= down < y + height)
        for across in range(size[0])
        for down in range(size[1])
    ]
    counts, last = [0], 0
    for value in values:
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": [size[1], size[0]], "counts": counts}
