"""COCO files as sources: pictures, boxes, outlines and masks as the file has them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from batcher.errors import Problem
from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs import InputsContext
from batcher.job.inputs import rows as rows_of_job
from batcher.job.labels.categories import Category
from tests.support.job import Job
from tests.support.pictures import plain_picture

CATEGORIES = [
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 44, "name": "bottle"},
]
TRIANGLE = [[2.5, 3.0, 10.25, 3.0, 2.5, 9.0]]
RUNS = {"size": [12, 16], "counts": [14, 3, 9, 3, 163]}


def coco(images: list[Any], annotations: list[Any] | None, **more: Any) -> str:
    listed = {} if annotations is None else {"annotations": annotations}
    return json.dumps({"info": {"year": 2017}, "images": images, **listed, "categories": CATEGORIES, **more})


def picture_of(job: Job, *names: str) -> None:
    for name in names:
        job.write(name, plain_picture(16, 12))


def a_set(job: Job, annotations: list[Any] | None, path: str = "set/labels.json", **more: Any) -> None:
    """Two pictures beside their file."""
    images = [{"id": 7, "file_name": "a.png", "width": 16, "height": 12, "license": 3, "name": "A"}]
    images.append({"id": 9, "file_name": "deep/b.png"})
    folder = path.rpartition("/")[0]
    picture_of(job, f"{folder}/a.png", f"{folder}/deep/b.png")
    job.write(path, coco(images, annotations, **more))


def box(number: int = 1, image: int = 7, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": 18, "bbox": [1, 2, 3.5, 4], "area": 14.0, **more}


def categories_of(job: Job, inputs: str) -> tuple[Category, ...]:
    context = InputsContext(job.manifest(inputs), Diagnostics("job.yaml"))
    list(rows_of_job(context))
    return context.categories.categories


def unpacked(rle: dict[str, Any]) -> list[int]:
    """The runs of COCO's compressed form, as its `rleFrString` reads them."""
    runs: list[int] = []
    place, text = 0, rle["counts"]
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            sign = ord(text[place]) - 48
            value |= (sign & 0x1F) << (5 * shift)
            more, place, shift = bool(sign & 0x20), place + 1, shift + 1
            if not more and sign & 0x10:
                value |= -1 << (5 * shift)
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def test_a_picture_has_its_boxes_its_facts_and_the_names_of_its_classes(job: Job) -> None:
    annotations = [
        box(11, iscrowd=0, score=0.5),
        box(12, image=9, category_id=44),
        box(13, category_id=1, iscrowd=1),
    ]
    a_set(job, annotations)
    first, second = job.columns("{dataset: set/labels.json}")
    assert first == {
        "image": str(job.folder / "set/a.png"),
        "stem": "a",
        "name": "a.png",
        "suffix": ".png",
        "folder": "",
        "image_id": 7,
        "license": 3,
        "source_name": "A",
        "boxes": [[1.0, 2.0, 3.5, 4.0], [1.0, 2.0, 3.5, 4.0]],
        "box_classes": ["dog", "person"],
        "box_attributes": [{"id": 11, "iscrowd": 0, "score": 0.5}, {"id": 13, "iscrowd": 1}],
    }
    assert (second["folder"], second["image_id"], second["box_classes"]) == ("deep", 9, ["bottle"])


def test_outlines_and_masks_stay_with_their_boxes(job: Job) -> None:
    annotations = [
        box(1, segmentation=TRIANGLE),
        box(2, segmentation=RUNS, iscrowd=1),
        box(3, segmentation=[]),
        {"id": 4, "image_id": 7, "category_id": 1, "segmentation": TRIANGLE},
    ]
    a_set(job, annotations)
    first, second = job.columns("{dataset: set/labels.json}")
    assert first["box_polygons"] == [TRIANGLE, [], [], TRIANGLE]
    assert [mask and unpacked(mask) for mask in first["box_rles"]] == [None, RUNS["counts"], None, None]
    assert first["boxes"][3] == [2.5, 3.0, 7.75, 6.0]
    assert second["boxes"] == []
    assert "box_rles" not in second


def test_a_picture_without_objects_has_none_and_a_file_without_annotations_says_nothing(job: Job) -> None:
    a_set(job, [])
    assert job.columns("{dataset: set/labels.json}", "boxes") == [[], []]
    a_set(job, None)
    assert all("boxes" not in columns for columns in job.columns("{dataset: set/labels.json}"))


def test_classes_keep_ids_and_order_also_those_of_no_object(job: Job) -> None:
    a_set(job, [box()])
    assert categories_of(job, "{dataset: set/labels.json}") == (
        Category(18, "dog", "animal"),
        Category(1, "person", "person"),
        Category(44, "bottle"),
    )


