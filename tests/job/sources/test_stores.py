"""Pictures, tables and companions in object stores: a real local S3, and what goes wrong with one."""

from __future__ import annotations

import json
import re
import sys

import fsspec.registry  # noqa: F401  # a test empties it
import pytest

from batcher.engine import uploads
from batcher.errors import NotAnImage, SourceChanged
from batcher.job.catalog import find
from batcher.storage import stores
from tests.support.buckets import Bucket
from tests.support.job import Job, rows_of
from tests.support.pictures import plain_picture
from tests.support.plans import expanded


@pytest.fixture
def pets(bucket: Bucket) -> Bucket:
    for key in ("cats/a.jpg", "cats/b.JPG", "cats/old/c.png", "dogs/d.jpg", "notes.txt", ".hidden/e.jpg"):
        bucket.put(key, plain_picture(shade=len(key)))
    for key in ("masks/a.png", "masks/c.png"):
        bucket.put(key, plain_picture(kind="PNG"))
    return bucket


@pytest.mark.parametrize(
    ("images", "names"),
    [
        ("{b}/cats", ["a.jpg", "b.JPG", "c.png"]),
        ("{b}/cats/", ["a.jpg", "b.JPG", "c.png"]),
        ("{b}", ["a.jpg", "b.JPG", "c.png", "d.jpg", "a.png", "c.png"]),
        ("{b}/*/*.jpg", ["a.jpg", "d.jpg"]),
        ("{b}/**/*.jpg", ["a.jpg", "d.jpg"]),
        ("{b}/cats/*.{{jpg,JPG}}", ["a.jpg", "b.JPG"]),
        ("{b}/cats/a.jpg", ["a.jpg"]),
    ],
)
def test_globs_and_folders_of_a_bucket_give_pictures_in_a_fixed_order(
    job: Job, pets: Bucket, images: str, names: list[str]
) -> None:
    assert job.columns(f"{{images: '{images.format(b=pets)}'}}", "name") == names


def test_a_stored_picture_has_the_columns_of_any_picture(job: Job, pets: Bucket) -> None:
    assert job.columns(f"{{images: '{pets}/**/c.png'}}")[0] == {
        "image": f"{pets}/cats/old/c.png",
        "stem": "c",
        "name": "c.png",
        "suffix": ".png",
        "folder": "cats/old",
    }


def test_a_companion_may_lie_in_a_bucket(job: Job, pets: Bucket) -> None:
    inputs = (
        f"{{images: '{pets}/cats', companions: {{mask: '{pets}/masks/{{{{ stem }}}}.png'}}, missing: skip}}"
    )
    notes: list[str] = []
    assert job.columns(inputs, "mask", warn=notes.append) == [f"{pets}/masks/a.png", f"{pets}/masks/c.png"]
    assert "b.JPG has no mask" in notes[0]
    (problem,) = job.problems(inputs.replace(", missing: skip", ""))
    assert f"there is no file {pets}/masks/b.png" in problem.message


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "txt", "parquet"])
def test_a_table_may_lie_in_a_bucket(job: Job, bucket: Bucket, kind: str) -> None:
    import io

    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["red", "blue"]}), buffer)
    content = {
        "csv": b"text\nred\nblue\n",
        "jsonl": b'{"text": "red"}\n{"text": "blue"}\n',
        "json": b'[{"text": "red"}, {"text": "blue"}]',
        "txt": b"red\nblue\n",
        "parquet": buffer.getvalue(),
    }[kind]
    address = bucket.put(f"tables/t.{kind}", content)
    (first, second) = job.rows(f"{{table: '{address}'}}")
    assert (first.columns, second.columns) == ({"text": "red"}, {"text": "blue"})
    assert (first.file, first.folder) == (address, f"{bucket}/tables")


def test_an_imagefolder_may_lie_in_a_bucket(job: Job, bucket: Bucket) -> None:
    bucket.put("set/train/x/a.png", plain_picture())
    bucket.put("set/train/metadata.jsonl", json.dumps({"file_name": "x/a.png", "label": "cat"}))
    (row,) = job.columns(f"{{dataset: '{bucket}/set'}}")
    assert (row["image"], row["label"], row["split"]) == (f"{bucket}/set/train/x/a.png", "cat", "train")


