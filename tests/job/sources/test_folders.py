"""What a folder is taken to hold: its pictures by suffix or content, in the order in which people count."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import datasets
import pytest

from tests.support.job import Job
from tests.support.pictures import plain_picture

SOURCES = ("{images: in}", "{dataset: in}")


# Which files.


@pytest.mark.parametrize("inputs", SOURCES)
def test_every_suffix_of_a_picture_is_taken(job: Job, inputs: str) -> None:
    names = [
        f"a.{kind}" for kind in ("JPG", "jfif", "jpe", "jpeg", "png", "webp", "gif", "bmp", "tif", "mpo")
    ]
    names += ["b.heic", "b.heif", "b.jxl", "b.avif", "b.jp2"]
    for name in names:
        job.write(f"in/{name}", plain_picture())
    assert sorted(job.columns(inputs, "name")) == sorted(names)


@pytest.mark.parametrize("inputs", SOURCES)
def test_files_without_a_suffix_are_what_is_in_them(job: Job, inputs: str) -> None:
    job.write("in/one", plain_picture(kind="JPEG"))
    job.write("in/deep/two", plain_picture())
    job.write("in/heic", b"\0\0\0\x18ftypheic\0\0\0\0")
    job.write("in/words", "no picture")
    job.write("in/README", "about")
    warned: list[str] = []
    found = job.columns(inputs, "name", "suffix", warn=warned.append)
    assert sorted(one["name"] for one in found) == ["heic", "one", "two"]
    assert {one["suffix"] for one in found} == {""}
    assert warned == [
        f"{job.folder}/in: 1 file is no picture and is passed by: 1 without a suffix "
        f"(first: {job.folder}/in/words)"
    ]


@pytest.mark.parametrize("inputs", SOURCES)
def test_what_is_no_picture_is_told_once_with_numbers(job: Job, inputs: str) -> None:
    for number in range(3):
        job.write(f"in/{number}.png", plain_picture())
        job.write(f"in/x/{number}.mp4", b"film")
        job.write(f"in/{number}.txt", "caption")
    job.write("in/a.psd", b"layers")
    warned: list[str] = []
    assert len(job.columns(inputs, "name", warn=warned.append)) == 3
    (warning,) = warned
    assert "4 files are no pictures and are passed by: 3 .mp4, 1 .psd (first: " in warning


def test_a_folder_of_pictures_and_texts_alone_needs_no_word(job: Job) -> None:
    for name in ("a.png", "a.txt", "a.json", "labels.csv", "Thumbs.db", ".DS_Store", "LICENSE"):
        job.write(f"in/{name}", plain_picture())
    warned: list[str] = []
    assert job.columns("{images: in}", "name", warn=warned.append) == ["a.png"]
    assert warned == []


def test_a_file_without_a_suffix_that_comes_or_changes_is_another_fingerprint(job: Job) -> None:
    job.write("in/a.png", plain_picture())
    before = job.fingerprint("{images: in}")
    job.write("in/b", plain_picture())
    assert before != job.fingerprint("{images: in}") == job.fingerprint("{images: in}")


# Their order.


@pytest.mark.parametrize("inputs", [*SOURCES, "{images: 'in/*'}", "{images: 'in/**/*.png'}"])
def test_pictures_come_in_the_order_in_which_people_count(job: Job, inputs: str) -> None:
    names = ["1", "2", "10", "a1", "a2b10", "a2b9", "a10", "007", "7", "b"]
    for name in names:
        job.write(f"in/{name}.png", plain_picture())
    counted = ["1", "2", "007", "7", "10", "a1", "a2b9", "a2b10", "a10", "b"]
    assert job.columns(inputs, "stem") == counted


def test_folders_are_counted_too(job: Job) -> None:
    for name in ("page10/1.png", "page9/2.png", "page9/10.png", "page1/1.png"):
        job.write(f"in/{name}", plain_picture())
    found = ["page1/1", "page9/2", "page9/10", "page10/1"]
    assert [f"{one['folder']}/{one['stem']}" for one in job.columns("{images: in}")] == found


def test_zip_pairs_the_tenth_picture_with_the_tenth_row(job: Job) -> None:
    for number in range(1, 13):
        job.write(f"in/{number}.png", plain_picture())
    job.write("t.csv", "\n".join(["n", *map(str, range(1, 13))]))
    found = job.columns("[{images: in}, {table: t.csv}]", more="combine: zip")
    assert [one["stem"] for one in found] == [one["n"] for one in found]


# Splits.


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["train2017/1.png", "val2017/2.png"], {"1": "train", "2": "validation"}),
        (["training_set/1.png", "test_set/2.png"], {"1": "train", "2": "test"}),
        (["my-train/1.png", "my-test/2.png", "my-dev/3.png"], {"1": "train", "2": "test", "3": "validation"}),
        (["images/train2017/1.png", "images/val2017/2.png"], {"1": "train", "2": "validation"}),
        (["train.v2/cat/1.png", "eval 1/dog/2.png"], {"1": "train", "2": "test"}),
        (["train/1.png", "test/2.png", "validation/3.png"], {"1": "train", "2": "test", "3": "validation"}),
        (["evaluation/1.png", "training/2.png"], {"1": "test", "2": "train"}),
    ],
)
def test_folders_are_the_splits_that_datasets_takes_them_for(
    job: Job, paths: list[str], expected: dict[str, str], tmp_path: Path
) -> None:
    for path in paths:
        job.write(f"in/{path}", plain_picture())
    found = job.columns("{dataset: in}", "stem", "split")
    canonical = {"training": "train", "evaluation": "test"}
    assert {one["stem"]: canonical.get(one["split"], one["split"]) for one in found} == expected
    theirs = datasets.load_dataset(
        "imagefolder", data_dir=str(job.folder / "in"), cache_dir=str(tmp_path / "cache")
    )
    read = {
        Path(row["image"]["path"]).stem: split
        for split, rows in theirs.items()
        for row in rows.cast_column("image", datasets.Image(decode=False))
    }
    assert read == expected


def test_labels_stand_below_a_split_or_above_it(job: Job) -> None:
    for path in ("train2017/cat/1.png", "val2017/dog/2.png"):
        job.write(f"coco/{path}", plain_picture())
    assert job.columns("{dataset: coco}", "label") == ["cat", "dog"]
    for path in ("images/train/1.png", "images/test/2.png", "cat/train/3.png", "cat/test/4.png"):
        job.write(f"deep/{path}", plain_picture())
    found = job.columns("{dataset: deep}")
    assert {one["stem"]: one.get("label") for one in found} == {"1": None, "2": None, "3": "cat", "4": "cat"}


def test_a_class_with_a_splits_word_in_its_name_is_a_class(job: Job) -> None:
    for path in ("test_tube/1.png", "beaker/2.png", "flask/3.png"):
        job.write(f"in/{path}", plain_picture())
    found = job.columns("{dataset: in}")
    assert sorted(one["label"] for one in found) == ["beaker", "flask", "test_tube"]
    assert not any("split" in one for one in found)


def test_annotations_beside_a_split_are_none(job: Job) -> None:
    job.write("in/train2017/1.png", plain_picture())
    job.write("in/annotations/instances.json", "{}")
    assert job.columns("{dataset: in}", "split") == ["train"]


def test_metadata_above_the_splits_leave_them_what_they_are(job: Job) -> None:
    names = ("train2017/1.png", "val2017/2.png", "other/3.png")
    for name in names:
        job.write(f"in/{name}", plain_picture())
    job.write("in/metadata.jsonl", "\n".join(json.dumps({"file_name": name}) for name in names))
    found = job.columns("{dataset: in}")
    assert [one.get("split") for one in found] == ["train", "validation", None]


# Packed tables.


@pytest.mark.parametrize(
    ("name", "text"),
    [("t.csv.gz", "n,p\n1,a\n2,b\n"), ("t.JSONL.GZ", '{"n": "1"}\n{"n": "2"}\n'), ("t.txt.gz", "x\ny\n")],
)
def test_tables_may_be_packed(job: Job, name: str, text: str) -> None:
    job.write(name, gzip.compress(text.encode()))
    assert len(job.rows(f"{{table: {name}}}")) == 2
    before = job.fingerprint(f"{{table: {name}}}")
    job.write(name, gzip.compress(text.replace("2", "30").replace("y", "yy").encode()))
    assert before != job.fingerprint(f"{{table: {name}}}")


def test_a_packed_table_that_is_cut_off_is_told(job: Job) -> None:
    packed = gzip.compress(b"n\n" + b"\n".join(b"%d" % (number * 7919) for number in range(5000)))
    for content in (packed[: len(packed) // 2], b"no gzip at all", packed[:-3] + b"xxx"):
        job.write("t.csv.gz", content)
        assert any("t.csv.gz" in problem.message for problem in job.problems("{table: t.csv.gz}"))


def test_a_wrong_row_of_a_packed_table_is_pointed_at(job: Job) -> None:
    job.write("t.csv.gz", gzip.compress(b"a,b\n1,2\n3\n"))
    (problem,) = job.problems("{table: t.csv.gz}")
    assert (problem.line, problem.excerpt) == (3, "3")


def test_another_suffix_is_told_with_those_that_there_are(job: Job) -> None:
    job.write("t.xlsx.gz", b"x")
    (problem,) = job.problems("{table: t.xlsx.gz}")
    assert ".xlsx is no table; a table is .csv, " in problem.message
