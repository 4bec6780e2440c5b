"""A data.yaml of ultralytics as a source: its sets, and the label files where ultralytics looks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from batcher.errors import Problem
from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs import InputsContext
from batcher.job.inputs import rows as rows_of_job
from batcher.job.sources.ultralytics_rows import label_path
from tests.support.job import Job
from tests.support.pictures import plain_picture

SIZE = (40, 20)
INPUTS = "{dataset: pets/data.yaml}"
NAMES = "names:\n  0: cat\n  1: no\n  2: dog\n"
PLAIN = f"train: images/train\nval: images/val\n{NAMES}"


def picture_of(job: Job, *names: str) -> None:
    for name in names:
        job.write(f"pets/{name}", plain_picture(*SIZE))


def in_pixels(line: str) -> list[float]:
    """A row of a label file, worked out here: the centre and the size as shares."""
    _, x, y, width, height = map(float, line.split())
    shares = (x - width / 2, y - height / 2, width, height)
    return [round(share * SIZE[place % 2], 2) for place, share in enumerate(shares)]


def a_set(job: Job, data: str = PLAIN) -> None:
    picture_of(job, "images/train/1.png", "images/train/deep/2.png", "images/val/3.jpg")
    job.write("pets/labels/train/1.txt", "2 0.5 0.5 0.25 0.5\n0 0.1 0.2 0.2 0.4\n")
    job.write("pets/labels/train/deep/2.txt", "")
    job.write("pets/labels/val/3.txt", "")
    job.write("pets/data.yaml", data)


def test_each_picture_has_its_set_its_boxes_and_the_names_of_its_classes(job: Job) -> None:
    a_set(job)
    first, second, third = job.columns(INPUTS)
    assert first == {
        "image": str(job.folder / "pets/images/train/1.png"),
        "stem": "1",
        "name": "1.png",
        "suffix": ".png",
        "folder": "images/train",
        "split": "train",
        "boxes": [in_pixels("2 0.5 0.5 0.25 0.5"), in_pixels("0 0.1 0.2 0.2 0.4")],
        "box_classes": ["dog", "cat"],
    }
    assert [(one["split"], one["boxes"], one["box_classes"]) for one in (second, third)] == [
        ("train", [], []),
        ("val", [], []),
    ]


def test_classes_keep_their_numbers_also_those_of_no_object(job: Job) -> None:
    a_set(job)
    context = InputsContext(job.manifest(INPUTS), Diagnostics("job.yaml"))
    list(rows_of_job(context))
    classes = [(one.id, one.name) for one in context.categories.categories]
    assert classes == [(0, "cat"), (1, "no"), (2, "dog")]


def test_outlines_are_outlines_with_the_box_around_them(job: Job) -> None:
    a_set(job)
    job.write("pets/labels/train/1.txt", "1 0.1 0.1 0.6 0.1 0.6 0.5\n0 0.5 0.5 1 1\n")
    columns = job.columns(INPUTS)[0]
    assert columns["box_polygons"] == [[[4.0, 2.0, 24.0, 2.0, 24.0, 10.0]], []]
    assert columns["boxes"] == [[4.0, 2.0, 20.0, 8.0], [0.0, 0.0, 40.0, 20.0]]


@pytest.mark.parametrize(
    "data",
    [
        "train: [images/train, images/val]\nval: null\ntest:\n",
        "path: .\ntrain:\n- images\n",
        "path: ../pets\ntrain: images/train\nvalidation: images/val\n",
        "path: pets\ntrain: images/train\nval: images/val\n",
        "path: datasets/pets\ntrain: ../images/train\nval: ../images/val\n",
        "path: {folder}/pets\ntrain: images/train\nval: {folder}/pets/images/val\n",
    ],
)
def test_sets_are_folders_or_lists_from_where_the_data_file_says(job: Job, data: str) -> None:
    a_set(job, data.replace("{folder}", str(job.folder)) + "nc: 3\nnames: [cat, no, dog]\n")
    assert job.columns(INPUTS, "name") == ["1.png", "2.png", "3.jpg"]


def test_a_text_file_lists_pictures_a_line_each(job: Job) -> None:
    a_set(job, f"train: train.txt\nval: lists/val.txt\n{NAMES}")
    absolute = job.folder / "pets/images/train/deep/2.png"
    job.write(
        "pets/train.txt", f"./images/train/1.png\n\n{absolute}\r\n./images/gone.png\n../../a.png\nb.txt\n"
    )
    job.write("pets/lists/val.txt", "images/val/3.jpg")
    job.write("a.png", plain_picture())
    wrong: list[Problem] = []
    found = job.columns(INPUTS, "name", "split", "boxes", sink=wrong.append)
    assert [(one["name"], one["split"], len(one["boxes"])) for one in found] == [
        ("1.png", "train", 2),
        ("2.png", "train", 0),
        ("3.jpg", "val", 0),
    ]
    assert [(one.file, one.line) for one in wrong] == [
        ("pets/train.txt", 4),
        ("pets/train.txt", 5),
        ("pets/train.txt", 6),
    ]
    assert "there is no picture" in wrong[0].message
    assert "'b.txt' names no picture" in wrong[2].message


def test_a_list_leads_to_no_picture_outside_of_the_data_set(job: Job) -> None:
    a_set(job, f"train: train.txt\n{NAMES}")
    job.write("secret.png", plain_picture())
    job.write("pets/train.txt", f"./images/train/1.png\n../secret.png\n{job.folder}/secret.png\n")
    wrong: list[Problem] = []
    assert job.columns(INPUTS, "name", sink=wrong.append) == ["1.png"]
    assert all("lies outside the dataset" in one.message for one in wrong)
    assert len(wrong) == 2


def test_a_picture_that_two_sets_name_comes_once_and_is_told(job: Job) -> None:
    a_set(job, f"train: images/train\nval: images\n{NAMES}")
    told: list[str] = []
    found = job.columns(INPUTS, "name", "split", warn=told.append)
    assert [(one["name"], one["split"]) for one in found] == [
        ("1.png", "train"),
        ("2.png", "train"),
        ("3.jpg", "val"),
    ]
    assert told == ["pets/data.yaml: 2 pictures of val came in train before, and stay there alone"]


def test_a_test_set_that_is_not_there_is_told_another_is_an_error(job: Job) -> None:
    a_set(job, f"{PLAIN}test: images/test\n")
    told: list[str] = []
    assert len(job.columns(INPUTS, warn=told.append)) == 3
    assert told == [f"pets/data.yaml: there is no {job.folder}/pets/images/test: the set test is left out"]
    a_set(job, PLAIN.replace("images/val", "images/vla"))
    (problem,) = job.problems(INPUTS)
    assert f"there is no {job.folder}/pets/images/vla, which is the set val" in problem.message


@pytest.mark.parametrize(
    ("label", "line", "why"),
    [
        ("0 0.5 0.5 0.5 0.5\n3 0.5 0.5 0.1 0.1", 0, "the class 3 is none of the 3 `names` of pets/data.yaml"),
        ("0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.1 7", 2, "YOLO's numbers are shares of the picture, from 0 to 1"),
        ("0 0.5 0.5 0.5", 1, "4 values; a box is"),
        ("cat 0.5 0.5 0.5 0.5", 1, "is not made of numbers"),
        ("0.5 0.5 0.5 0.5 0.5", 1, "the class 0.5 is no whole number"),
        ("0 nan 0.5 0.5 0.5", 1, "YOLO's numbers"),
        ("0 0.5 0.5 -0.005 0.5", 1, "from 0 to 1, and -0.005 is not"),
        ("\xff 0 0 1 1", 1, "is not made of numbers"),
    ],
)
def test_nonsense_is_told_with_file_and_line(job: Job, label: str, line: int, why: str) -> None:
    a_set(job)
    job.write("pets/labels/train/1.txt", label)
    wrong: list[Problem] = []
    assert job.columns(INPUTS, "name", sink=wrong.append) == ["2.png", "3.jpg"]
    assert [one.file for one in wrong] == ["pets/labels/train/1.txt"]
    assert why in wrong[0].message
    assert wrong[0].line == (line or wrong[0].line)


def test_a_picture_whose_size_cannot_be_read_is_left_out_where_it_has_labels(job: Job) -> None:
    a_set(job)
    job.write("pets/images/train/1.png", b"no picture")
    wrong: list[Problem] = []
    assert job.columns(INPUTS, "name", sink=wrong.append) == ["2.png", "3.jpg"]
    assert "its labels are shares of its size" in wrong[0].message


def test_pictures_without_a_label_file_are_told_by_their_sets(job: Job) -> None:
    """A folder `labels` in another place makes all pictures of a set empty."""
    a_set(job)
    for gone in ("train/deep/2.txt", "val/3.txt"):
        (job.folder / "pets/labels" / gone).unlink()
    told: list[str] = []
    assert job.columns(INPUTS, "boxes", warn=told.append)[1:] == [[], []]
    assert told == [
        "pets/data.yaml: 2 pictures have no label file, and they are taken to show no object: "
        f"1 of 2 of train, 1 of 1 of val (first: there is no {job.folder}/pets/labels/train/deep/2.txt)"
    ]


def test_a_label_file_is_found_by_a_name_that_looks_alike(job: Job) -> None:
    picture_of(job, "images/train/caf\N{LATIN SMALL LETTER E WITH ACUTE}.png")
    job.write("pets/labels/train/cafe\N{COMBINING ACUTE ACCENT}.txt", "2 0.5 0.5 0.25 0.5\n")
    job.write("pets/data.yaml", f"train: images/train\n{NAMES}")
    assert job.columns(INPUTS, "box_classes") == [["dog"]]


@pytest.mark.parametrize("name", ["valid", "training", "my-test"])
def test_a_set_by_another_name_is_told(job: Job, name: str) -> None:
    a_set(job, f"train: images/train\n{name}: images/val\nval_loss: 0.2\n{NAMES}")
    told: list[str] = []
    assert job.columns(INPUTS, "name", warn=told.append) == ["1.png", "2.png"]
    assert told == [f"pets/data.yaml: `{name}` is not read: ultralytics calls its sets train, val, test"]


def test_folders_written_on_another_system_are_found(job: Job) -> None:
    a_set(job, PLAIN.replace("/", "\\"))
    assert job.columns(INPUTS, "name") == ["1.png", "2.png", "3.jpg"]


@pytest.mark.parametrize("row", ["0 -0.00001 0.5 0.5 0.5", "0 1.008 0.5 0.5 0.5", "0 -0.01 0 1.01 0 1 1"])
def test_numbers_a_little_outside_are_taken_as_ultralytics_takes_them(job: Job, row: str) -> None:
    a_set(job)
    job.write("pets/labels/train/1.txt", row)
    assert len(job.columns(INPUTS, "boxes")[0]) == 1


def test_rows_of_poses_lose_their_keypoints_and_it_is_told(job: Job) -> None:
    a_set(job, f"{PLAIN}kpt_shape: [2, 3]\n")
    job.write("pets/labels/train/1.txt", "0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.2 0.2 1\n")
    told: list[str] = []
    assert job.columns(INPUTS, "boxes", warn=told.append)[0] == [[10.0, 5.0, 20.0, 10.0]]
    assert told == [
        "pets/data.yaml: the keypoints of 1 object are not carried, and left out; its box and outline are"
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("- train", "is no data.yaml of ultralytics"),
        ("names: [a]", "is no data.yaml of ultralytics"),
        ("train: 7\nnames: [a]", "`train` is no folder, no text file, and no list of these"),
        ("train: https://x/y.zip\nnames: [a]", "`train` is no folder"),
        ("train: images/train\nnames: 7", "`names` is neither a list of classes nor a mapping"),
        ("train: images/train\nnames: {0: a, 0: b}", "is given twice"),
        ("train: !!python/object/apply:os.system [ls]\nnames: [a]", "the tag"),
        ("train: &a [*a]\nnames: [a]", ""),
        ("train: [", "data.yaml"),
    ],
)
def test_what_is_no_data_file_is_told(job: Job, data: str, why: str) -> None:
    a_set(job, data)
    assert any(why in str(problem) for problem in job.problems(INPUTS))


def test_a_changed_label_file_picture_or_list_is_planned_anew(job: Job) -> None:
    a_set(job, f"train: train.txt\nval: images/val\n{NAMES}")
    job.write("pets/train.txt", "./images/train/1.png\n")
    seen = [job.fingerprint(INPUTS)]
    assert job.fingerprint(INPUTS) == seen[0]
    for name, content in (
        ("labels/train/1.txt", "0 0.5 0.5 1 1"),
        ("labels/val/3.txt", "0 0.5 0.5 1 1"),
        ("train.txt", "./images/train/deep/2.png\n"),
        ("images/val/4.png", plain_picture()),
    ):
        job.write(f"pets/{name}", content)
        seen.append(job.fingerprint(INPUTS))
    assert len(set(seen)) == len(seen)


def test_labels_lie_where_ultralytics_looks() -> None:
    assert label_path("/d/images/train/a.b.jpg") == "/d/labels/train/a.b.txt"
    assert label_path("/images/x/images/a.jpg") == "/images/x/labels/a.txt"
    assert label_path("/d/photos/a.jpg") == "/d/photos/a.txt"
    assert Path(label_path("/images/a.jpg")) == Path("/labels/a.txt")


def test_a_link_back_to_a_folder_above_is_not_entered(job: Job) -> None:
    a_set(job)
    (job.folder / "pets/images/train/again").symlink_to(job.folder / "pets/images/train")
    assert job.columns(INPUTS, "name") == ["1.png", "2.png", "3.jpg"]


def test_the_folder_of_a_data_file_is_that_dataset(job: Job) -> None:
    a_set(job)
    assert job.columns("{dataset: pets}") == job.columns(INPUTS)
    before = job.fingerprint("{dataset: pets}")
    job.write("pets/labels/train/1.txt", "0 0.5 0.5 1 1")
    assert job.fingerprint("{dataset: pets}") != before
    job.write("pets/data.yaml", "title: of something else\n")
    assert "boxes" not in job.columns("{dataset: pets}")[0]