def test_a_folder_of_labels_in_a_bucket_is_known_by_the_names_in_it(job: Job, bucket: Bucket) -> None:
    bucket.put("pets/images/train/a.png", plain_picture(10, 10))
    bucket.put("pets/labels/train/a.txt", "0 0.5 0.5 0.2 0.2\n")
    bucket.put("pets/data.yaml", "train: images/train\nnames: [cat]\n")
    (row,) = job.columns(f"{{dataset: '{bucket}/pets/'}}")
    assert (row["box_classes"], row["split"]) == (["cat"], "train")
    bucket.put("coco/val2017/b.png", plain_picture(10, 10))
    images = [{"id": 1, "file_name": "b.png"}]
    boxes = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 2, 2]}]
    described = {"images": images, "annotations": boxes, "categories": [{"id": 7, "name": "fish"}]}
    bucket.put("coco/annotations/instances_val2017.json", json.dumps(described))
    (row,) = job.columns(f"{{dataset: '{bucket}/coco'}}")
    assert (row["box_classes"], row["split"]) == (["fish"], "val")


def test_a_voc_folder_in_a_bucket_is_told_with_the_way_that_works(job: Job, bucket: Bucket) -> None:
    bucket.put("voc/JPEGImages/a.png", plain_picture(10, 10))
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox>"
    bucket.put("voc/Annotations/a.xml", f"<annotation><object><name>cat</name>{box}</object></annotation>")
    (problem,) = job.problems(f"{{dataset: '{bucket}/voc'}}")
    assert problem.message.startswith(f"{bucket}/voc is a Pascal VOC folder in a store")
    images, companions = re.findall(r"`(.*?)`", problem.message)
    (row,) = job.columns(f"{{{images}, {companions}}}")
    assert row["labels"] == f"{bucket}/voc/Annotations/a.xml"


def test_a_thousand_pictures_are_listed_not_asked_for_one_by_one(job: Job, bucket: Bucket) -> None:
    for number in range(30):
        bucket.put(f"p/{number:02}.png", plain_picture(shade=number))
        bucket.put(f"m/{number:02}.png", plain_picture())
    manifest = job.manifest(
        f"{{images: '{bucket}/p', companions: {{mask: '{bucket}/m/{{{{ stem }}}}.png'}}}}",
        "params: {image: '{{ image }}', mask: '{{ mask }}', prompt: x}",
    )
    model = find("sd1.5-inpainting")
    tasks = expanded(manifest, model, rows_of(manifest), digest=stores.digest)
    assert len({task.media["image"] for task in tasks}) == 30
    assert len({task.media["mask"] for task in tasks}) == 1
    assert len(bucket.calls) <= 2 + stores.objects.ASKED + 2, bucket.calls
    assert not [call for call in bucket.calls if call.startswith("GET") and "list-type" not in call]


def test_a_stored_picture_is_known_by_its_content_and_uploaded_as_it_was_planned(
    job: Job, bucket: Bucket
) -> None:
    address = bucket.put("a.png", plain_picture())
    copy = bucket.put("elsewhere/copy.png", plain_picture())
    other = bucket.put("b.png", plain_picture(9, 9))
    planned = stores.digest(address)
    assert planned == stores.digest(copy) != stores.digest(other)
    assert uploads.read(address, planned).startswith(b"data:image/png;base64,")
    bucket.put("a.png", plain_picture(9, 9))
    with pytest.raises(SourceChanged, match="changed since it was planned"):
        uploads.read(address, planned)
    bucket.client.delete_object(Bucket=bucket.name, Key="a.png")
    with pytest.raises(NotAnImage, match=f"{address}: there is no such object"):
        uploads.read(address, planned)


def test_any_change_in_the_bucket_gives_another_fingerprint(job: Job, pets: Bucket) -> None:
    inputs = (
        f"{{images: '{pets}/cats', companions: {{mask: '{pets}/masks/{{{{ stem }}}}.png'}}, missing: skip}}"
    )
    seen = {job.fingerprint(inputs)}
    assert job.fingerprint(inputs) in seen
    for key in ("cats/a.jpg", "cats/new.jpg", "masks/a.png"):
        pets.put(key, plain_picture(33, 22))
        seen.add(job.fingerprint(inputs))
    assert len(seen) == 4
    assert job.fingerprint(inputs) in seen


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ("{{images: '{b}/nothing/*.jpg'}}", "no file matches"),
        ("{{images: '{b}/nothing/'}}", "there is no file or folder {b}/nothing/"),
        ("{{images: '{b}/none.jpg'}}", "there is no file or folder {b}/none.jpg"),
        ("{{images: 's3://no-such-bucket-here/'}}", "there is no file or folder s3://no-such-bucket-here/"),
        ("{{table: '{b}/none.csv'}}", "there is no file {b}/none.csv"),
        ("{{dataset: '{b}/nothing'}}", "there is no folder {b}/nothing"),
    ],
)
def test_what_is_not_there_is_told_with_bucket_and_key(
    job: Job, bucket: Bucket, inputs: str, says: str
) -> None:
    (problem,) = job.problems(inputs.format(b=bucket))
    assert says.format(b=bucket) in problem.message
    assert (problem.file, problem.line) == ("job.yaml", 2)
    assert problem.excerpt


