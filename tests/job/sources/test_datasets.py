"""Datasets as sources: imagefolders as people and `datasets` lay them out, and datasets saved to disk."""

from __future__ import annotations

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from batcher.engine import uploads
from batcher.errors import Problem
from batcher.job import geometry
from batcher.job.catalog import find
from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs import InputsContext
from batcher.job.inputs import rows as rows_of_job
from batcher.storage import stores
from tests.support.job import Job, rows_of
from tests.support.pictures import plain_picture
from tests.support.plans import expanded


def lines(*values: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)


# Imagefolders.


def test_class_folders_are_a_label_column(job: Job) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/deep/3.png", ".cache/4.png", "cat/readme.md"):
        job.write(f"pets/{name}", plain_picture())
    found = job.columns("{dataset: pets}", "name", "folder", "label")
    assert found == [
        {"name": "1.png", "folder": "cat", "label": "cat"},
        {"name": "2.png", "folder": "cat", "label": "cat"},
        {"name": "3.png", "folder": "dog/deep", "label": "deep"},
    ]


def test_split_folders_are_a_split_column(job: Job) -> None:
    for name in ("train/cat/1.png", "test/cat/2.png", "train/3.png"):
        job.write(f"pets/{name}", plain_picture())
    found = job.columns("{dataset: pets}")
    assert [(one["name"], one["split"], one.get("label")) for one in found] == [
        ("2.png", "test", "cat"),
        ("3.png", "train", None),
        ("1.png", "train", "cat"),
    ]


def test_an_output_folder_in_an_imagefolder_is_not_entered_unless_metadata_name_it(job: Job) -> None:
    job.write("pets/cat/1.png", plain_picture())
    before = job.fingerprint("{dataset: pets}")
    job.write("pets/out/job/.batcher/log.jsonl", "")
    job.write("pets/out/job/images/1.png", plain_picture())
    job.write("pets/out/job/metadata.jsonl", lines({"file_name": "images/1.png"}))
    assert job.columns("{dataset: pets}", "label") == ["cat"]
    assert job.fingerprint("{dataset: pets}") == before
    assert job.columns("{dataset: pets/out/job}", "folder") == ["images"]
    job.write("pets/metadata.jsonl", lines({"file_name": "out/job/images/1.png"}))
    assert job.columns("{dataset: pets}", "folder") == ["out/job/images"]
    named = job.fingerprint("{dataset: pets}")
    job.write("pets/out/job/images/1.png", plain_picture(9, 9))
    assert job.fingerprint("{dataset: pets}") != named


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_metadata_beside_the_pictures_are_their_labels(job: Job, kind: str) -> None:
    values = [{"file_name": "x/1.png", "caption": "a cat"}, {"file_name": "2.png", "caption": "a dog"}]
    for name in ("x/1.png", "2.png", "3.png"):
        job.write(f"pets/{name}", plain_picture())
    if kind == "jsonl":
        job.write("pets/metadata.jsonl", lines(*values))
    elif kind == "csv":
        job.write("pets/metadata.csv", "file_name,caption\nx/1.png,a cat\n2.png,a dog\n")
    else:
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(values), job.write("pets/metadata.parquet", b"")
        )
    first, second = job.columns("{dataset: pets}")
    assert first == {
        "image": str(job.folder / "pets/x/1.png"),
        "stem": "1",
        "name": "1.png",
        "suffix": ".png",
        "folder": "x",
        "caption": "a cat",
    }
    assert (second["name"], second["caption"]) == ("2.png", "a dog")


