"""What lies beside a picture: texts, label files, and what it means that one is missing."""

from __future__ import annotations

import pytest

from batcher.errors import Problem
from tests.support.job import Job
from tests.support.pictures import plain_picture

CAPTIONS = "images: in, companions: {caption: 'in/{{ stem }}.txt'}"


def photos(job: Job, *stems: str) -> None:
    for stem in stems:
        job.write(f"in/{stem}.png", plain_picture())


# Texts.


def test_a_text_file_is_its_text(job: Job) -> None:
    photos(job, "a", "b", "c")
    job.write("in/a.txt", "a red cat,\n  in the snow\n")
    job.write("in/b.txt", "\ufeffein Bär".encode())
    job.write("in/c.txt", "")
    assert job.columns(f"{{{CAPTIONS}}}", "caption") == ["a red cat,\n  in the snow", "ein Bär", ""]


def test_a_changed_text_is_another_fingerprint(job: Job) -> None:
    photos(job, "a")
    job.write("in/a.txt", "red")
    before = job.fingerprint(f"{{{CAPTIONS}}}")
    assert before == job.fingerprint(f"{{{CAPTIONS}}}")
    job.write("in/a.txt", "blue cat")
    assert before != job.fingerprint(f"{{{CAPTIONS}}}")


@pytest.mark.parametrize(
    ("content", "says"), [(b"\xff\xfe\xfa", "is not UTF-8 text"), (b"x" * 1_000_001, "is larger than 1 MB")]
)
def test_a_text_that_cannot_be_read_leaves_its_row_out(job: Job, content: bytes, says: str) -> None:
    photos(job, "a", "b")
    job.write("in/a.txt", content)
    job.write("in/b.txt", "cat")
    left_out: list[Problem] = []
    assert job.columns(f"{{{CAPTIONS}}}", "caption", sink=left_out.append) == ["cat"]
    assert [(problem.file, says in problem.message) for problem in left_out] == [
        (f"{job.folder}/in/a.png", True)
    ]


def test_label_files_and_masks_stay_paths(job: Job) -> None:
    photos(job, "a")
    job.write("in/a.txt", "0 0.5 0.5 0.5 0.5")
    inputs = "{images: in, companions: {labels: 'in/{{ stem }}.txt', mask: 'in/{{ stem }}.png'}}"
    assert job.columns(inputs, "labels", "mask") == [
        {"labels": f"{job.folder}/in/a.txt", "mask": f"{job.folder}/in/a.png"}
    ]


# Missing ones.


def test_a_picture_without_a_label_file_has_no_boxes_and_that_is_told_once(job: Job) -> None:
    photos(job, "a", "b", "c")
    job.write("in/a.txt", "0 0.5 0.5 0.5 0.5")
    warned: list[str] = []
    inputs = "{images: in, companions: {labels: 'in/{{ stem }}.txt'}}"
    found = job.columns(inputs, warn=warned.append)
    assert [(one["labels"], one.get("boxes"), one.get("box_classes")) for one in found] == [
        (f"{job.folder}/in/a.txt", None, None),
        (None, [], []),
        (None, [], []),
    ]
    (warning,) = warned
    assert warning.startswith(
        "2 rows have no labels: their pictures are taken to have no boxes (2 of 3, first: "
    )


@pytest.mark.parametrize(("missing", "left"), [("error", None), ("skip", ["a"]), ("empty", ["a", "b"])])
def test_what_a_missing_label_file_means_may_be_said(job: Job, missing: str, left: list[str] | None) -> None:
    photos(job, "a", "b")
    job.write("in/a.txt", "")
    inputs = f"{{images: in, companions: {{labels: 'in/{{{{ stem }}}}.txt'}}, missing: {missing}}}"
    if left is None:
        (problem,) = job.problems(inputs)
        assert (problem.key, "b.png has no labels: there is no file" in problem.message) == (
            "inputs.0.companions.labels",
            True,
        )
    else:
        assert job.columns(inputs, "stem") == left


def test_a_missing_companion_may_be_empty(job: Job) -> None:
    photos(job, "a", "b")
    job.write("masks/a.png", plain_picture())
    job.write("in/b.txt", "cat")
    warned: list[str] = []
    companions = "{mask: 'masks/{{ stem }}.png', caption: 'in/{{ stem }}.txt'}"
    inputs = f"{{images: in, companions: {companions}, missing: empty}}"
    assert job.columns(inputs, "mask", "caption", warn=warned.append) == [
        {"mask": f"{job.folder}/masks/a.png", "caption": ""},
        {"mask": None, "caption": "cat"},
    ]
    assert warned == [
        f"1 row has no caption: it is empty there (1 of 2, first: {job.folder}/in/a.png)",
        f"1 row has no mask: it is empty there (1 of 2, first: {job.folder}/in/b.png)",
    ]


def test_a_null_in_the_name_of_a_companion_is_a_companion_that_is_missing(job: Job) -> None:
    job.write("1.txt", "one")
    rows = "rows: [{id: 1}, {id: null}], companions: {caption: '{{ id }}.txt'}"
    (problem,) = job.problems(f"{{{rows}}}")
    assert "has no caption: a column of its name is null" in problem.message
    assert job.columns(f"{{{rows}, missing: empty}}", "caption") == ["one", ""]
    assert job.columns(f"{{{rows}, missing: skip}}", "caption") == ["one"]
