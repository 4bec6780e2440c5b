"""Masks: moved, scaled and cropped with the source; their values are never mixed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batcher.errors import BadDownload
from batcher.results.export import ExportOptions, export, masks
from tests.support.shelf import Shelf


def laid(path: Path, x: int, y: int, width: int, height: int, size: tuple[int, int]) -> Image.Image:
    found = masks.laid(str(path), {"x": x, "y": y, "width": width, "height": height}, size)
    return Image.open(io.BytesIO(found.content))


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


# --- beside the source


def saved(path: Path, mode: str, *values: int | float) -> Path:
    """A mask of four columns, in turn of these values."""
    mask = Image.new(mode, (4, 4))
    if mode == "P":
        mask.putpalette([value // 3 for value in range(768)])
    for x in range(4):
        for y in range(4):
            mask.putpixel((x, y), values[x % len(values)])
    mask.save(path)
    return path


@pytest.mark.parametrize(
    ("mode", "values", "wanted"),
    [
        ("L", (0, 7, 255), 255),  # 255 beside classes means none
        ("L", (0, 7), 0),
        ("L", (0, 255), 0),  # black and white: 255 is what is meant
        ("1", (0, 255), 0),
        ("P", (0, 255), 255),  # an index of a palette
        ("P", (0, 3), 0),
        ("I;16", (0, 7, 255), 255),
        ("I;16", (0, 255, 700), 0),  # one number of many
    ],
)
def test_a_mask_says_itself_what_it_says_beside_the_source(
    tmp_path: Path, mode: str, values: tuple[int, ...], wanted: int
) -> None:
    path = saved(tmp_path / "mask.png", mode, *values)
    found = masks.laid(str(path), {"x": 2, "y": 0, "width": 4, "height": 4}, (6, 4))
    assert found.outside == wanted
    with Image.open(io.BytesIO(found.content)) as mask:
        assert [mask.getpixel((x, 1)) for x in range(2)] == [wanted] * 2
        assert [mask.getpixel((x + 2, 1)) for x in range(4)] == [values[x % len(values)] for x in range(4)]


def test_what_the_user_says_counts_and_has_to_fit(tmp_path: Path) -> None:
    at = {"x": 2, "y": 0, "width": 4, "height": 4}
    narrow, wide = saved(tmp_path / "a.png", "L", 1), saved(tmp_path / "b.png", "I;16", 1)
    assert masks.laid(str(narrow), at, (6, 4), outside=9).outside == 9
    with Image.open(io.BytesIO(masks.laid(str(wide), at, (6, 4), outside=65_535).content)) as mask:
        assert (mask.getpixel((0, 0)), mask.getpixel((2, 0))) == (65_535, 1)
    with pytest.raises(BadDownload, match="has 8 bits: there is no 300 in it"):
        masks.laid(str(narrow), at, (6, 4), outside=300)
    assert masks.laid(str(narrow), {**at, "x": 0}, (4, 4), outside=9).outside is None


def test_a_short_palette_has_room_for_void(tmp_path: Path) -> None:
    mask = Image.new("P", (4, 4), 2)
    mask.putpalette([0, 0, 0, 9, 9, 9, 20, 20, 20])
    mask.save(tmp_path / "mask.png")
    at = {"x": 2, "y": 0, "width": 4, "height": 4}
    with Image.open(
        io.BytesIO(masks.laid(str(tmp_path / "mask.png"), at, (6, 4), outside=255).content)
    ) as found:
        assert [found.getpixel((x, 0)) for x in (0, 2)] == [255, 2]
        assert (found.getpalette() or [])[6:9] == [20, 20, 20]


# --- numbers that are no bytes


@pytest.mark.parametrize(("values", "mode"), [((0.0, 3.0), "L"), ((0.0, 3000.0), "I;16")])
def test_classes_that_are_kept_as_floats_stay_these_classes(
    tmp_path: Path, values: tuple[float, ...], mode: str
) -> None:
    path = saved(tmp_path / "mask.tiff", "F", *values)
    found = laid(path, 0, 0, 4, 4, (4, 4))
    assert found.mode == mode
    assert [found.getpixel((x, 0)) for x in range(2)] == list(values)


@pytest.mark.parametrize("values", [(0.0, 0.6), (-1.0, 3.0), (0.0, 70_000.0)])
def test_fractions_are_no_classes_and_are_told(tmp_path: Path, values: tuple[float, ...]) -> None:
    path = saved(tmp_path / "mask.tiff", "F", *values)
    with pytest.raises(BadDownload, match="has fractions, or no numbers of classes"):
        laid(path, 0, 0, 4, 4, (4, 4))
    with pytest.raises(BadDownload, match="has fractions"):
        masks.as_png(str(path))


def test_integers_of_32_bits_become_16(tmp_path: Path) -> None:
    found = laid(saved(tmp_path / "mask.tiff", "I", 3, 40_000), 0, 0, 4, 4, (4, 4))
    assert [found.getpixel((x, 0)) for x in range(2)] == [3, 40_000]


def test_the_value_of_the_manifest_counts_and_that_of_the_command_more(shelf: Shelf) -> None:
    path = saved(shelf.folder / "mask.png", "L", 0, 7)
    with Image.open(path) as small:
        small.resize((64, 48)).save(path)
    shelf.deliver(shelf.variant("v", shelf.photo("a.png"), mask=str(path)), mask_outside="9")
    for number, (wish, wanted) in enumerate(((None, 9), (0, 0))):
        into = shelf.folder / f"dataset{number}"
        told = export(shelf.output, ExportOptions(to="imagefolder", into=into, mask_outside=wish))
        assert told.notes[0].startswith(f"where the source does not lie, masks say {wanted} (1 mask);")
        with Image.open(into / "train" / "masks" / "v.png") as mask:
            assert mask.getpixel((0, 0)) == wanted


def test_a_mask_whose_place_is_not_known_is_left_out_and_told(shelf: Shelf) -> None:
    path = saved(shelf.folder / "mask.png", "L", 0, 7)
    shelf.deliver(shelf.variant("v", "https://photos.example/one.png", mask=str(path)))
    told = export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "dataset"))
    assert (told.pictures, told.masks) == (1, 0)
    assert told.notes == ("1 mask is left out: where the source lies in the picture is not known",)


def test_a_mask_that_serves_several_pictures_is_no_label_of_theirs(shelf: Shelf) -> None:
    paths = {name: shelf.folder / f"{name}.png" for name in ("stand-in", "own")}
    for path in paths.values():
        Image.new("L", (64, 48), 255).save(path)

    def inpainted(name: str, sent: str, **columns: Any) -> dict[str, Any]:
        task = shelf.variant(name, shelf.photo(f"{name}.png"), **columns)
        task["params"]["mask"] = str(paths[sent])
        task["media"]["mask"] = "d" * 64
        return task

    shelf.deliver(
        inpainted("a", "stand-in"),
        inpainted("b", "stand-in"),
        inpainted("c", "own"),
        inpainted("d", "stand-in", mask=str(paths["stand-in"])),
    )
    told = export(
        shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "dataset", originals=True)
    )
    written = sorted(path.name for path in (shelf.folder / "dataset/train/masks").iterdir())
    assert [name.partition("-")[0] for name in written] == ["c", "c.png", "d", "d.png"]
    note = "the mask stand-in.png, which serves 2 pictures, is no label of theirs, and left out; as a column"
    assert any(one.startswith(note) for one in told.notes)


def test_the_mask_of_an_original_has_the_size_of_its_picture(shelf: Shelf) -> None:
    """A mask of half the size is one, and is scaled for a variant; readers lay it on the original, too."""
    mask = Image.new("L", (32, 24), 3)
    mask.putpixel((0, 0), 7)
    mask.save(shelf.folder / "mask.png")
    shelf.deliver(shelf.variant("v", shelf.photo("a.png"), mask=str(shelf.folder / "mask.png")))
    into = shelf.folder / "dataset"
    export(shelf.output, ExportOptions(to="coco", into=into, originals=True))
    for picture in (path for path in (into / "train").iterdir() if path.suffix != ".jsonl"):
        with Image.open(picture) as shown, Image.open(into / f"masks/train/{picture.stem}.png") as found:
            assert found.size == shown.size
            assert {value for _, value in found.getcolors() or ()} <= {0, 3, 7}