@pytest.mark.parametrize(
    ("file", "pictures", "split"),
    [
        ("coco/annotations/instances_train2017.json", "coco/train2017", "train"),
        ("coco/annotations/instances_val2017.json", "coco/images/val2017", "val"),
        ("coco/annotations/image_info_test-dev2017.json", "coco/images", "test"),
        ("coco/annotations/instances_default.json", "coco/images/default", None),
        ("set/valid/_annotations.coco.json", "set/valid", "val"),
        ("set/labels.json", "set/data", None),
        ("set/trained.json", "set/images", None),
    ],
)
def test_the_pictures_are_found_and_the_split_is_in_the_name(
    job: Job, file: str, pictures: str, split: str | None
) -> None:
    picture_of(job, f"{pictures}/a.png")
    job.write(file, coco([{"id": 1, "file_name": "a.png"}], []))
    (columns,) = job.columns(f"{{dataset: {file}}}")
    assert columns["image"] == str(job.folder / pictures / "a.png")
    assert columns.get("split") == split


def test_a_folder_has_a_set_for_each_of_its_files_and_one_table_of_classes(job: Job) -> None:
    for name in ("train2017", "val2017"):
        picture_of(job, f"coco/{name}/a.png")
        job.write(
            f"coco/annotations/instances_{name}.json", coco([{"id": 1, "file_name": "a.png"}], [box(image=1)])
        )
    job.write("coco/annotations/captions_val2017.json", "{}")
    found = job.columns("{dataset: coco}", "image", "split")
    assert [(Path(one["image"]).parent.name, one["split"]) for one in found] == [
        ("train2017", "train"),
        ("val2017", "val"),
    ]
    assert len(categories_of(job, "{dataset: coco}")) == 3


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["annotations/train.json", "annotations/val2017.json"], ["train", "val"]),
        (["annotations/anything.json"], [None]),
        (["labels.json"], [None]),
        (["train.json", "annotations/val.json"], ["val"]),
        (["annotations/one.json", "annotations/two.json"], []),
        (["labels.json", "metadata.jsonl"], []),
    ],
)
def test_a_folder_s_files_of_other_names_are_its_sets_where_they_say_which(
    job: Job, files: list[str], found: list[str | None]
) -> None:
    picture_of(job, "set/images/a.png")
    for name in files:
        job.write(f"set/{name}", coco([{"id": 1, "file_name": "a.png"}], [box(image=1)]))
    if "metadata.jsonl" in files:
        job.write("set/metadata.jsonl", json.dumps({"file_name": "images/a.png", "label": "cat"}))
    job.write("set/annotations/notes.json", '{"images": {"no": "list"}}')
    rows = job.columns("{dataset: set}")
    assert [row.get("split") for row in rows if "boxes" in row] == found


