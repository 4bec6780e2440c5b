"""Files whose names are spelled otherwise than in the job: found where one alone fits, else asked about."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from batcher.engine import outlook
from batcher.errors import ManifestError, Problem
from batcher.job.near_files import NearFiles
from tests.support.job import Job
from tests.support.manifests import parse
from tests.support.pictures import plain_picture

COMPOSED = unicodedata.normalize("NFC", "crème brûlée")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(
    ("there", "named"),
    [
        (f"{COMPOSED}.png", f"{DECOMPOSED}.png"),
        (f"{DECOMPOSED}.png", f"{COMPOSED}.png"),
        (f"{DECOMPOSED}/{COMPOSED}.png", f"{COMPOSED}/{DECOMPOSED}.png"),
        ("sub/cat.png", "sub\\cat.png"),
        ("sub/deep/cat.png", "sub\\deep/cat.png"),
        ("cat.png", "cat.png "),
        ("cat.png", " cat.png"),
        ("cat.png ", "cat.png"),
        ("my cats /cat.png", "my cats/cat.png"),
    ],
)
def test_one_file_that_looks_the_same_is_meant(tmp_path: Path, there: str, named: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_bytes(b"x")
    near = NearFiles()
    assert near.find(f"{tmp_path}/{named}") == f"{tmp_path}/{there}"
    assert near.note() == (
        f"1 file is spelled otherwise on disk than in the job (first: {f'{tmp_path}/{named}'!r} is "
        f"{f'{tmp_path}/{there}'!r})"
    )


def test_of_two_that_look_the_same_neither_is_meant(tmp_path: Path) -> None:
    for name in ("cat.png ", " cat.png"):
        (tmp_path / name).write_bytes(b"x")
    near = NearFiles()
    assert (near.find(f"{tmp_path}/cat.png"), near.note()) == (None, "")
    assert near.hint(f"{tmp_path}/cat.png").startswith("; did you mean ")


@pytest.mark.parametrize(
    ("there", "named", "meant"),
    [
        ("Cat.PNG", "cat.png", "Cat.PNG"),
        ("cat.jpg", "cat.png", "cat.jpg"),
        ("elephant.png", "elefant.png", "elephant.png"),
        ("photo-0011.png", "photo-0012.png", ""),
        ("a.png", "b.png", ""),
        ("dog.png", "cat.png", ""),
    ],
)
def test_what_only_comes_near_is_asked_about(tmp_path: Path, there: str, named: str, meant: str) -> None:
    (tmp_path / there).write_bytes(b"x")
    near = NearFiles()
    assert near.find(f"{tmp_path}/{named}") is None
    assert near.hint(f"{tmp_path}/{named}") == (f"; did you mean {meant}?" if meant else "")


def test_what_is_no_path_of_this_disk_is_left_alone(tmp_path: Path) -> None:
    near = NearFiles()
    for path in ("s3://bucket/a.png", f"{tmp_path}/a\0.png", f"{tmp_path}/none/a.png", "/"):
        assert (near.find(path), near.hint(path)) == (None, "")


# Wherever a job names files.


def test_a_table_of_another_machine_plans_the_same_tasks(job: Job) -> None:
    job.write(f"in/{DECOMPOSED}.png", plain_picture())
    job.write("in/b.png", plain_picture(9, 9))
    params = "params: {image: '{{ image }}', prompt: '{{ width }} wide'}\noutput: {name: '{{ n }}'}"
    keys = []
    for first, second in ((f"in\\{COMPOSED}.png", "in/b.png "), (f"in/{DECOMPOSED}.png", "in/b.png")):
        job.write("t.csv", f"image,n\n{first},1\n{second},2\n")
        manifest = parse(f"model: sd1.5-img2img\ninputs: {{table: t.csv}}\n{params}", "job.yaml", job.folder)
        found = outlook(manifest, job.folder / "out")
        assert found.total == 2
        keys.append([sample["key"] for sample in found.sample])
        notes = [warning for warning in found.warnings if "spelled otherwise" in warning]
        assert len(notes) == (1 if first.startswith("in\\") else 0)
    assert keys[0] == keys[1]


def test_a_picture_that_comes_near_is_asked_about(job: Job) -> None:
    job.write("in/cat.png", plain_picture())
    job.write("t.csv", "image\nin/Cat.png\n")
    text = "model: sd1.5-img2img\ninputs: {table: t.csv}\nparams: {image: '{{ image }}', prompt: x}"
    with pytest.raises(ManifestError, match=r"there is no file 'in/Cat\.png' in .*; did you mean cat\.png\?"):
        outlook(parse(text, "job.yaml", job.folder), job.folder / "out")


def test_companions_and_metadata_find_them_too(job: Job) -> None:
    job.write(f"in/{COMPOSED}.png", plain_picture())
    job.write(f"masks/{DECOMPOSED}.png", plain_picture())
    companions = "{images: in, companions: {mask: 'masks/{{ stem }}.png'}}"
    assert job.columns(companions, "mask") == [f"{job.folder}/masks/{DECOMPOSED}.png"]
    job.write("in/metadata.csv", f"file_name,label\n{DECOMPOSED}.png,sweet\n")
    assert job.columns("{dataset: in}", "label") == ["sweet"]
    job.write("in/metadata.csv", "file_name,label\nCreme.png,sweet\n")
    left_out: list[Problem] = []
    job.write("in/creme.PNG", plain_picture())
    assert job.rows("{dataset: in, empty: allow}", sink=left_out.append) == []
    assert left_out[0].message.endswith("in/Creme.png; did you mean creme.PNG?")


def test_a_change_of_the_file_that_is_meant_is_another_fingerprint(job: Job) -> None:
    job.write(f"in/{DECOMPOSED}.png", plain_picture())
    job.write("t.csv", f"image\nin/{COMPOSED}.png\n")
    before = job.fingerprint("{table: t.csv}")
    assert before == job.fingerprint("{table: t.csv}")
    job.write(f"in/{DECOMPOSED}.png", plain_picture(9, 9))
    assert before != job.fingerprint("{table: t.csv}")
