"""A Pascal VOC folder as a source, and its annotations: foreign XML."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from batcher.errors import Problem
from batcher.job.diagnostics import Diagnostics
from batcher.job.geometry import LabelError
from batcher.job.inputs import InputsContext
from batcher.job.inputs import rows as rows_of_job
from batcher.job.labels import label_checks
from batcher.job.labels.categories import VOC_CLASSES
from batcher.job.labels.voc_file import read_voc_file
from tests.support.job import Job
from tests.support.pictures import plain_picture

INPUTS = "{dataset: VOC2012}"


def an_object(name: str = "cat", box: tuple[Any, ...] = (9, 2, 20, 11), more: str = "") -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inner = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
    return f"<object>\n<name>{name}</name>{more}<bndbox>{inner}</bndbox></object>\n"


def annotation(*objects: str, name: str = "1.jpg", more: str = "") -> str:
    head = f"<folder>VOC2012</folder><filename>{name}</filename>{more}"
    return f"<annotation>\n{head}\n{''.join(objects)}</annotation>"


def a_set(job: Job) -> None:
    for stem in ("1", "2", "10"):
        job.write(f"VOC2012/JPEGImages/{stem}.jpg", plain_picture(40, 20, "JPEG"))
    facts = "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult>"
    job.write(
        "VOC2012/Annotations/1.xml", annotation(an_object(more=facts), an_object("sofa", (1, 1, 40, 20)))
    )
    job.write("VOC2012/Annotations/2.xml", annotation(more="<segmented>0</segmented>"))
    job.write(
        "VOC2012/Annotations/10.xml",
        annotation(an_object("dog", (1.5, 1, 2, 2)), more="<segmented>1</segmented>"),
    )
    for folder in ("SegmentationClass", "SegmentationObject"):
        job.write(f"VOC2012/{folder}/10.png", plain_picture(40, 20))
    job.write("VOC2012/ImageSets/Main/train.txt", "1\n10\n")
    job.write("VOC2012/ImageSets/Main/trainval.txt", "1\n2\n10\n")
    job.write("VOC2012/ImageSets/Main/cat_train.txt", "1  1\n10 -1\n")
    job.write("VOC2012/ImageSets/Segmentation/val.txt", "2\n")


def boxes_of(path: Path) -> list[list[float]]:
    """The boxes of an annotation, read with the standard library: pixels from 1, the last ones inside."""
    boxes = []
    for one in ElementTree.parse(path).getroot().iter("bndbox"):
        left, top, right, bottom = (
            float(one.findtext(tag) or "") for tag in ("xmin", "ymin", "xmax", "ymax")
        )
        boxes.append([left - 1, top - 1, right - left + 1, bottom - top + 1])
    return boxes


def test_a_picture_has_its_objects_its_masks_and_its_set(job: Job) -> None:
    a_set(job)
    first, second, third = job.columns(INPUTS)
    folder = job.folder / "VOC2012"
    assert first == {
        "image": str(folder / "JPEGImages/1.jpg"),
        "stem": "1",
        "name": "1.jpg",
        "suffix": ".jpg",
        "folder": "JPEGImages",
        "split": "train",
        "boxes": boxes_of(folder / "Annotations/1.xml"),
        "box_classes": ["cat", "sofa"],
        "box_attributes": [{"difficult": 0, "truncated": 1, "pose": "Left"}, {}],
    }
    assert first["boxes"][1] == [0, 0, 40, 20]
    assert (second["boxes"], second["split"], second["segmented"]) == ([], "val", 0)
    assert third["boxes"] == [[0.5, 0, 1.5, 2]]
    assert third["mask"] == str(folder / "SegmentationClass/10.png")
    assert third["instance_mask"] == str(folder / "SegmentationObject/10.png")
    assert "mask" not in second


def classes_of(job: Job) -> list[tuple[int, str]]:
    context = InputsContext(job.manifest(INPUTS), Diagnostics("job.yaml"))
    list(rows_of_job(context))
    return [(one.id, one.name) for one in context.categories.categories]


def test_classes_are_the_challenge_s_a_label_map_s_or_those_that_are_there(job: Job) -> None:
    a_set(job)
    assert classes_of(job) == [*enumerate(VOC_CLASSES, 1)]
    job.write("VOC2012/Annotations/2.xml", annotation(an_object("traffic light")))
    assert classes_of(job) == [(1, "cat"), (2, "dog"), (3, "sofa"), (4, "traffic light")]
    job.write(
        "VOC2012/labelmap.txt", "# label:color\nbackground:0,0,0::\ntraffic light:1,2,3::\nsofa:4,5,6::\n"
    )
    assert classes_of(job) == [(1, "traffic light"), (2, "sofa"), (3, "cat"), (4, "dog")]


def test_a_set_of_masks_alone_needs_no_annotations(job: Job) -> None:
    job.write("VOC2012/JPEGImages/1.jpg", plain_picture(40, 20, "JPEG"))
    job.write("VOC2012/JPEGImages/2.jpg", plain_picture(40, 20, "JPEG"))
    job.write("VOC2012/SegmentationClass/1.png", plain_picture(40, 20))
    told: list[str] = []
    (columns,) = job.columns(INPUTS, warn=told.append)
    assert columns["mask"] == str(job.folder / "VOC2012/SegmentationClass/1.png")
    assert "boxes" not in columns
    assert told == ["VOC2012: 1 picture has neither annotation nor mask, and is no row (first: 2)"]
    assert classes_of(job) == []


def test_a_picture_that_is_not_there_is_told(job: Job) -> None:
    a_set(job)
    (job.folder / "VOC2012/JPEGImages/1.jpg").unlink()
    job.write("VOC2012/ImageSets/Main/test.txt", "77\n")
    wrong: list[Problem] = []
    assert job.columns(INPUTS, "stem", sink=wrong.append) == ["2", "10"]
    pictures = f"{job.folder}/VOC2012/JPEGImages"
    assert [str(one) for one in wrong] == [
        f"VOC2012/Annotations/1.xml: there is no picture {pictures}/1.jpg",
        f"VOC2012/ImageSets: there is no picture {pictures}/77.jpg",
    ]


def test_sets_that_differ_and_parts_of_objects_are_told(job: Job) -> None:
    a_set(job)
    job.write("VOC2012/ImageSets/Segmentation/val.txt", "1\n")
    job.write("VOC2012/Annotations/2.xml", annotation(an_object(more="<part><name>head</name></part>")))
    told: list[str] = []
    assert job.columns(INPUTS, warn=told.append)[0]["split"] == "train"
    assert told == [
        "VOC2012: 1 picture is in another set of Segmentation than of Main; that of Main counts",
        "VOC2012: 1 part of an object is not carried, and left out (<part>)",
    ]


def test_an_outline_as_some_tools_write_it(job: Job) -> None:
    corners = "".join(
        f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate([(1, 1), (9, 1), (9, 9)], 1)
    )
    path = job.write("1.xml", annotation(an_object(more=f"<polygon>{corners}</polygon>")))
    assert read_voc_file(str(path)).labels.polygons == (((0, 0, 8, 0, 8, 8),),)


BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE bomb [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>\n'
    "<annotation><object><name>&b;</name></object></annotation>"
)
OUTSIDE = BOMB.replace('<!ENTITY a "lol">', '<!ENTITY a SYSTEM "file:///etc/passwd">')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (annotation(an_object(box=("a", 1, 2, 2))), "line 3: <xmin> is 'a', and is to be a number of pixels"),
        (annotation(an_object(), an_object(box=(9, 1, 2, 2))), "line 5: its width or height is negative"),
        (
            annotation(an_object(box=("nan", 1, 2, 2))),
            "line 3: [NaN, 0.0, NaN, 2.0] is not [x, y, width, height]",
        ),
        (annotation(an_object(box=("", 1, 2, 2))), "line 3: <xmin> is ''"),
        (annotation("<object><name>cat</name></object>"), "line 3: the object 'cat' has no <bndbox>"),
        (annotation("<object/>"), "line 3: an object has no <name>"),
        ("<annotation>", "line 1: is not XML"),
        ("", "is not XML: no element found"),
        ("<svg/>", "is no annotation of Pascal VOC: it holds <svg>"),
        ("<annotation>&x;</annotation>", "is not XML"),
        (BOMB, "line 2: has a document type"),
        (OUTSIDE, "line 2: has a document type"),
        ("<a>" * 100_000, "is nested too deeply"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "encoding"),
    ],
)
def test_nonsense_is_told_with_its_line_and_nothing_is_unfolded(job: Job, text: str, why: str) -> None:
    path = job.write("1.xml", text)
    with pytest.raises(LabelError) as caught:
        read_voc_file(str(path))
    assert why in str(caught.value)


def test_an_annotation_that_cannot_be_read_leaves_its_row_out_by_file_and_line(job: Job) -> None:
    a_set(job)
    job.write("VOC2012/Annotations/1.xml", annotation(an_object(), an_object(box=(9, 1, 2, 2))))
    wrong: list[Problem] = []
    assert job.columns(INPUTS, "stem", sink=wrong.append) == ["2", "10"]
    assert [(one.file, one.line) for one in wrong] == [("VOC2012/Annotations/1.xml", 5)]


def test_an_annotation_that_is_too_large_is_not_read(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batcher.job.labels.voc_file.LARGEST", 10)
    with pytest.raises(LabelError, match="too large"):
        read_voc_file(str(job.write("1.xml", annotation())))


def test_a_changed_annotation_mask_or_list_is_planned_anew(job: Job) -> None:
    a_set(job)
    seen = [job.fingerprint(INPUTS)]
    for name in ("Annotations/1.xml", "SegmentationClass/10.png", "ImageSets/Main/train.txt"):
        job.write(f"VOC2012/{name}", annotation(an_object("cow")))
        seen.append(job.fingerprint(INPUTS))
    assert len(set(seen)) == 4
    assert job.fingerprint(INPUTS) == seen[-1]


@pytest.mark.parametrize(
    ("path", "text", "split"),
    [
        ("Main/Train.txt", "1", "train"),
        ("Main/valid.txt", "1", "val"),
        ("Main/Validation.txt", "1.jpg", "val"),
        ("Segmentation/test.txt", "JPEGImages/1.jpg", "test"),
        ("val.txt", "1", "val"),
        ("Main/cat_train.txt", "1 -1", None),
        ("Main/trainval.txt", "1", None),
    ],
)
def test_lists_of_sets_are_read_as_tools_call_and_write_them(
    job: Job, path: str, text: str, split: str | None
) -> None:
    job.write("VOC2012/JPEGImages/1.jpg", plain_picture(40, 20, "JPEG"))
    job.write("VOC2012/Annotations/1.xml", annotation(an_object()))
    job.write(f"VOC2012/ImageSets/{path}", f"{text}\n")
    (columns,) = job.columns(INPUTS)
    assert columns.get("split") == split


def test_pictures_in_folders_below_are_told(job: Job) -> None:
    a_set(job)
    job.write("VOC2012/JPEGImages/more/5.jpg", plain_picture(40, 20, "JPEG"))
    told: list[str] = []
    assert len(job.columns(INPUTS, warn=told.append)) == 3
    assert (
        "the folders of JPEGImages are not entered, and their pictures are no rows (first: more)" in told[0]
    )


@pytest.mark.parametrize("form", ["dataset", "companion"])
def test_boxes_for_a_picture_of_another_size_are_told_and_nothing_is_made_of_them(
    job: Job, form: str
) -> None:
    size = "<size><width>{}</width><height>{}</height><depth>3</depth></size>"
    sizes = {"1": (80, 40), "2": (0, 0), "3": (40, 20)}
    for stem, (width, height) in sizes.items():
        job.write(f"VOC2012/JPEGImages/{stem}.jpg", plain_picture(40, 20, "JPEG"))
        more = size.format(width, height)
        job.write(f"VOC2012/Annotations/{stem}.xml", annotation(an_object(), more=more))
    if form == "dataset":
        wrong: list[Problem] = []
        assert job.columns(INPUTS, "stem", sink=wrong.append) == ["2", "3"]
        assert [one.file for one in wrong] == ["VOC2012/Annotations/1.xml"]
        assert "its labels are of a picture of 80 x 40 pixels, and it has 40 x 20" in wrong[0].message
    else:
        pictures = job.folder / "VOC2012/JPEGImages"
        said = [
            label_checks._wrong_file(f"{job.folder}/VOC2012/Annotations/{stem}.xml", f"{pictures}/{stem}.jpg")
            for stem in sizes
        ]
        assert said[1:] == [None, None]
        assert "of a picture of 80 x 40 pixels" in (said[0] or "")
