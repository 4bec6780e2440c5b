"""Masks: moved, scaled and cropped with the source; their values are never mixed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from batcher.errors import BadDownload
from batcher.results.export import masks


def laid(path: Path, x: int, y: int, width: int, height: int, size: tuple[int, int]) -> Image.Image:
    data = masks.laid(str(path), {"x": x, "y": y, "width": width, "height": height}, size)
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_the_ids_of_a_scaled_mask_are_those_it_had(tmp_path: Path, mode: str) -> None:
    mask = Image.new(mode, (40, 30), 3)
    if mode == "P":
        mask.putpalette([0, 0, 0, 9, 9, 9, 20, 20, 20, 200, 0, 0, 0, 0, 250])
    for x in range(20):
        for y in range(30):
            mask.putpixel((x, y), 250 if mode != "P" else 4)
    mask.save(tmp_path / "mask.png")
    found = laid(tmp_path / "mask.png", 10, 20, 111, 77, (200, 100))
    assert found.size == (200, 100)
    assert {found.getpixel((x, y)) for x in range(200) for y in range(100)} == {
        0,
        3,
        4 if mode == "P" else 250,
    }
    assert [found.getpixel(at) for at in ((9, 30), (10, 20), (120, 96), (121, 30))] == [
        0,
        4 if mode == "P" else 250,
        3,
        0,
    ]
    if mode == "P":
        assert (found.getpalette() or [])[9:12] == [200, 0, 0]


def test_what_the_model_cropped_of_the_source_is_cropped_of_its_mask(tmp_path: Path) -> None:
    mask = Image.new("L", (40, 20))
    mask.putpixel((0, 0), 255)
    mask.putpixel((20, 10), 7)
    mask.save(tmp_path / "mask.png")
    found = laid(tmp_path / "mask.png", -10, 0, 40, 20, (20, 20))
    assert found.getcolors() == [(399, 0), (1, 7)]
    assert found.getpixel((10, 10)) == 7


def test_a_mask_that_would_be_enormous_is_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "mask.png")
    with pytest.raises(BadDownload, match="would have 1000000 x 1000000 pixels"):
        laid(tmp_path / "mask.png", 0, 0, 1_000_000, 1_000_000, (10, 10))


@pytest.mark.parametrize("size", [(40, 30), (80, 60), (13, 10)])
def test_a_mask_of_another_shape_than_its_picture_is_not_the_pictures(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path, at = tmp_path / "mask.png", {"x": 0, "y": 0, "width": 40, "height": 30}
    Image.new("L", size).save(path)
    assert masks.laid(str(path), at, (60, 30), fitting=True)
    Image.new("L", (30, 40)).save(path)
    assert masks.laid(str(path), at, (60, 30))
    with pytest.raises(BadDownload, match=r"\(30 x 40\) has not the shape of its picture"):
        masks.laid(str(path), at, (60, 30), fitting=True)
