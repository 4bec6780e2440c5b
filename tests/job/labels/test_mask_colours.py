"""A mask of classes is told before it goes as the mask of what is painted anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from batcher.job.labels.mask_colours import LOOKED_AT, MaskColours, what_is_wrong
from batcher.task import Task


def classes(*values: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A stripe for each value."""
    image = Image.new("L", size)
    for place, value in enumerate(values):
        image.paste(value, (place * 5, 0, place * 5 + 5, size[1]))
    return image


def with_palette(image: Image.Image, colours: list[int]) -> Image.Image:
    indexed = Image.frombytes("P", image.size, image.tobytes())
    indexed.putpalette(colours)
    return indexed


def deep(low: int, high: int) -> Image.Image:
    """Of sixteen bits."""
    return Image.frombytes("I;16", (40, 30), b"".join(one.to_bytes(2, "little") for one in (low, high) * 600))


VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
RED = Image.new("RGB", (40, 30), "white")
RED.paste((255, 0, 0), (0, 0, 20, 30))


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (with_palette(classes(0, 1, 2, 3), VOC), "4 colours, not black and white"),
        (
            with_palette(classes(*[1] * 8), [0, 0, 0, 128, 0, 0]),
            "1 colour, not black and white",
        ),
        (RED, "2 colours, not black and white"),
        (classes(0, 1, 20), "3 shades, the lightest 20 of 255, not black and white"),
        (classes(0, 1), "2 shades, the lightest 1 of 255, not black and white"),
        (deep(0, 3), "2 shades, the lightest 3 of 65535, not black and white"),
    ],
)
def test_classes_are_told(tmp_path: Path, image: Image.Image, why: str) -> None:
    image.save(tmp_path / "a.png")
    assert what_is_wrong(str(tmp_path / "a.png")) == why


@pytest.mark.parametrize(
    "image",
    [
        classes(0, 255),
        classes(0, 255).convert("1"),
        classes(0, 255).convert("RGB"),
        classes(0, 255).convert("RGBA"),
        classes(0, 255).filter(ImageFilter.GaussianBlur(3)),
        with_palette(classes(0, 1), [0, 0, 0, 255, 255, 255]),
        classes(),
        classes(0, 255, size=(3000, 10)),
        deep(0, 60_000),
    ],
)
def test_black_white_and_greys_between_are_not(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "a.png")
    assert what_is_wrong(str(tmp_path / "a.png")) == ""


def test_a_mask_that_a_jpeg_left_uneven_is_none_of_classes(tmp_path: Path) -> None:
    classes(0, 255).convert("RGB").save(tmp_path / "a.jpg", quality=60)
    assert what_is_wrong(str(tmp_path / "a.jpg")) == ""
    assert what_is_wrong(str(tmp_path / "gone.jpg")) == ""


def test_those_of_the_first_tasks_are_told_in_one_sentence(tmp_path: Path) -> None:
    found = MaskColours(["mask"])
    for number in range(2 * LOOKED_AT):
        path = tmp_path / f"{number}.png"
        (classes(0, 255) if number % 2 else with_palette(classes(0, 1, 2, 3), VOC)).save(path)
        found.look(Task("k", "n", {"mask": str(path)}, {}, {"mask": "sha"}))
    found.look(Task("k", "n", {"mask": "https://x/a.png"}, {}, {}))
    assert found.sentence() == (
        f"{tmp_path}/0.png goes as the mask of what is painted anew (white) and kept (black): "
        f"4 colours, not black and white ({LOOKED_AT // 2} of the first {LOOKED_AT} masks are such)"
    )
    assert MaskColours(["mask"]).sentence() == ""
