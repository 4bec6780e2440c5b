"""Pascal VOC: read with nothing but an XML reader and Pillow, and compared with what is to be seen in the
pictures themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from batcher.results.export import ExportOptions, ExportResult, Splits, export, voc_masks
from tests.support.drawn import BOX, MARGIN, Drawn, frame_of
from tests.support.shelf import Shelf

HALVES = Splits.parse("train=0.5,val=0.5")
BORDER = 224, 224, 192


def exported(shelf: Shelf, name: str = "dataset", **wishes: Any) -> tuple[ExportResult, Path]:
    into = shelf.folder / name
    return export(shelf.output, ExportOptions(to="voc", into=into, **wishes)), into


def listed(into: Path, split: str = "train", kind: str = "Main") -> list[str]:
    return (into / "ImageSets" / kind / f"{split}.txt").read_text().split()


def annotation(into: Path, stem: str) -> tuple[ElementTree.Element, Path]:
    """The XML file of a picture, and the picture that it names."""
    root = ElementTree.parse(into / "Annotations" / f"{stem}.xml").getroot()
    return root, into / str(root.findtext("folder")) / str(root.findtext("filename"))


def box_of(element: ElementTree.Element) -> list[int]:
    return [int(str(element.findtext(f"bndbox/{tag}"))) for tag in ("xmin", "ymin", "xmax", "ymax")]


def a_class_mask(path: Path, kind: int, *, mode: str = "P") -> Path:
    """A mask as VOC has it: a class in the box, 255 around it, 0 elsewhere."""
    x, y, width, height = BOX
    mask = Image.new(mode, (64, 48), 0)
    mask.paste(255, (x - 1, y - 1, x + width + 1, y + height + 1))
    mask.paste(kind, (x, y, x + width, y + height))
    if mode == "P":
        mask.putpalette(voc_masks.palette())
    mask.save(path)
    return path


def test_corners_counted_from_one_are_those_of_the_frame_in_the_picture(drawn: Drawn) -> None:
    drawn.deliver(
        "cat", "dog", attributes=[{"difficult": 1, "pose": "Left"}, {"truncated": 1, "occluded": 0}]
    )
    told, into = exported(drawn.shelf, originals=True)
    assert (told.pictures, told.originals, told.missing) == (2, 2, ())
    stems = listed(into)
    assert len(stems) == 4
    for stem in stems:
        root, path = annotation(into, stem)
        with Image.open(path) as picture:
            x, y, width, height = frame_of(picture)
            sizes = [root.findtext(f"size/{tag}") for tag in ("width", "height", "depth")]
            assert sizes == [str(picture.width), str(picture.height), "3"]
        first, second = root.findall("object")
        assert box_of(first) == box_of(second) == [x + 1, y + 1, x + width, y + height]
        assert first.findtext("name") == ("dog" if "dog" in stem else "cat")
        assert [first.findtext(tag) for tag in ("difficult", "pose", "truncated", "occluded")] == [
            "1", "Left", "0", None,
        ]  # fmt: skip
        assert [second.findtext(tag) for tag in ("difficult", "pose", "truncated", "occluded")] == [
            "0", "Unspecified", "1", "0",
        ]  # fmt: skip


@pytest.mark.parametrize("mode", ["P", "L"])
def test_the_indices_of_a_mask_stay_and_what_is_new_is_void(drawn: Drawn, mode: str) -> None:
    masks = {kind: a_class_mask(drawn.shelf.folder / f"{kind}.png", kind, mode=mode) for kind in (12, 200)}
    for kind, path in masks.items():
        drawn.deliver(kind, mask=str(path), instance_mask=str(path))
    told, into = exported(drawn.shelf)
    assert told.notes[-1] == (
        "where the source does not lie, masks say 255 (2 masks); --mask-outside N says it otherwise"
    )
    stems = listed(into)
    assert listed(into, kind="Segmentation") == stems
    for stem in stems:
        kind = int(stem.removeprefix("v-"))
        root, path = annotation(into, stem)
        assert root.findtext("segmented") == "1"
        with Image.open(path) as picture:
            x, y, width, height = frame_of(picture)
        for folder in ("SegmentationClass", "SegmentationObject"):
            with Image.open(into / folder / f"{stem}.png") as mask:
                assert (mask.mode, mask.size) == ("P", (100, 48))
                colours = mask.getpalette() or []
                assert colours[: 3 * 21] == voc_masks.palette()[: 3 * 21]
                assert tuple(colours[3 * 255 :]) == BORDER
                found = [[mask.getpixel((a, b)) for b in range(48)] for a in range(100)]
        for a in range(100):
            for b in range(48):
                inside = x <= a < x + width and y <= b < y + height
                near = x - 1 <= a <= x + width and y - 1 <= b <= y + height
                assert found[a][b] == (kind if inside else 255 if near or a < MARGIN else 0)


def test_vocs_colours_are_those_of_its_devkit() -> None:
    colours = voc_masks.palette()
    wanted = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: BORDER,
    }
    for index, colour in wanted.items():
        assert tuple(colours[3 * index : 3 * index + 3]) == colour


def test_splits_are_lists_and_a_picture_without_objects_has_none_in_its_file(shelf: Shelf) -> None:
    shelf.deliver(*(shelf.variant(f"a name {n}", shelf.photo(f"{n}.png"), boxes=[]) for n in range(12)))
    told, into = exported(shelf, splits=HALVES)
    found = {split: listed(into, split) for split in ("train", "val")}
    assert {split: len(stems) for split, stems in found.items()} == told.splits
    assert sorted(found["train"] + found["val"]) == sorted(f"a_name_{n}" for n in range(12))
    for stem in found["train"]:
        root, path = annotation(into, stem)
        assert root.findall("object") == []
        assert path.is_file()
    assert "12 pictures in JPEGImages with another suffix than .jpg, which some readers expect" in told.notes


def test_a_name_that_xml_cannot_hold_and_a_box_beyond_the_edge(shelf: Shelf) -> None:
    name = '<b>&"\x1b\ud800'.encode("utf-8", "replace").decode()
    labels = {"boxes": [[-5, -5, 10, 10], [60.4, 40, 30, 30]], "box_classes": [name, "dog"]}
    shelf.deliver(shelf.variant("v", shelf.photo("a.png"), **labels))
    _, into = exported(shelf, originals=True)
    (stem,) = (stem for stem in listed(into) if stem != "v")
    root, _ = annotation(into, stem)
    assert [one.findtext("name") for one in root.findall("object")] == [
        '<b>&"\N{REPLACEMENT CHARACTER}?',
        "dog",
    ]
    assert [box_of(one) for one in root.findall("object")] == [[1, 1, 5, 5], [61, 41, 64, 48]]


def test_a_mask_in_black_and_white_and_a_crowd_are_told(shelf: Shelf) -> None:
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 9, 9))
    mask.save(shelf.folder / "mask.png")
    shelf.deliver(
        shelf.variant(
            "v",
            shelf.photo("a.png"),
            boxes=[list(BOX)],
            box_attributes=[{"iscrowd": 1}],
            mask=str(shelf.folder / "mask.png"),
        )
    )
    told, into = exported(shelf)
    assert "1 mask is black and white (0 and 255): in VOC, 255 is no class but void" in told.notes
    assert "1 crowd is marked as difficult: VOC has no word for them" in told.notes
    root, _ = annotation(into, "v")
    assert root.findtext("object/difficult") == "1"
    with Image.open(into / "SegmentationClass" / "v.png") as found:
        assert found.getpixel((0, 0)) == 0


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (128, 0, 0)), ("I;16", 300)])
def test_masks_that_are_no_indices_are_told(shelf: Shelf, mode: str, colour: Any) -> None:
    mask = Image.new(mode, (64, 48))
    mask.paste(colour, (0, 0, 9, 9))
    mask.save(shelf.folder / "mask.png")
    shelf.deliver(
        shelf.variant("v", shelf.photo("a.png"), boxes=[list(BOX)], mask=str(shelf.folder / "mask.png"))
    )
    told, into = exported(shelf)
    assert "1 mask is in colour, or of 16 bits, and left so" in " ".join(told.notes)
    with Image.open(into / "SegmentationClass" / "v.png") as found:
        assert found.mode == mode
