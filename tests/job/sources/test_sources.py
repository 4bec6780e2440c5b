"""Rows from pictures, tables and the manifest; the fingerprint that tells whether they changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.errors import ManifestError, Problem
from batcher.job import inputs as job_inputs
from batcher.job.diagnostics import Diagnostics, silent
from batcher.job.inputs import InputsContext
from batcher.job.manifest import Manifest
from batcher.job.row import Row
from tests.support.job import rows_of
from tests.support.manifests import parse


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """jobs/ beside photos/ with five pictures, a hidden one and a text, and masks/ for two of them."""
    for name in ("a.jpg", "b.JPG", "c.png", "sub/d.jpg", "sub/deep/e.webp", ".hidden/f.jpg", "notes.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "masks").mkdir()
    for name in ("a.png", "c.png"):
        (tmp_path / "masks" / name).write_bytes(b"mask")
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs"


def job(folder: Path, inputs: str, more: str = "") -> Manifest:
    return parse(f"model: x\ninputs: {inputs}\n{more}", "job.yaml", folder)


def rows(folder: Path, inputs: str, more: str = "", notes: list[str] | None = None) -> list[Row]:
    return rows_of(job(folder, inputs, more), warn=silent if notes is None else notes.append)


def columns(folder: Path, inputs: str, more: str = "") -> list[dict[str, Any]]:
    return [dict(row.columns) for row in rows(folder, inputs, more)]


def names(folder: Path, images: str) -> list[str]:
    return [str(one["name"]) for one in columns(folder, f"{{images: {images}}}")]


def problems(folder: Path, inputs: str, more: str = "") -> list[Problem]:
    with pytest.raises(ManifestError) as caught:
        rows(folder, inputs, more)
    return list(caught.value.problems)


def write(folder: Path, name: str, content: str | bytes) -> None:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


# Pictures.


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("../photos", ["a.jpg", "b.JPG", "c.png", "d.jpg", "e.webp"]),
        ("../photos/", ["a.jpg", "b.JPG", "c.png", "d.jpg", "e.webp"]),
        ("../photos/*.jpg", ["a.jpg"]),
        ("../photos/*", ["a.jpg", "b.JPG", "c.png", "notes.txt"]),
        ("'../photos/*.{jpg,png}'", ["a.jpg", "c.png"]),
        ("'../photos/[ab].*'", ["a.jpg", "b.JPG"]),
        ("../photos/**/*.jpg", ["a.jpg", "d.jpg"]),
        ("../photos/**/deep/*", ["e.webp"]),
        ("../photos/**", ["a.jpg", "b.JPG", "c.png", "notes.txt", "d.jpg", "e.webp"]),
        ("../**/**/*.jpg", ["a.jpg", "d.jpg"]),
        ("../photos/*/*.jpg", ["d.jpg"]),
        ("../photos/.hidden/*.jpg", ["f.jpg"]),
        ("../*/sub/?.jpg", ["d.jpg"]),
        ("../photos/c.png", ["c.png"]),
        ("[../photos/c.png, '../photos/*.jpg', ../photos/a.jpg]", ["c.png", "a.jpg"]),
    ],
)
def test_globs_folders_and_lists_give_pictures_in_a_fixed_order(
    folder: Path, images: str, expected: list[str]
) -> None:
    assert names(folder, images) == expected


def test_a_picture_has_its_columns(folder: Path) -> None:
    photos = folder.parent / "photos"
    assert columns(folder, "{images: ../photos/**/*.webp}") == [
        {
            "image": str(photos / "sub/deep/e.webp"),
            "stem": "e",
            "name": "e.webp",
            "suffix": ".webp",
            "folder": "sub/deep",
        }
    ]


def test_a_url_is_a_picture_too(folder: Path) -> None:
    (row,) = columns(folder, "{images: ['https://h.example/x/a%20b.png?size=5']}")
    assert row["image"] == "https://h.example/x/a%20b.png?size=5"
    assert (row["stem"], row["suffix"], row["folder"]) == ("a b", ".png", "")


def test_a_folder_that_links_back_is_not_walked_for_ever(folder: Path) -> None:
    (folder.parent / "photos/sub/again").symlink_to(folder.parent / "photos")
    (folder.parent / "linked").symlink_to(folder.parent / "photos")
    assert names(folder, "../photos/**/*.jpg") == ["a.jpg", "d.jpg"]
    assert names(folder, "../linked/**/*.jpg") == ["a.jpg", "d.jpg"]


def delivered(output: Path) -> None:
    """An output folder with one picture."""
    (output / ".batcher").mkdir(parents=True)
    (output / "images").mkdir()
    write(output / "images", "a.jpg", b"out")


@pytest.mark.parametrize(
    "images",
    ["../photos", "../photos/**/*.jpg", "../photos/*/*/*/*.jpg", "../photos/**/images/*.jpg", "../**/a.*"],
)
def test_an_output_folder_below_the_inputs_is_not_entered(folder: Path, images: str) -> None:
    inputs = f"{{images: ['{images}', ../photos/c.png]}}"
    before, known = rows(folder, inputs), job_inputs.fingerprint(job(folder, inputs))
    for output in ("out/job", "out/job-sandbox", "out/parts/shard-1-of-2"):
        delivered(folder.parent / "photos" / output)
    assert rows(folder, inputs) == before
    assert job_inputs.fingerprint(job(folder, inputs)) == known


@pytest.mark.parametrize(
    "images",
    [
        "../out/one/images/*.jpg",
        "../out/one/images",
        "../out/one/images/a.jpg",
        "../out/one/**/*.jpg",
        "../out/one/",
        "../out/{one,two}/images/*.jpg",
        "../out/*/images/*.jpg",
    ],
)
def test_the_results_of_a_job_are_inputs_of_another_where_they_are_named(folder: Path, images: str) -> None:
    delivered(folder.parent / "out/one")
    assert names(folder, f"'{images}'") == ["a.jpg"]


def test_where_only_output_folders_match_they_are_told(folder: Path) -> None:
    delivered(folder.parent / "out/one")
    (problem,) = problems(folder, "{images: '../out/**/*.jpg'}")
    assert problem.key == "inputs.0.images"
    assert f"outside of {folder.parent}/out/one, an output folder of batcher" in problem.message
    assert rows(folder, "{images: '../out/**/*.jpg', empty: allow}") == []


def test_a_name_with_glob_characters_is_a_file_where_there_is_one(folder: Path) -> None:
    write(folder, "a[1].png", b"x")
    assert names(folder, "'a[1].png'") == ["a[1].png"]


@pytest.mark.parametrize(
    ("images", "key", "says"),
    [
        ("../photos/*.gif", "inputs.0.images", "no file matches; `empty: allow` lets that pass"),
        ("../nowhere/*.gif", "inputs.0.images.0", "/nowhere"),
        ("../photos/nowhere/{a,b}/**", "inputs.0.images.0", "/photos/nowhere"),
        ("../photos/a.jpg/*.gif", "inputs.0.images.0", "there is no folder"),
        ("../photos/{nowhere,none}/*.gif", "inputs.0.images", "no file matches"),
        ("../photos/none.png", "inputs.0.images.0", "there is no file or folder"),
    ],
)
def test_what_is_not_there_is_told(folder: Path, images: str, key: str, says: str) -> None:
    (problem,) = problems(folder, f"{{images: '{images}'}}")
    assert (problem.file, problem.line, problem.key) == ("job.yaml", 2, key)
    assert says in problem.message


def test_every_missing_file_of_a_list_is_told(folder: Path) -> None:
    found = problems(folder, "[{images: [x.png, y.png, ../photos/a.jpg]}]")
    assert [problem.key for problem in found] == ["inputs.0.images.0", "inputs.0.images.1"]


def test_a_file_name_that_is_no_text_is_told(folder: Path) -> None:
    try:
        write(folder.parent / "photos", os.fsdecode(b"\xff.jpg"), b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (problem,) = problems(folder, "{images: ../photos}")
    assert "is not UTF-8" in problem.message
    str(problem).encode()


def test_an_inbox_may_be_empty(folder: Path) -> None:
    assert rows(folder, "{images: ../photos/*.gif, empty: allow}") == []
    (folder.parent / "inbox").mkdir()
    for images in ("../inbox/", "../inbox", "../inbox/*.jpg", "../inbox/**/*.jpg", "../inbox/{a,b}/*.jpg"):
        assert rows(folder, f"{{images: '{images}', empty: allow}}") == []
    assert "there is no file" in problems(folder, "{images: a.jpg, empty: allow}")[0].message
    write(folder, "t.csv", "a,b\n")
    assert rows(folder, "{table: t.csv, empty: allow}") == []
    assert "has no rows" in problems(folder, "{table: t.csv}")[0].message
    assert "has no rows" in problems(folder, "{rows: []}")[0].message


@pytest.mark.parametrize("images", ["../inbox/", "../inbox", "../inbox/*.jpg", "../inbox/{a,b}/**/*.jpg"])
def test_an_inbox_that_is_not_there_is_no_empty_inbox(folder: Path, images: str) -> None:
    inputs = f"{{images: '{images}', empty: allow}}"
    (problem,) = problems(folder, inputs)
    assert problem.key == "inputs.0.images.0"
    assert problem.message.endswith(f"{folder.parent}/inbox")
    assert job_inputs.fingerprint(job(folder, inputs)) != job_inputs.fingerprint(job(folder, inputs))


# Companions.


def test_a_companion_is_a_column_with_its_path(folder: Path) -> None:
    found = columns(folder, "{images: '../photos/{a,c}.*', companions: {mask: '../masks/{{ stem }}.png'}}")
    assert [one["mask"] for one in found] == [str(folder.parent / "masks" / f"{n}.png") for n in "ac"]


def test_a_missing_companion_is_an_error_that_names_its_row(folder: Path) -> None:
    found = problems(folder, "{images: ../photos, companions: {mask: '../masks/{{ stem }}.png'}}")
    assert [problem.key for problem in found] == ["inputs.0.companions.mask"] * 3
    assert "b.JPG has no mask: there is no file" in found[0].message


def test_missing_skip_leaves_rows_out_with_a_warning(folder: Path) -> None:
    notes: list[str] = []
    inputs = "{images: ../photos, companions: {mask: '../masks/{{ stem }}.png'}, missing: skip}"
    assert [row.columns["stem"] for row in rows(folder, inputs, notes=notes)] == ["a", "c"]
    (note,) = notes
    assert note.startswith("3 rows are left out for want of a companion (first: ")


def test_each_row_that_missing_skip_leaves_out_is_noted_as_allowed(folder: Path) -> None:
    passed: list[Problem] = []
    inputs = "{images: ../photos, companions: {mask: '../masks/{{ stem }}.png'}, missing: skip}"
    assert len(rows_of(job(folder, inputs), sink=passed.append)) == 2
    assert [problem.skipped_by_manifest for problem in passed] == [True] * 3
    assert passed[0].message.endswith(f"b.JPG has no mask {folder.parent / 'masks' / 'b.png'}")


def test_a_link_that_leads_nowhere_is_a_picture_that_is_missing(folder: Path) -> None:
    (folder.parent / "photos" / "g.jpg").symlink_to("gone.jpg")
    assert "g" in [row.columns["stem"] for row in rows(folder, "{images: ../photos}")]


def test_a_companion_by_an_unknown_column_is_told_once(folder: Path) -> None:
    write(folder, "t.csv", "id\n1\n2\n")
    (problem,) = problems(folder, "{table: t.csv, companions: {mask: '{{ idd }}.png'}}")
    assert "unknown variable `idd`; did you mean `id`?" in problem.message


# Tables.


@pytest.mark.parametrize(
    "content",
    [
        'p,n\nred,1\n"a, b",2\n',
        'p;n\nred;1\n"a, b";2\n',
        "p\tn\nred\t1\na, b\t2",
        '\ufeffp,n\r\nred,1\r\n\r\n"a, b",2\r\n',
        ' p , n\nred,1\n"a, b",2\n',
    ],
)
def test_csv_of_any_usual_dialect_is_text(folder: Path, content: str) -> None:
    write(folder, "t.csv", content)
    assert columns(folder, "{table: t.csv}") == [{"p": "red", "n": "1"}, {"p": "a, b", "n": "2"}]
    assert rows(folder, "{table: t.csv}")[0].text == {"p", "n"}


def test_a_row_knows_its_file_line_and_number(folder: Path) -> None:
    write(folder, "t.csv", 'p,n\n"two\nlines",1\n\nred,2\n')
    found = rows(folder, "{table: t.csv}")
    assert [(row.file, row.line, row.number, row.folder) for row in found] == [
        ("t.csv", 2, 1, str(folder)),
        ("t.csv", 5, 2, str(folder)),
    ]
    assert found[1].origin == "t.csv row 2"
    (row,) = rows(folder, "\n  rows:\n    - {a: 1}")
    assert (row.file, row.line, row.number) == ("job.yaml", 4, 1)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("p,n\nred\n", 2, "row 1 has 1 cells, the header 2"),
        ("p,n\nred,1\nblue,2,3\n", 3, "row 2 has 3 cells, the header 2"),
        ("p,p\nred,1\n", 1, "two columns are named `p`"),
        ("p,\nred,1\n", 1, "column 2 has no name"),
        ('p,n\n"a"b,1\n', 2, "row 1 is not CSV"),
        ('p,n\n"a,1\n', 2, "row 1 is not CSV"),
        ("", 1, "the first line names the columns"),
    ],
)
def test_a_broken_csv_is_told_with_its_line(folder: Path, content: str, line: int, says: str) -> None:
    write(folder, "t.csv", content)
    found = problems(folder, "{table: t.csv}")
    assert [(problem.file, problem.line) for problem in found] == [("t.csv", line)]
    assert says in found[0].message


def test_the_good_rows_of_a_broken_table_are_read_on(folder: Path) -> None:
    write(folder, "t.csv", "p,n\nred,1\nbad\nblue,2\nbad\n")
    diagnostics = Diagnostics("job.yaml")
    found = [
        row.columns["p"] for row in job_inputs.rows(InputsContext(job(folder, "{table: t.csv}"), diagnostics))
    ]
    assert found == ["red", "blue"]
    with pytest.raises(ManifestError) as caught:
        diagnostics.judge(len(found))
    assert [problem.line for problem in caught.value.problems] == [3, 5]


def test_at_most_twenty_problems_are_told(folder: Path) -> None:
    write(folder, "t.csv", "p,n\n" + "bad\n" * 1000)
    found = problems(folder, "{table: t.csv}")
    assert len(found) == 21
    assert "there may be more" in found[-1].message


def test_jsonl_and_json_keep_their_types(folder: Path) -> None:
    values = [{"p": "x", "n": 1, "f": 0.5, "b": True, "z": None, "l": [1, {"a": "ü"}]}, {"p": "y"}]
    write(folder, "t.jsonl", "\n".join(json.dumps(value) for value in values) + "\n\n")
    write(folder, "t.json", json.dumps(values))
    assert columns(folder, "{table: t.jsonl}") == columns(folder, "{table: t.json}") == values
    assert rows(folder, "{table: t.jsonl}")[0].text == frozenset()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "row 1 is not JSON"),
        ("[1]", "row 1 is not an object"),
        ("{}", "row 1 is not an object"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1e999}', "too large a number"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": ' + "[" * 100_000, "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_broken_line_of_jsonl_is_told(folder: Path, content: str, says: str) -> None:
    write(folder, "t.jsonl", content)
    (problem,) = problems(folder, "{table: t.jsonl}")
    assert (problem.file, problem.line) == ("t.jsonl", 1)
    assert says in problem.message


@pytest.mark.parametrize(
    ("content", "says"), [('{"a": 1}', "is not a list"), ("[1]", "row 1 is not"), ("[", "not JSON")]
)
def test_a_broken_json_is_told(folder: Path, content: str, says: str) -> None:
    write(folder, "t.json", content)
    assert says in problems(folder, "{table: t.json}")[0].message


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("none.csv", "there is no file"),
        ("none.parquet", "there is no file"),
        ("latin.parquet", "is not Parquet that can be read"),
        ("t.xlsx", ".xlsx is no table"),
        ("latin.csv", "is not UTF-8 text"),
        ("folder.csv", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_at_its_key(folder: Path, table: str, says: str) -> None:
    for name in ("latin.csv", "latin.parquet"):
        write(folder, name, b"p\n\xe9\n")
    (folder / "folder.csv").mkdir()
    (problem,) = problems(folder, f"{{table: '{table}'}}")
    assert (problem.file, problem.line, problem.key) == ("job.yaml", 2, "inputs.0.table")
    assert says in problem.message


@given(st.lists(st.tuples(st.text('ab,;\t"\n é'), st.text('xy,"')), min_size=1, max_size=5))
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    import csv

    folder = tmp_path_factory.mktemp("csv")
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("first", "second"), *cells])
    found = [(one["first"], one["second"]) for one in columns(folder, "{table: t.csv, empty: allow}")]
    assert found == [row for row in cells if any(cell.strip() for cell in row)]


# Several sources.


def test_a_job_without_inputs_has_one_empty_row(tmp_path: Path) -> None:
    (row,) = rows_of(parse("model: x", "job.yaml", tmp_path))
    assert row.columns == {}


def test_product_meets_every_row_with_every_other(folder: Path) -> None:
    found = columns(folder, "[{rows: [{a: 1}, {a: 2}]}, {rows: [{b: x}, {b: y}]}, {rows: [{c: 5}]}]")
    assert [(one["a"], one["b"], one["c"]) for one in found] == [
        (1, "x", 5),
        (1, "y", 5),
        (2, "x", 5),
        (2, "y", 5),
    ]


def test_zip_goes_side_by_side(folder: Path) -> None:
    inputs = "[{rows: [{a: 1}, {a: 2}]}, {rows: [{b: x}, {b: y}]}]"
    assert columns(folder, inputs, "combine: zip") == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_zip_of_unequal_lengths_is_an_error(folder: Path) -> None:
    (problem,) = problems(folder, "[{rows: [{a: 1}, {a: 2}]}, {rows: [{b: x}]}]", "combine: zip")
    assert problem.key == "combine"
    assert "inputs.1 ended after 1 rows" in problem.message


@pytest.mark.parametrize("combine", ["product", "zip"])
def test_two_sources_with_one_column_are_an_error(folder: Path, combine: str) -> None:
    (problem,) = problems(
        folder, "[{rows: [{a: 1}]}, {rows: [{b: 1}]}, {rows: [{b: 2}]}]", f"combine: {combine}"
    )
    assert "two sources have a column `b`" in problem.message


def test_a_joined_row_knows_where_each_column_came_from(folder: Path) -> None:
    write(folder, "t.csv", "p\nred\n")
    (row,) = rows(folder, "[{images: ../photos/a.jpg}, {table: t.csv}]")
    assert (row.part("p").file, row.part("p").line) == ("t.csv", 2)
    assert row.text == {"p"}


def test_rows_stream(folder: Path) -> None:
    """The first row is there before the rest of an endless pipe is."""
    read, write_end = os.pipe()
    pipe = folder / "t.jsonl"
    pipe.symlink_to(f"/dev/fd/{read}")
    with os.fdopen(write_end, "w") as writer:
        writer.write("".join(f'{{"n": {n}}}\n' for n in range(2000)))
        writer.flush()
        stream: Iterator[Row] = job_inputs.rows(
            InputsContext(job(folder, "{table: t.jsonl}"), Diagnostics("job.yaml"))
        )
        assert next(stream).columns == {"n": 0}
    assert sum(1 for _ in stream) == 1999
    os.close(read)


# The fingerprint.

EVERYTHING = """
  - {images: ../photos/a.jpg, companions: {mask: '../masks/{{ stem }}.png'}}
  - {table: t.csv}
  - {table: p.csv}