def test_a_picture_that_is_missing_is_told_and_never_taken_from_another_set(job: Job) -> None:
    picture_of(job, "coco/train2017/a.png", "coco/val2017/b.png")
    images = [
        {"id": 1, "file_name": "a.png"},
        {"id": 2, "file_name": "b.png"},
        {"id": 3, "file_name": "b.png"},
    ]
    job.write("coco/annotations/instances_val2017.json", coco(images, []))
    wrong: list[Problem] = []
    found = job.columns("{dataset: coco/annotations/instances_val2017.json}", "image_id", sink=wrong.append)
    assert found == [2, 3]
    missing = f"image 1: there is no picture {job.folder}/coco/val2017/a.png"
    assert [str(one) for one in wrong] == [f"coco/annotations/instances_val2017.json:1: {missing}"]


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (box(bbox=[1, 2, "3", 4]), "annotation 1 of 'a.png': [1, 2, \"3\", 4] is not [x, y, width, height]"),
        (box(bbox=[1, 2, -3, 4]), "annotation 1 of 'a.png': its width or height is negative"),
        (
            box(bbox=[1, 2, float("nan"), 4]),
            "annotation 1 of 'a.png': [1, 2, NaN, 4] is not [x, y, width, height]",
        ),
        (box(bbox=None), "annotation 1 of 'a.png': null is not [x, y, width, height]"),
        (box(category_id=99), "its `category_id` 99 is none of the `categories`"),
        (box(category_id="dog"), "its `category_id` dog is none of the `categories`"),
        (box(segmentation=[[1, 2, 3]]), "its outline is not [x1, y1, x2, y2, ...]"),
        (box(segmentation={"size": [12, 16], "counts": [7]}), "its RLE has runs of 7 pixels"),
        (box(segmentation={"size": [10**9, 10**9], "counts": []}), "its RLE has the size"),
    ],
)
def test_nonsense_is_told_with_file_line_and_annotation(job: Job, annotation: Any, why: str) -> None:
    a_set(job, [box(2, image=9), annotation])
    text = (job.folder / "set/labels.json").read_text()
    job.write("set/labels.json", text.replace('{"id": 1, "image_id"', '\n{"id": 1, "image_id"'))
    wrong: list[Problem] = []
    assert job.columns("{dataset: set/labels.json}", "image_id", sink=wrong.append) == [9]
    assert [(one.file, one.line) for one in wrong] == [("set/labels.json", 2)]
    assert why in wrong[0].message


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname.png", "deep/../../secret.png"])
def test_a_name_that_leads_out_of_the_dataset_is_refused(job: Job, name: str) -> None:
    picture_of(job, "secret.png", "set/a.png")
    job.write("set/labels.json", coco([{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": name}], []))
    wrong: list[Problem] = []
    assert job.columns("{dataset: set/labels.json}", "image_id", sink=wrong.append) == [1]
    assert "lies outside the dataset" in wrong[0].message


def test_an_absolute_name_in_the_dataset_is_followed(job: Job) -> None:
    picture_of(job, "set/a.png")
    image = {"id": 1, "file_name": str(job.folder / "set/a.png")}
    job.write("set/labels.json", coco([image], []))
    assert job.columns("{dataset: set/labels.json}", "name") == ["a.png"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "set/labels.json:1: is no JSON object"),
        ('{"images": [\n{"id": 1,,}]}', "set/labels.json:2: is not JSON"),
        ('{"images": [', "is not JSON"),
        ('{"images": []} x', "something stands behind the object"),
        ('{"images" []}', "a `:` is missing"),
        ('{"images": [1 2]}', "a `,` or the end of the list is missing"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"shapes": []}', "is no COCO file: it has no list `images`"),
        ('{"images": {"id": 1}}', "is no COCO file: it has no list `images`"),
        ('{"images": [], "categories": [{"id": 1}]}', "category 1 has no `id` that is a whole number"),
        (b'{"images": [{"id": 1, "file_name": "\xff.png"}]}', "utf-8"),
    ],
)
def test_what_is_no_coco_file_is_told(job: Job, text: str | bytes, why: str) -> None:
    job.write("set/labels.json", text)
    assert any(why in str(problem) for problem in job.problems("{dataset: set/labels.json}"))


def test_what_is_not_carried_is_told(job: Job) -> None:
    posed = [box(n, image=9, keypoints=[1, 2, 2], num_keypoints=1) for n in (1, 2)]
    unseen = box(3, image=9, keypoints=[0, 0, 0], num_keypoints=0)
    a_set(job, [*posed, unseen, box(5, image=77), box(6, image=78)])
    told: list[str] = []
    _, second = job.columns("{dataset: set/labels.json}", warn=told.append)
    assert "num_keypoints" not in str(second["box_attributes"])
    assert told == [
        "set/labels.json: 2 annotations are of no picture that it names (first: annotation 5)",
        "set/labels.json: the keypoints of 2 objects are not carried, and left out; boxes and outlines are",
    ]


@pytest.mark.parametrize("written", [str, float])
@pytest.mark.parametrize("where", ["images", "annotations", "classes", "all"])
def test_an_id_is_the_same_as_a_number_with_a_point_or_as_text(job: Job, written: Any, where: str) -> None:
    """As pandas and databases give them back: else annotations are of no picture, and all pictures empty."""
    of_image, of_annotation, of_class = (written if where in (one, "all") else int for one in ID_PLACES)
    picture_of(job, "set/a.png")
    images = [{"id": of_image(7), "file_name": "a.png"}]
    annotations = [box(image=of_annotation(7), category_id=of_class(18))]
    classes = [{"id": of_class(18) if where == "all" else 18, "name": "dog"}]
    job.write("set/labels.json", coco(images, annotations, categories=classes))
    told: list[str] = []
    (columns,) = job.columns("{dataset: set/labels.json}", warn=told.append)
    assert (columns["boxes"], columns["box_classes"], told) == ([[1.0, 2.0, 3.5, 4.0]], ["dog"], [])


ID_PLACES = ("images", "annotations", "classes")


def test_annotations_that_are_all_of_no_picture_are_an_error(job: Job) -> None:
    a_set(job, [box(5, image=77), box(6, image=78)])
    (problem,) = job.problems("{dataset: set/labels.json}")
    assert "2 annotations are of no picture that it names (first: annotation 5)" in problem.message
    assert "all would count as empty" in problem.message


def test_labels_for_a_picture_of_another_size_are_told_and_nothing_is_made_of_them(job: Job) -> None:
    picture_of(job, "set/a.png", "set/b.png", "set/c.png")
    sizes = {"a.png": (32, 24), "b.png": (12, 16), "c.png": (32, 24)}
    images = [
        {"id": number, "file_name": name, "width": width, "height": height}
        for number, (name, (width, height)) in enumerate(sizes.items(), 1)
    ]
    job.write("set/labels.json", coco(images, [box(1, image=1), box(2, image=2)]))
    wrong: list[Problem] = []
    assert job.columns("{dataset: set/labels.json}", "name", sink=wrong.append) == ["c.png"]
    assert [one.message for one in wrong] == [
        "image 1 ('a.png'): its labels are of a picture of 32 x 24 pixels, and it has 16 x 12",
        "image 2 ('b.png'): its labels are of a picture of 12 x 16 pixels, and it has, upright by its EXIF "
        "orientation, 16 x 12",
    ]


def test_an_object_without_a_class_takes_the_others_no_class_away(job: Job) -> None:
    a_set(job, [box(1), box(2, category_id=None), box(3, image=9, category_id=None)])
    wrong: list[Problem] = []
    (second,) = job.columns("{dataset: set/labels.json}", sink=wrong.append)
    assert "box_classes" not in second
    assert "has no class, and others of its picture have one" in wrong[0].message


def test_what_is_no_json_number_goes_into_no_record(job: Job) -> None:
    a_set(job, [box(1, score=float("nan"), area=float("inf"), weight=0.5)])
    text = (job.folder / "set/labels.json").read_text().replace('"license": 3', '"license": Infinity')
    job.write("set/labels.json", text)
    first, _ = job.columns("{dataset: set/labels.json}")
    assert (first["license"], first["box_attributes"]) == (None, [{"id": 1, "weight": 0.5}])


def test_captions_are_a_column(job: Job) -> None:
    said = [
        {"id": number, "image_id": 7, "caption": text} for number, text in enumerate(("a cat", "one cat"))
    ]
    a_set(job, said)
    first, second = job.columns("{dataset: set/labels.json}")
    assert first["captions"] == ["a cat", "one cat"]
    assert "boxes" not in first
    assert second["boxes"] == []


def test_entries_longer_than_what_is_read_at_once_and_names_beyond_ascii(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batcher.job.sources.json_members.CHUNK", 16)
    picture_of(job, "set/Äpfel.png")
    long = [[float(place % 16) for place in range(600)]]
    image = {"id": "ä", "file_name": "Äpfel.png"}
    annotations = [box(image="ä", segmentation=long)]  # type: ignore[arg-type]
    text = json.dumps(
        {"images": [image], "annotations": annotations, "categories": CATEGORIES}, ensure_ascii=False
    )
    job.write("set/labels.json", b"\xef\xbb\xbf" + text.encode())
    (columns,) = job.columns("{dataset: set/labels.json}")
    assert (columns["image_id"], columns["stem"], columns["box_polygons"]) == ("ä", "Äpfel", [long])


def test_a_packed_file_is_read(job: Job) -> None:
    picture_of(job, "set/a.png")
    job.write(
        "set/labels.json.gz", gzip.compress(coco([{"id": 1, "file_name": "a.png"}], [box(image=1)]).encode())
    )
    assert job.columns("{dataset: set/labels.json.gz}", "box_classes") == [["dog"]]


def test_a_changed_file_or_picture_is_planned_anew_and_an_output_folder_beside_is_none(job: Job) -> None:
    a_set(job, [box()])
    inputs = "{dataset: set/labels.json}"
    before = job.fingerprint(inputs)
    job.write("set/out/.batcher/log.jsonl", "")
    picture_of(job, "set/out/images/a.png")
    assert job.fingerprint(inputs) == before
    a_set(job, [box(), box(2)])
    labelled = job.fingerprint(inputs)
    assert labelled != before
    job.write("set/a.png", plain_picture(17, 12))
    assert job.fingerprint(inputs) != labelled


def test_a_file_that_is_not_there_is_told(job: Job) -> None:
    (problem,) = job.problems("{dataset: set/labels.json}")
    assert f"there is no file {job.folder}/set/labels.json" in problem.message


def test_names_of_another_system_are_found(job: Job) -> None:
    picture_of(job, "set/images/deep/a.png")
    job.write("set/result.json", coco([{"id": 1, "file_name": "deep\\a.png"}], []))
    assert job.columns("{dataset: set/result.json}", "image") == [str(job.folder / "set/images/deep/a.png")]


def test_a_packed_file_that_unpacks_without_end_is_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batcher.job.sources.coco_rows.LARGEST_UNPACKED", 1 << 20)
    job.write("set/labels.json.gz", gzip.compress(b" " * (3 << 20)))
    (problem,) = job.problems("{dataset: set/labels.json.gz}")
    assert "unpacks to more than" in problem.message
    for damaged in (b"no gzip", gzip.compress(b"{" * 3000)[:-12]):
        job.write("set/labels.json.gz", damaged)
        (problem,) = job.problems("{dataset: set/labels.json.gz}")
        assert "cannot be read" in problem.message
