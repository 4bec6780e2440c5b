"""`batcher init` knows datasets with labels: by their folder, their file, or the pictures of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from batcher.engine import outlook
from batcher.errors import UsageError
from batcher.job import starter
from batcher.job.catalog import models
from tests.support.manifests import parse

MODEL = next(model for model in models() if model.slug == "seg-beyond")
CORNERS = "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax>"
XML = f"<annotation><object><name>cat</name><bndbox>{CORNERS}</bndbox></object></annotation>"


def picture(path: Path, colour: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (colour, 9, 9)).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def coco(*names: str) -> str:
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    return json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "cat"}]})


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    for number, name in enumerate(("train2017", "val2017")):
        picture(tmp_path / f"coco/{name}/1.png", number)
        write(tmp_path / f"coco/annotations/instances_{name}.json", coco("1.png"))
    picture(tmp_path / "one/1.png")
    write(tmp_path / "one/labels.json", coco("1.png"))
    picture(tmp_path / "pets/images/train/1.png")
    picture(tmp_path / "pets/images/val/2.png", 1)
    write(tmp_path / "pets/labels/train/1.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "pets/data.yaml", "train: images/train\nval: images/val\nnames: [cat]\n")
    picture(tmp_path / "voc/JPEGImages/1.png")
    write(tmp_path / "voc/Annotations/1.xml", XML)
    return tmp_path


@pytest.mark.parametrize(
    ("photos", "source", "tasks", "name"),
    [
        ("coco", "coco/", 2, "{{ split }}-{{ stem }}"),
        ("coco/train2017", "coco/annotations/instances_train2017.json", 1, ""),
        ("coco/annotations/instances_val2017.json", "coco/annotations/instances_val2017.json", 1, ""),
        ("one", "one/labels.json", 1, ""),
        ("pets", "pets/data.yaml", 2, ""),
        ("pets/images", "pets/data.yaml", 2, ""),
        ("pets/data.yaml", "pets/data.yaml", 2, ""),
        ("voc", "voc/", 1, ""),
        ("voc/JPEGImages", "voc/", 1, ""),
    ],
)
def test_a_dataset_is_written_as_one_and_runs_as_it_stands(
    datasets: Path, photos: str, source: str, tasks: int, name: str
) -> None:
    found = starter.surroundings(str(datasets / photos))
    assert (found.is_dataset, found.number, found.name) == (True, tasks, name)
    file = datasets / "job.yaml"
    job = parse(starter.draft(MODEL, found, file), str(file), datasets)
    assert (job.inputs[0].kind.KEY, job.inputs[0].value) == ("dataset", (source,))
    made = outlook(job, datasets / "out")
    assert (made.total, made.left_out) == (tasks, ())


def test_a_folder_whose_labels_cannot_be_read_is_one_of_pictures(datasets: Path) -> None:
    write(datasets / "one/labels.json", '{"images": [')
    found = starter.surroundings(str(datasets / "one"))
    assert (found.is_dataset, found.number) == (False, 1)
    with pytest.raises(UsageError, match="is not JSON"):
        starter.surroundings(str(datasets / "one/labels.json"))


@pytest.mark.parametrize("folder", ["photos", "ann"])
def test_annotations_of_pascal_voc_are_companions(tmp_path: Path, folder: str) -> None:
    picture(tmp_path / "photos/1.png")
    where = "photos" if folder == "photos" else "annotations"
    write(tmp_path / where / "1.xml", XML)
    found = starter.surroundings(str(tmp_path / "photos"))
    assert found.companions["labels"].template == f"{tmp_path}/{where}/{{{{ stem }}}}.xml"