def test_what_datasets_itself_reads_we_read_alike(job: Job, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(2):
            job.write(f"pets/train/{label}/{label}{number}.png", plain_picture())
    theirs = datasets.load_dataset(
        "imagefolder", data_dir=str(job.folder / "pets"), cache_dir=str(tmp_path / "cache")
    )["train"]
    names = theirs.features["label"].names
    rows = [(names[row["label"]], row["image"].size) for row in theirs]
    ours = job.rows("{dataset: pets}", "params: {p: '{{ width }}{{ height }}'}")
    found = [(row.columns["label"], (row.columns["width"], row.columns["height"])) for row in ours]
    assert sorted(found) == sorted(rows)


def test_labels_that_have_the_name_of_another_column_are_kept(job: Job) -> None:
    job.write("pets/1.png", plain_picture())
    job.write("pets/metadata.jsonl", lines({"file_name": "1.png", "seed": 5, "name": "Tom", "repeat": 1}))
    (row,) = job.columns("{dataset: pets}", more="seed: 1")
    assert (row["name"], row["source_name"], row["source_seed"], row["source_repeat"]) == (
        "1.png",
        "Tom",
        5,
        1,
    )


def test_pictures_that_no_line_of_the_metadata_names_are_told(job: Job) -> None:
    for name in ("a.png", "b.png", "deep/c.png", "deep/d.png", "shown/e.png", "masks/a.png"):
        job.write(f"set/{name}", plain_picture())
    lines = [{"file_name": "./a.png", "mask": "shown/e.png"}, {"file_name": "deep/c.png"}]
    job.write("set/metadata.jsonl", "\n".join(map(json.dumps, lines)))
    told: list[str] = []
    assert job.columns("{dataset: set}", "name", warn=told.append) == ["a.png", "c.png"]
    assert told == [
        "set/metadata.jsonl: 2 pictures beside it are in no line of it, and no row (first: b.png)"
    ]


def test_metadata_that_do_not_match_their_pictures_are_told_by_row(job: Job) -> None:
    job.write("pets/1.png", plain_picture())
    job.write("outside.png", plain_picture())
    job.write(
        "pets/metadata.jsonl",
        lines(
            {"file_name": "1.png", "a": 1},
            {"file_name": "gone.png", "a": 2},
            {"a": 3},
            {"file_name": "../outside.png", "a": 4},
        )
        + "{\n",
    )
    found = job.problems("{dataset: pets}")
    assert [(one.file, one.line) for one in found] == [
        ("pets/metadata.jsonl", 2),
        ("pets/metadata.jsonl", 3),
        ("pets/metadata.jsonl", 4),
        ("pets/metadata.jsonl", 5),
    ]
    assert f"row 2: there is no picture {job.folder}/pets/gone.png" in found[0].message
    assert "row 3 has no `file_name`" in found[1].message
    assert "lies outside the dataset" in found[2].message
    left_out: list[Problem] = []
    assert job.columns("{dataset: pets}", "a", sink=left_out.append) == [1]
    assert [one.message for one in left_out] == [one.message for one in found]


@pytest.mark.parametrize(
    ("path", "says"),
    [("nowhere", "there is no folder"), ("file.png", "is a file; a dataset is a folder")],
)
def test_a_dataset_that_is_none_is_told_at_its_key(job: Job, path: str, says: str) -> None:
    job.write("file.png", plain_picture())
    (problem,) = job.problems(f"{{dataset: {path}}}")
    assert (problem.key, says in problem.message) == ("inputs.0.dataset", True)


# Saved datasets.


@pytest.fixture
def pets(job: Job) -> datasets.Dataset:
    """Three pictures with class labels, one of them told by bytes and name, in a saved dataset."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "boxes": datasets.Sequence(datasets.Sequence(datasets.Value("float32"))),
            "seed": datasets.Value("int64"),
        }
    )
    rows = [
        {
            "image": {"bytes": plain_picture(8 + number, 6), "path": f"pet{number}.png" if number else None},
            "label": number % 2,
            "boxes": [[0.0, 0.0, 4.0, 2.0]],
            "seed": number,
        }
        for number in range(3)
    ]
    return datasets.Dataset.from_list(rows, features=features)


def test_a_saved_dataset_gives_its_rows_with_class_names(job: Job, pets: datasets.Dataset) -> None:
    pets.save_to_disk(str(job.folder / "saved"))
    found = job.columns("{dataset: saved}", more="params: {p: '{{ width }}'}")
    assert [(one["stem"], one["label"], one["source_seed"], one["width"]) for one in found] == [
        ("saved-0", "cat", 0, 8),
        ("pet1", "dog", 1, 9),
        ("pet2", "cat", 2, 10),
    ]
    assert found[0]["boxes"] == [[0.0, 0.0, 4.0, 2.0]]
    assert found[0]["image"] == f"dataset://{job.folder}/saved?row=0&column=image"


def of_objects(objects: Any) -> datasets.Dataset:
    """Pictures with the objects that Hugging Face documents, in this feature."""
    names = ["coverall", "mask", "gloves"]
    fields = {
        "bbox": datasets.Sequence(datasets.Value("float32"), length=4),
        "category": datasets.ClassLabel(names=names),
    }
    of_lists = {"bbox": [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 2.0, 2.0]], "category": [2, 0]}
    of_mappings = [{name: of_lists[name][at] for name in fields} for at in (0, 1)]
    features = {"image": datasets.Image(), "objects": objects(fields)}
    rows = [
        {
            "image": {"bytes": plain_picture(), "path": None},
            "objects": of_mappings if isinstance(features["objects"], list) else of_lists,
        }
    ]
    return datasets.Dataset.from_list(rows, features=datasets.Features(features))


@pytest.mark.parametrize("where", ["saved", "one.parquet"])
@pytest.mark.parametrize("objects", [datasets.Sequence, lambda fields: [fields]])
def test_objects_have_the_names_of_their_classes_which_keep_their_numbers(
    job: Job, objects: Any, where: str
) -> None:
    pets = of_objects(objects)
    if where == "saved":
        pets.save_to_disk(str(job.folder / where))
    else:
        pets.to_parquet(str(job.folder / where))
    context = InputsContext(job.manifest(f"{{dataset: {where}}}"), Diagnostics("job.yaml"))
    (row,) = rows_of_job(context)
    labels = geometry.from_row(row.columns)
    assert labels is not None
    assert labels.classes == ("gloves", "coverall")
    classes = [(one.id, one.name) for one in context.categories.categories]
    assert classes == [(0, "coverall"), (1, "mask"), (2, "gloves")]


def test_a_saved_dataset_of_several_splits_has_a_split_column(job: Job, pets: datasets.Dataset) -> None:
    datasets.DatasetDict({"train": pets, "test": pets.select([0])}).save_to_disk(str(job.folder / "saved"))
    assert job.columns("{dataset: saved}", "split") == ["test", "train", "train", "train"]
    assert len(job.rows("{dataset: saved/train}")) == 3


def test_a_picture_of_a_saved_dataset_is_planned_by_content_and_uploaded(
    job: Job, pets: datasets.Dataset
) -> None:
    pets.save_to_disk(str(job.folder / "saved"))
    job.write("same.png", plain_picture(8, 6))
    manifest = job.manifest("{dataset: saved}", "params: {image: '{{ image }}', prompt: x}")
    model = find("sd1.5-img2img")
    tasks = expanded(manifest, model, rows_of(manifest), digest=stores.digest)
    assert len({task.media["image"] for task in tasks}) == 3
    first = tasks[0]
    data = uploads.read(first.params["image"], first.media["image"])
    assert data == uploads.read(str(job.folder / "same.png"), first.media["image"])


def test_a_change_of_a_dataset_gives_another_fingerprint(job: Job, pets: datasets.Dataset) -> None:
    pets.save_to_disk(str(job.folder / "saved"))
    job.write("folder/cat/1.png", plain_picture())
    for inputs, changed in (
        ("{dataset: saved}", "saved/state.json"),
        ("{dataset: folder}", "folder/x/2.png"),
    ):
        before = job.fingerprint(inputs)
        assert before == job.fingerprint(inputs)
        job.write(changed, b"{}")
        assert before != job.fingerprint(inputs)


# Pictures inside Parquet.


def test_pictures_inside_parquet_are_rows_as_a_saved_datasets(job: Job, pets: datasets.Dataset) -> None:
    pets.to_parquet(str(job.folder / "pets.parquet"))
    found = job.columns("{dataset: pets.parquet}", more="params: {p: '{{ width }}'}")
    assert [(one["stem"], one["label"], one["source_seed"], one["width"]) for one in found] == [
        ("pets-0", "cat", 0, 8),
        ("pet1", "dog", 1, 9),
        ("pet2", "cat", 2, 10),
    ]
    assert found[0]["boxes"] == [[0.0, 0.0, 4.0, 2.0]]
    assert found[0]["image"] == f"dataset://{job.folder}/pets.parquet?row=0&column=image"


def test_a_folder_of_parquet_is_all_of_its_files_with_their_splits(job: Job, pets: datasets.Dataset) -> None:
    (job.folder / "hub" / "data").mkdir(parents=True)
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        pets.to_parquet(str(job.folder / "hub" / "data" / f"{name}.parquet"))
    assert job.columns("{dataset: hub}", "split") == ["test"] * 3 + ["train"] * 6
    inputs = ("{dataset: hub}", "{dataset: hub/data/test-00000-of-00001.parquet}")
    before = [job.fingerprint(one) for one in inputs]
    assert before == [job.fingerprint(one) for one in inputs]
    pets.select([0]).to_parquet(str(job.folder / "hub" / "data" / "test-00000-of-00001.parquet"))
    assert not set(before) & {job.fingerprint(one) for one in inputs}


def test_pictures_inside_parquet_are_read_in_any_order_and_uploaded(job: Job) -> None:
    pictures = [plain_picture(8, 6, shade=shade) for shade in range(200)]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    cells = pyarrow.array([{"bytes": one, "path": None} for one in pictures], kind)
    pyarrow.parquet.write_table(
        pyarrow.table({"image": cells}), job.folder / "many.parquet", row_group_size=90
    )
    addresses = job.columns("{dataset: many.parquet}", "image")
    order = [*range(200), 3, 199, 95, 94, 96, 0, 89, 90]
    assert [stores.first_bytes(addresses[row], 1 << 20) for row in order] == [pictures[row] for row in order]
    manifest = job.manifest("{dataset: many.parquet}", "params: {image: '{{ image }}', prompt: x}")
    model = find("sd1.5-img2img")
    tasks = expanded(manifest, model, rows_of(manifest), digest=stores.digest)
    assert tasks[150].name == "many-150"
    sent = uploads.read(tasks[150].params["image"], tasks[150].media["image"])
    assert sent.endswith(base64.b64encode(pictures[150]))


def test_a_parquet_file_without_pictures_or_with_a_gap_is_told(job: Job) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), job.folder / "plain.parquet")
    job.write("broken.parquet", b"PAR1 no more")
    assert "has no column of pictures; `table:` reads" in job.problems("{dataset: plain.parquet}")[0].message
    assert "is not Parquet that can be read" in job.problems("{dataset: broken.parquet}")[0].message
    assert "on this disk alone" in job.problems("{dataset: 's3://b/a.parquet'}")[0].message
    features = datasets.Features({"image": datasets.Image(), "n": datasets.Value("int64")})
    rows = [{"image": None, "n": 1}, {"image": {"bytes": plain_picture(), "path": None}, "n": 2}]
    datasets.Dataset.from_list(rows, features).to_parquet(str(job.folder / "gap.parquet"))
    left_out: list[Problem] = []
    assert job.columns("{dataset: gap.parquet}", "n", sink=left_out.append) == [2]
    assert [one.message for one in left_out] == ["row 1 has no picture in the column `image`"]


def test_threads_load_saved_datasets_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = threading.Lock()

    def load(folder: str) -> datasets.Dataset:
        assert entered.acquire(blocking=False), "`datasets` is not safe for two threads that load"
        time.sleep(0.005)
        entered.release()
        return datasets.Dataset.from_dict({"folder": [folder]})

    monkeypatch.setattr(datasets, "load_from_disk", load)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(stores.dataset_cells.load_dataset, [f"/nowhere/{n}" for n in range(16)]))
    assert [one[0]["folder"] for one in found] == [f"/nowhere/{n}" for n in range(16)]


def test_a_broken_saved_dataset_is_one_sentence(job: Job) -> None:
    job.write("saved/state.json", "{}")
    (problem,) = job.problems("{dataset: saved}")
    assert "is no dataset that can be read" in problem.message


# Several of them.


def test_several_datasets_are_one_source(job: Job) -> None:
    for name, classes, kind in (("one", "[cat, dog]", 1), ("two", "[cat, dog, bird]", 2)):
        job.write(f"{name}/images/train/{name}.png", plain_picture(10, 10))
        job.write(f"{name}/labels/train/{name}.txt", f"{kind} 0.5 0.5 0.2 0.2\n")
        job.write(f"{name}/data.yaml", f"train: images/train\nval: images/train\nnames: {classes}\n")
    job.write("three/p.png", plain_picture(10, 10))
    images = [{"id": 1, "file_name": "p.png"}]
    boxes = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 2, 2]}]
    described = {"images": images, "annotations": boxes, "categories": [{"id": 7, "name": "fish"}]}
    job.write("three/labels.json", json.dumps(described))
    inputs = "{dataset: [one/data.yaml, two, three/labels.json]}"
    assert job.columns(inputs, "stem", "box_classes") == [
        {"stem": "one", "box_classes": ["dog"]},
        {"stem": "two", "box_classes": ["bird"]},
        {"stem": "p", "box_classes": ["fish"]},
    ]
    context = InputsContext(job.manifest(inputs), Diagnostics("job.yaml"))
    list(rows_of_job(context))
    known = {one.name: one.id for one in context.categories.categories}
    assert known == {"cat": 0, "dog": 1, "bird": 2, "fish": 7}
    before = job.fingerprint(inputs)
    assert job.fingerprint(inputs) == before
    job.write("two/labels/train/two.txt", "")
    assert job.fingerprint(inputs) != before


def test_what_is_wrong_with_one_of_several_datasets_is_told_at_its_place(job: Job) -> None:
    job.write("one/cat/1.png", plain_picture())
    (problem,) = job.problems("\n- dataset:\n  - one\n  - two\n")
    assert problem.message == f"there is no folder {job.folder}/two"
    assert problem.line == 5
