"""The recipes of examples/datasets.md, run as they are written, on the sandbox.

A code block whose first line names a file (```yaml seasons.yaml) is that file; `sh` blocks are run.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from PIL import Image, ImageDraw

from tests.support.pages import DATASETS, ROOT, recipe, run


@pytest.mark.process
def test_from_a_folder_of_photos_with_csv_labels_to_a_training_set(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "photos")
    for command in recipe(DATASETS, "From a folder of photos with CSV labels to a training set", tmp_path):
        told = run(command, tmp_path, environment)
    assert "12 pictures, 6 originals in dataset (imagefolder)\n" in told
    rows = run(f"{sys.executable} load.py", tmp_path, environment).splitlines()
    counts = re.search(r"train  (\d+)\n  test  (\d+)", told)
    assert counts is not None
    assert len(rows) == int(counts[1]) > 0
    assert int(counts[2]) > 0
    assert all(re.fullmatch(r"\(\d+, \d+\) \w+ \[\[\d.*\]\]", row) for row in rows), rows


@pytest.mark.process
def test_so_many_good_pictures_of_each_class(tmp_path: Path, environment: dict[str, str]) -> None:
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "photos")
    made, reviewed = recipe(DATASETS, "So many good pictures of each class", tmp_path)
    told = run(made, tmp_path, environment)
    assert "4 of each of 3 groups; about 12 tasks to submit for that" in told
    assert re.search(r"label=fog +0 of 4 +0 +0 +0 +24\n", told), told
    told = run(f"{made}\nbatcher status weather.yaml --json", tmp_path, environment)
    status = json.loads(told[told.index('{"job"') :])
    assert (status["state"], status["counts"]["done"], status["counts"]["planned"]) == ("finished", 12, 60)
    told = run(f"{reviewed}\nbatcher status weather.yaml --json", tmp_path, environment)
    assert "12 pictures in weather (imagefolder)\n" in told
    status = json.loads(told[told.index('{"job"') :])
    assert (status["state"], status["counts"]["done"], status["counts"]["rejected"]) == ("finished", 12, 1)
    assert status["images"] == 13
    counted = run(f"{sys.executable} count.py", tmp_path, environment)
    assert dict.fromkeys(("fog", "rain", "snow"), 4) == dict(ast.literal_eval(counted.strip()[8:-1]))


MAGENTA, BOX = (255, 0, 255), (40, 30, 120, 100)
"""A block of one colour, and its left, top, right and bottom edge."""


def block_of(path: Path) -> tuple[int, int, int, int]:
    """The edges of the block in a picture, by looking at every pixel."""
    with Image.open(path) as picture:
        bands = picture.convert("RGB").split()
    red, green, blue = (
        band.point(lambda value, wanted=wanted: 255 * (abs(value - wanted) < 90))
        for band, wanted in zip(bands, MAGENTA, strict=True)
    )
    seen = Image.new("L", red.size)
    seen.paste(255, mask=Image.composite(Image.composite(red, seen, green), seen, blue))
    found = seen.getbbox()
    assert found is not None, path
    return found


def a_picture(path: Path) -> None:
    """A picture of 200 x 160 pixels with the block in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (200, 160), (90, 110, 90))
    ImageDraw.Draw(picture).rectangle((*BOX[:2], BOX[2] - 1, BOX[3] - 1), fill=MAGENTA)
    picture.putpixel((0, 0), (len(path.stem), 0, sum(path.stem.encode()) % 256))
    picture.save(path)


