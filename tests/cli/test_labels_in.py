"""Labels that come in, by the command line: read and carried, or told before anything is paid for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batcher.cli import ended

SIZE = (40, 30)
OFFSET = 256
"""Where the model lays the source in its picture: there every box moves to."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a picture, and a job that lays it into a wider one."""
    picture(tmp_path / "photos/cat.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path)


def job(inputs: str, image: str = "{{ image }}", name: str = "{{ stem }}") -> None:
    params = f'{{image: "{image}", prompt: x, offset_x: {OFFSET}, offset_y: {OFFSET}}}'
    output = f'{{dir: out, name: "{name}"}}'
    Path("job.yaml").write_text(
        f"model: sd1.5-outpaint\ninputs: {inputs}\nparams: {params}\noutput: {output}\n"
    )


def delivered() -> list[dict[str, Any]]:
    assert ended(["run", "job.yaml", "--sandbox", "-q"]) == 0
    return [json.loads(line) for line in Path("out-sandbox/metadata.jsonl").read_text().splitlines()]


def planned(capsys: pytest.CaptureFixture[str]) -> str:
    assert ended(["plan", "job.yaml"]) == 0
    said = capsys.readouterr()
    return " ".join((said.out + said.err).split())


def annotation(*corners: int) -> str:
    inner = "".join(
        f"<{tag}>{value}</{tag}>"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<annotation><object><name>cat</name><bndbox>{inner}</bndbox></object></annotation>"


def moved(line: dict[str, Any]) -> None:
    """The box from (4, 2), 10 wide and 6 high, is where the source lies in the picture."""
    x, y = line["placement"]["x"], line["placement"]["y"]
    across, down = line["placement"]["width"] / SIZE[0], line["placement"]["height"] / SIZE[1]
    assert x > 0
    expected = [x + 4 * across, y + 2 * down, 10 * across, 6 * down]
    assert line["boxes"] == [pytest.approx(expected, abs=0.02)]
    assert line["source_boxes"] == [[4, 2, 10, 6]]


def test_a_coco_file_goes_through_an_outpainting(folder: Path) -> None:
    annotations = [{"id": 1, "image_id": 5, "category_id": 9, "bbox": [4, 2, 10, 6], "iscrowd": 0}]
    listed = {"images": [{"id": 5, "file_name": "cat.png"}], "annotations": annotations}
    (folder / "photos/labels.json").write_text(
        json.dumps({**listed, "categories": [{"id": 9, "name": "cat"}]})
    )
    job("{dataset: photos/labels.json}")
    (line,) = delivered()
    moved(line)
    assert (line["box_classes"], line["image_id"]) == (["cat"], 5)
    assert line["box_attributes"] == [{"id": 1, "iscrowd": 0}]


def test_a_yolo_set_goes_through_an_outpainting(folder: Path) -> None:
    picture(folder / "pets/images/val/cat.png")
    (folder / "pets/labels/val").mkdir(parents=True)
    row = f"1 {9 / SIZE[0]} {5 / SIZE[1]} {10 / SIZE[0]} {6 / SIZE[1]}"
    (folder / "pets/labels/val/cat.txt").write_text(row)
    (folder / "pets/data.yaml").write_text("val: images/val\nnames: [dog, cat]\n")
    job("{dataset: pets/data.yaml}")
    (line,) = delivered()
    moved(line)
    assert (line["box_classes"], line["split"]) == (["cat"], "val")


def test_a_voc_folder_goes_through_an_outpainting(folder: Path) -> None:
    picture(folder / "voc/JPEGImages/cat.png")
    (folder / "voc/Annotations").mkdir()
    (folder / "voc/Annotations/cat.xml").write_text(annotation(5, 3, 14, 8))
    job("{dataset: voc}")
    (line,) = delivered()
    moved(line)
    assert line["box_classes"] == ["cat"]


def test_a_companion_of_pascal_voc_is_read(folder: Path) -> None:
    (folder / "ann").mkdir()
    (folder / "ann/cat.xml").write_text(annotation(5, 3, 14, 8))
    job('{images: photos/, companions: {labels: "ann/{{ stem }}.xml"}}')
    (line,) = delivered()
    moved(line)
    assert line["box_classes"] == ["cat"]


@pytest.mark.parametrize(
    ("suffix", "text", "why"),
    [
        (".json", "{}", "label files are read as YOLO (.txt) or Pascal VOC (.xml)"),
        (
            ".xml",
            "<annotation><object><name>cat</name></object></annotation>",
            "line 1: the object 'cat' has no <bndbox>",
        ),
        (
            ".xml",
            annotation(50, 3, 60, 8),
            "box 1: xmin 50, ymin 3, xmax 60, ymax 8 lies outside its picture (40 x 30)",
        ),
        (".xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "has a document type"),
    ],
)
def test_a_companion_that_is_no_label_file_is_told_and_not_paid_for(
    folder: Path, capsys: pytest.CaptureFixture[str], suffix: str, text: str, why: str
) -> None:
    picture(folder / "photos/dog.png")
    (folder / "ann").mkdir()
    (folder / f"ann/cat{suffix}").write_text(text)
    job(f'{{images: photos/, companions: {{labels: "ann/{{{{ stem }}}}{suffix}"}}}}')
    told = planned(capsys)
    assert "tasks 1: 1 new" in told
    assert "1 row is left out" in told
    assert why in told


@pytest.mark.parametrize(
    "template", ["{{ photo }}", "photos/{{ photo }}", "{{ photo | replace('.jpg', '.png') }}"]
)
def test_labels_are_checked_whatever_the_picture_s_column_is_called(
    folder: Path, capsys: pytest.CaptureFixture[str], template: str
) -> None:
    picture(folder / "photos/dog.png")
    start = "" if template.startswith("photos/") else "photos/"
    rows = [
        {"photo": f"{start}{name}.png", "boxes": [[x, 2, 10, 6]]} for name, x in (("cat", 4), ("dog", 90))
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    job("{table: rows.jsonl}", template, "{{ photo | replace('/', '-') }}")
    told = planned(capsys)
    assert "tasks 1: 1 new" in told
    assert "row 2: box 1: [90, 2, 10, 6] lies outside its picture (40 x 30)" in told


def test_a_box_outside_of_a_coco_file_names_its_picture_and_the_file_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(folder / "photos/deep/dog.png")
    images = [{"id": 5, "file_name": "cat.png"}, {"id": 6, "file_name": "deep/dog.png"}]
    boxes = [{"id": n, "image_id": n, "category_id": 9, "bbox": [x, 2, 10, 6]} for n, x in ((5, 4), (6, 90))]
    listed = {"images": images, "annotations": boxes, "categories": [{"id": 9, "name": "cat"}]}
    (folder / "photos/labels.json").write_text(json.dumps(listed))
    job("{dataset: photos/labels.json}")
    told = planned(capsys)
    assert "(first: photos/labels.json: deep/dog.png: box 1: [90, 2, 10, 6] lies outside" in told


def test_a_box_outside_of_a_voc_folder_names_its_annotation_and_what_stands_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "voc/Annotations").mkdir(parents=True)
    for name, corners in (("cat", (5, 3, 14, 8)), ("dog", (50, 3, 60, 8))):
        picture(folder / f"voc/JPEGImages/{name}.png")
        (folder / f"voc/Annotations/{name}.xml").write_text(annotation(*corners))
    job("{dataset: voc}")
    told = planned(capsys)
    assert f"{folder}/voc/Annotations/dog.xml: box 1: xmin 50, ymin 3, xmax 60, ymax 8 lies outside" in told


def test_hugging_face_s_objects_are_carried(folder: Path) -> None:
    row = {"file_name": "cat.png", "objects": {"bbox": [[4, 2, 10, 6]], "categories": ["cat"]}}
    (folder / "photos/metadata.jsonl").write_text(json.dumps(row))
    job("{dataset: photos}")
    (line,) = delivered()
    moved(line)
    assert line["box_classes"] == ["cat"]


def test_what_looks_like_labels_and_is_not_carried_is_told_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"file_name": "cat.png", "bboxes": [[4, 2, 10, 6]], "xmin": 3}
    (folder / "photos/metadata.jsonl").write_text(json.dumps(row))
    job("{dataset: photos}")
    assert "the columns `bboxes`, `xmin` may hold labels of the pictures" in planned(capsys)
    (folder / "photos/metadata.jsonl").unlink()
    (folder / "photos/cat.xml").write_text(annotation(5, 3, 14, 8))
    job("{images: photos/*.png}")
    assert f"labels may lie beside the pictures ({folder}/photos/cat.xml), and are not read" in planned(
        capsys
    )


def test_a_palette_mask_that_goes_as_the_mask_of_what_is_painted_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = Image.frombytes("P", SIZE, bytes(place % 4 for place in range(SIZE[0] * SIZE[1])))
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    picture(folder / "voc/JPEGImages/cat.png")
    (folder / "voc/SegmentationClass").mkdir()
    mask.save(folder / "voc/SegmentationClass/cat.png")
    Path("job.yaml").write_text(
        "model: sd1.5-inpainting\ninputs: {dataset: voc}\n"
        'params: {image: "{{ image }}", mask: "{{ mask }}", prompt: x}\n'
    )
    assert "4 colours, not black and white" in planned(capsys)


@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "imagefolder"])
def test_a_corrected_data_set_reaches_the_picture_that_is_delivered(
    folder: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    def describe(x: int, kind: str) -> None:
        """The box from (x, 2), in each form."""
        kinds = ["dog", "cat", "bird"]
        boxes = [{"id": 1, "image_id": 5, "category_id": kinds.index(kind), "bbox": [x, 2, 10, 6]}]
        known = [{"id": number, "name": name} for number, name in enumerate(kinds)]
        listed = {"images": [{"id": 5, "file_name": "cat.png"}], "annotations": boxes, "categories": known}
        row = f"{kinds.index(kind)} {(x + 5) / SIZE[0]} {5 / SIZE[1]} {10 / SIZE[0]} {6 / SIZE[1]}"
        objects = {"bbox": [[x, 2, 10, 6]], "categories": [kind]}
        xml = annotation(x + 1, 3, x + 10, 8).replace("cat", kind)
        for name, text in (
            ("coco/labels.json", json.dumps(listed)),
            ("yolo/labels/cat.txt", row),
            ("yolo/data.yaml", "train: images\nnames: [dog, cat, bird]\n"),
            ("voc/Annotations/cat.xml", xml),
            ("imagefolder/metadata.jsonl", json.dumps({"file_name": "cat.png", "objects": objects})),
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def exported(to: str) -> dict[str, Any]:
        assert ended(["export", "out-sandbox", "--to", "imagefolder", "-o", to]) == 0
        (line,) = next(Path(to).rglob("metadata.jsonl")).read_text().splitlines()
        return dict(json.loads(line))

    labels_of = {
        "coco": "coco/labels.json",
        "yolo": "yolo/labels/cat.txt",
        "voc": "voc/Annotations/cat.xml",
        "imagefolder": "imagefolder/metadata.jsonl",
    }
    for place in ("coco/cat.png", "yolo/images/cat.png", "voc/JPEGImages/cat.png", "imagefolder/cat.png"):
        picture(folder / place)
    describe(20, "dog")
    job(f"{{dataset: {form}}}" if form != "coco" else "{dataset: coco/labels.json}")
    (before,) = delivered()
    assert exported("one")["boxes"] == before["boxes"]
    told = "the labels of 1 delivered picture have changed since"
    assert told not in capsys.readouterr().out
    describe(4, "bird")
    now = exported("two")
    assert told in capsys.readouterr().out
    moved({**now, "placement": before["placement"]})
    assert now["box_classes"] == ["bird"]
    assert ended(["export", "out-sandbox", "--to", "yolo", "-o", "three"]) == 0
    assert "bird" in Path("three/data.yaml").read_text()
    unread = (
        "labels that have changed since cannot be read in one place: their pictures keep those of the last"
    )
    assert unread not in capsys.readouterr().out
    (folder / labels_of[form]).write_text("{no labels")
    assert exported("broken")["boxes"] == before["boxes"]
    assert unread in capsys.readouterr().out
    for path in (folder / form).rglob("*"):
        if path.suffix in (".json", ".jsonl", ".yaml", ".xml"):
            path.unlink()
    assert exported("four")["boxes"] == before["boxes"], "of a set that is gone nothing changes"


def test_a_corrected_label_file_reaches_the_picture_that_is_delivered(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def label(x: float) -> None:
        row = f"1 {(x + 5) / SIZE[0]} {5 / SIZE[1]} {10 / SIZE[0]} {6 / SIZE[1]}"
        (folder / "photos/cat.txt").write_text(row)

    def exported(to: str) -> dict[str, Any]:
        assert ended(["export", "out-sandbox", "--to", "imagefolder", "-o", to]) == 0
        (line,) = next(Path(to).rglob("metadata.jsonl")).read_text().splitlines()
        return dict(json.loads(line))

    label(20)
    job('{images: photos/*.png, companions: {labels: "photos/{{ stem }}.txt"}}')
    (before,) = delivered()
    assert before["source_boxes"] == [[20, 2, 10, 6]]
    label(4)
    assert exported("one")["boxes"] != before["boxes"]
    told = "the labels of 1 delivered picture have changed since"
    assert told in capsys.readouterr().out
    Path("job.yaml").write_text(Path("job.yaml").read_text().replace("dir: out", "dir: out-sandbox"))
    assert told in planned(capsys)
    Path("job.yaml").write_text(Path("job.yaml").read_text().replace("dir: out-sandbox", "dir: out"))
    (line,) = delivered()
    moved(line)
    (folder / "photos/cat.txt").write_text("no labels")
    assert exported("two")["boxes"] == line["boxes"]
    assert told not in capsys.readouterr().out
