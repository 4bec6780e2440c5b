"""What looks like labels, and is not carried, is told by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batcher.job.labels.uncarried import UncarriedLabels, looks_uncarried


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bboxes", [[1, 2, 3, 4]]),
        ("bbox", "[1, 2, 3, 4]"),
        ("bbox", "1 2 3 4"),
        ("gt", [[1, 2, 3, 4.5], [5, 6, 7, 8]]),
        ("gt", '[{"bbox": [1, 2, 3, 4]}]'),
        ("annotations", [{"bbox": [1, 2, 3, 4], "category_id": 1}]),
        ("target", {"boxes": [[1, 2, 3, 4]], "labels": [1]}),
        ("keypoints", [1, 2, 2]),
        ("segmentation", [[1, 2, 3, 4, 5, 6]]),
        ("xmin", 4),
        ("ymax", "17.5"),
        ("objects", {"area": [3], "keypoints": [[1, 2]]}),
        ("person_mask", "/p/m.png"),
        ("seg", "/p/s.png"),
        ("depth", "/p/d.png"),
        ("labels", "/p/s.png"),
        ("annotation", "/p/1.xml"),
        ("shapes", "/p/1.json"),
        ("yolo", "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.1 0.1"),
    ],
)
def test_places_by_other_names_look_like_labels(name: str, value: Any) -> None:
    assert looks_uncarried(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("boxes", [[1, 2, 3, 4]]),
        ("objects", {"bbox": [[1, 2, 3, 4]], "category": ["cat"]}),
        ("objects", "a cat, a dog"),
        ("objects", ["cat", "dog"]),
        ("mask", "/p/m.png"),
        ("label", "cat"),
        ("labels", ["cat", "dog"]),
        ("labels", "/p/1.txt"),
        ("caption", "2 cats"),
        ("caption", "[a cat]"),
        ("embedding", [0.1, 0.2, 0.3, 0.4]),
        ("points", 5),
        ("bbox", None),
        ("bbox", []),
        ("keypoints", ""),
        ("style", "/p/style.png"),
        ("image", "/p/mask.png"),
        ("source_bbox", [1, 2, 3, 4]),
        ("url", "https://x/a_mask.png"),
    ],
)
def test_other_columns_do_not(name: str, value: Any) -> None:
    assert not looks_uncarried(name, value)


def test_they_are_told_once_and_not_where_the_request_reads_them(tmp_path: Path) -> None:
    found = UncarriedLabels(["pose"])
    for _ in range(3):
        found.look({"bboxes": [[1, 2, 3, 4]], "pose": [[1, 2, 3, 4]], "depth": "/d.png"}, None)
    assert list(found.sentences()) == [
        "the columns `bboxes`, `depth` may hold labels of the pictures, and they are not carried into those "
        "that are made: boxes are read from `boxes`, `objects` or label files in `labels`, masks from `mask`"
    ]


@pytest.mark.parametrize(
    "path",
    [
        "labels/1.txt",
        "Annotations/1.xml",
        "images/1.xml",
        "images/_annotations.coco.json",
        "annotations/mine.json",
        "labels.json",
        "images/any.json",
    ],
)
def test_label_files_beside_the_pictures_are_told_where_no_label_is_read(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text('{"info": {}, "images": []}')
    found = UncarriedLabels([])
    picture = str(tmp_path / "images/1.png")
    found.look({"boxes": []}, picture)
    assert list(found.sentences()) == []
    found.look({}, picture)
    (sentence,) = found.sentences()
    assert f"({tmp_path / path}), and are not read" in sentence


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("set/images/1.json", '{"version": "5.0", "shapes": [{"label": "cat"}]}', True),
        ("set/ann/1.png.json", '{"description": "", "objects": []}', True),
        ("set/labels/1.json", '[{"bbox": [1, 2, 3, 4]}]', True),
        ("set/images/1.json", '{"caption": "a cat", "url": "https://x/1.png"}', False),
        ("set/images/1.txt", "0 0.5 0.5 0.25 0.5\n", True),
        ("set/images/1.txt", "2 cats, 0.5 m away", False),
    ],
)
def test_a_file_for_each_picture_is_told_where_it_holds_labels(
    tmp_path: Path, path: str, text: str, told: bool
) -> None:
    """As LabelMe, Supervisely and darknet write them; crawlers put captions and other JSON there."""
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    labels = UncarriedLabels(())
    labels.look({}, str(tmp_path / "set/images/1.png"))
    sentences = list(labels.sentences())
    assert bool(sentences) == told
    if told:
        way = "`companions: {labels:" if path.endswith(".txt") else "written as YOLO, Pascal VOC or COCO"
        assert f"({file}), and are not read: {way}" in sentences[0]