@pytest.mark.process
def test_a_yolo_set_into_new_surroundings_and_back(tmp_path: Path, environment: dict[str, str]) -> None:
    pets = tmp_path / "pets"
    left, top, right, bottom = BOX
    row = f"{(left + right) / 400} {(top + bottom) / 320} {(right - left) / 200} {(bottom - top) / 160}"
    for name, text in {"train/a": f"2 {row}\n", "train/b": "", "val/c": f"0 {row}\n"}.items():
        a_picture(pets / "images" / f"{name}.png")
        label = pets / "labels" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    facts = {"train": "images/train", "val": "images/val", "names": ["cat", "dog", "no"]}
    (pets / "data.yaml").write_text(yaml.safe_dump(facts))
    for command in recipe(DATASETS, "A YOLO set into new surroundings, and back", tmp_path):
        told = run(command, tmp_path, environment)
    assert "6 pictures, 3 originals in pets-wider (yolo)\n  train  6\n  val  3\n" in told
    wider = tmp_path / "pets-wider"
    found = yaml.safe_load((wider / "data.yaml").read_text())
    assert found["names"] == {0: "cat", 1: "dog", 2: "no"}
    seen = {}
    for split in ("train", "val"):
        for path in (wider / found["path"] / found[split]).iterdir():
            if path.suffix not in (".png", ".jpg"):
                continue
            text = Path(str(path).replace("/images/", "/labels/")).with_suffix(".txt").read_text()
            seen[path.stem[0]] = [line.split()[0] for line in text.splitlines()]
            for line in text.splitlines():
                x, y, width, height = map(float, line.split()[1:])
                with Image.open(path) as picture:
                    across, down = picture.size
                edges = ((x - width / 2) * across, (y - height / 2) * down)
                edges += ((x + width / 2) * across, (y + height / 2) * down)
                assert edges == pytest.approx(block_of(path), abs=1.5), path
    assert seen == {"a": ["2"], "b": [], "c": ["0"]}


@pytest.mark.process
def test_a_voc_set_inpainted_by_its_own_masks(tmp_path: Path, environment: dict[str, str]) -> None:
    voc = tmp_path / "voc"
    left, top, right, bottom = BOX
    for folder in ("Annotations", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    for name, kind, index in (("one", "cat", 8), ("two", "person", 15)):
        a_picture(voc / "JPEGImages" / f"{name}.jpg")
        corners = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        (voc / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>200</width><height>160</height></size>"
            f"<object><name>{kind}</name><bndbox>{corners}</bndbox></object></annotation>"
        )
        mask = Image.new("P", (200, 160))
        mask.putpalette([(index * 37) % 256 for index in range(768)])
        ImageDraw.Draw(mask).rectangle((left, top, right - 1, bottom - 1), fill=index)
        mask.save(voc / "SegmentationClass" / f"{name}.png")
    (voc / "ImageSets/Segmentation/train.txt").write_text("one\n")
    (voc / "ImageSets/Segmentation/val.txt").write_text("two\n")
    for command in recipe(DATASETS, "A Pascal VOC set, inpainted by its own masks", tmp_path):
        told = run(command.replace("python ", f"{sys.executable} "), tmp_path, environment)
    assert "4 pictures, 4 masks in voc-new (voc)\n  train  2\n  val  2\n" in told
    new = tmp_path / "voc-new"
    for split, kind, index in (("train", "cat", 8), ("val", "person", 15)):
        for stem in (new / "ImageSets/Segmentation" / f"{split}.txt").read_text().split():
            root = ElementTree.parse(new / "Annotations" / f"{stem}.xml").getroot()
            assert root.findtext("object/name") == kind
            box = [
                int(str(root.findtext(f"object/bndbox/{tag}"))) for tag in ("xmin", "ymin", "xmax", "ymax")
            ]
            with Image.open(new / "SegmentationClass" / f"{stem}.png") as mask:
                assert (mask.mode, mask.size) == ("P", (512, 512))
                assert (mask.getpalette() or [])[:6] == [0, 37, 74, 111, 148, 185]
                area = mask.point([255 * (value == index) for value in range(256)], "L").getbbox()
                assert {value for _, value in mask.getcolors() or []} == {0, index}
            assert area is not None
            assert (box[0] - 1, box[1] - 1, box[2], box[3]) == pytest.approx(area, abs=1)