def test_a_refusal_of_the_store_names_bucket_and_key(
    job: Job, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("t.csv", "a\n1\n")

    class Refusing:
        def __getattr__(self, name: str) -> object:
            def refused(*args: object, **kwargs: object) -> object:
                raise PermissionError("Access Denied")

            return refused

    monkeypatch.setattr(stores.objects, "_filesystem", lambda scheme: Refusing())
    for inputs in (f"{{table: '{bucket}/t.csv'}}", f"{{images: '{bucket}/'}}"):
        (problem,) = job.problems(inputs)
        assert f"{bucket}" in problem.message
        assert "the store does not let us read it" in problem.message


def test_an_inbox_in_a_bucket_may_be_empty(job: Job, bucket: Bucket) -> None:
    assert job.rows(f"{{images: '{bucket}/inbox/', empty: allow}}") == []


@pytest.mark.parametrize(
    ("missing", "inputs", "says"),
    [
        ("s3fs", "{images: 's3://b/'}", "needs the extra `s3`: pip install 'batcher[s3]'"),
        ("fsspec", "{table: 's3://b/t.csv'}", "needs the extra `s3`: pip install 'batcher[s3]'"),
        ("gcsfs", "{images: 'gs://b/'}", "gs:// needs gcsfs: pip install gcsfs"),
        ("pyarrow", "{table: t.parquet}", "needs the extra `parquet`: pip install 'batcher[parquet]'"),
        ("datasets", "{dataset: saved}", "needs the extra `datasets`: pip install 'batcher[datasets]'"),
    ],
)
def test_a_missing_extra_is_one_sentence_that_names_it(
    job: Job, monkeypatch: pytest.MonkeyPatch, missing: str, inputs: str, says: str
) -> None:
    job.write("t.parquet", b"PAR1")
    job.write("saved/state.json", "{}")
    # What fsspec has imported once it does not look for again.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    for name in list(sys.modules):
        if name.partition(".")[0] == missing:
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "pyarrow":
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    stores.objects._filesystem.cache_clear()
    (problem,) = job.problems(inputs)
    assert says in problem.message
    assert problem.key.startswith("inputs.0.")
    stores.objects._filesystem.cache_clear()


def test_a_scheme_that_nobody_knows_is_told(job: Job) -> None:
    (problem,) = job.problems("{images: 'xyz://b/'}")
    assert "xyz:// is no store; there are s3://" in problem.message


def test_a_coco_file_and_a_data_file_may_lie_in_a_bucket_with_their_pictures(
    job: Job, bucket: Bucket
) -> None:
    listed = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 3, "name": "cat"}]}
    boxes = [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}]
    for key in ("coco/val2017/a.png", "pets/images/train/a.png"):
        bucket.put(key, plain_picture(40, 20))
    labels = bucket.put(
        "coco/annotations/instances_val2017.json", json.dumps({**listed, "annotations": boxes}).encode()
    )
    (columns,) = job.columns(f"{{dataset: '{labels}'}}")
    assert (columns["image"], columns["boxes"]) == (f"{bucket}/coco/val2017/a.png", [[1, 2, 3, 4]])
    bucket.put("pets/labels/train/a.txt", b"0 0.5 0.5 0.5 0.5")
    data = bucket.put("pets/data.yaml", b"train: images/train\nnames: [cat]\n")
    (columns,) = job.columns(f"{{dataset: '{data}'}}")
    assert (columns["boxes"], columns["box_classes"]) == ([[10, 5, 20, 10]], ["cat"])
    before = job.fingerprint(f"{{dataset: '{data}'}}")
    bucket.put("pets/labels/train/a.txt", b"0 0.5 0.5 1 1")
    assert job.fingerprint(f"{{dataset: '{data}'}}") != before