"""


def everything(folder: Path, more: str = "") -> str:
    return job_inputs.fingerprint(
        job(folder, EVERYTHING, f"params: {{logo: logo.png, image: '{{{{ image }}}}'}}\n{more}")
    )


def test_an_unchanged_job_has_an_unchanged_fingerprint(folder: Path) -> None:
    write(folder, "t.csv", "p\nred\n")
    write(folder, "p.csv", "file\nx.png\n")
    first = everything(folder)
    assert first == everything(folder) == everything(folder, "limits: {rpm: 5}")
    assert first != everything(folder, "repeat: 2")


@pytest.mark.parametrize(
    "changed",
    ["../photos/a.jpg", "../masks/a.png", "t.csv", "x.png", "logo.png", "models/x.yaml"],
)
def test_any_change_gives_another_fingerprint(folder: Path, changed: str) -> None:
    write(folder, "t.csv", "p\nred\n")
    write(folder, "p.csv", "file\nx.png\n")
    (folder / "models").mkdir()
    before = everything(folder)
    model = "slug: x\nparameters: {logo: {type: string}, image: {type: string}}\n"
    write(folder, changed, model if changed.endswith(".yaml") else b"p\nother\n")
    assert everything(folder) != before


def test_a_new_picture_gives_another_fingerprint(folder: Path) -> None:
    before = job_inputs.fingerprint(job(folder, "{images: ../photos}"))
    assert job_inputs.fingerprint(job(folder, "{images: ../photos}")) == before
    write(folder.parent / "photos/sub", "new.png", b"x")
    assert job_inputs.fingerprint(job(folder, "{images: ../photos}")) != before


def test_what_cannot_be_told_cheaply_is_planned_anew(folder: Path) -> None:
    broken = job(folder, "{table: none.csv}")
    assert job_inputs.fingerprint(broken) != job_inputs.fingerprint(broken)
