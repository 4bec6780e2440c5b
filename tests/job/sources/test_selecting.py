"""filter, sample, order, limit; width and height on demand; rows that are left out and told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batcher.errors import Problem
from tests.support.job import Job
from tests.support.pictures import plain_picture

TABLE = "name,n,label\ncat,5,pet\ndog,12,pet\nowl,7,bird\nfox,007,\n"


def kept(job: Job, more: str, table: str = TABLE) -> list[str]:
    job.write("t.csv", table)
    return [str(name) for name in job.columns(f"{{table: t.csv, {more}}}", "name")]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{ n >= 7 }}", ["dog", "owl", "fox"]),
        ("{{ 6 < n and n < 10 }}", ["owl", "fox"]),
        ("{{ n == 5 }}", ["cat"]),
        ("{{ n == '5' }}", ["cat"]),
        ("{{ n != 5 }}", ["dog", "owl", "fox"]),
        ("{{ label == 'pet' }}", ["cat", "dog"]),
        ("{{ label in ['bird', ''] }}", ["owl", "fox"]),
        ("{{ name < 'dog' }}", ["cat"]),
        ("{{ not label }}", ["fox"]),
        ("{{ 'o' in name }}", ["dog", "owl", "fox"]),
        ("{{ n | int % 2 == 1 }}", ["cat", "owl", "fox"]),
        ("{{ missing is not defined }}", ["cat", "dog", "owl", "fox"]),
    ],
)
def test_a_filter_keeps_the_rows_for_which_it_is_true(job: Job, text: str, names: list[str]) -> None:
    assert kept(job, f'filter: "{text}"') == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ nme == 'cat' }}", "unknown variable `nme`; did you mean `name`?"),
        ("{{ name ~ 'x' }}", "gives the text 'catx', not true or false (for t.csv row 1)"),
        ("{{ n > 100 }}", "none of 4 rows passes it; `empty: allow` lets that pass"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_told_at_its_key(job: Job, text: str, says: str) -> None:
    job.write("t.csv", TABLE)
    (problem,) = job.problems(f'{{table: t.csv, filter: "{text}"}}')
    assert (problem.key, problem.line) == ("inputs.0.filter", 2)
    assert says in problem.message


def test_a_row_for_which_a_filter_has_no_answer_is_told_and_left_out(job: Job) -> None:
    job.write("t.csv", TABLE + "bat,many,\n")
    inputs = '{table: t.csv, filter: "{{ n > 6 }}"}'
    (problem,) = job.problems(inputs)
    assert (problem.file, problem.line) == ("t.csv", 6)
    assert "'many' is no number, and is compared with 6" in problem.message
    left_out: list[Problem] = []
    assert job.columns(inputs, "name", sink=left_out.append) == ["dog", "owl", "fox"]
    assert left_out == [problem]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("n", ["cat", "owl", "fox", "dog"]),
        ("-n", ["dog", "owl", "fox", "cat"]),
        ("name", ["cat", "dog", "fox", "owl"]),
        ("[label, -name]", ["fox", "owl", "dog", "cat"]),
    ],
)
def test_order_goes_by_columns(job: Job, order: str, names: list[str]) -> None:
    assert kept(job, f"order: {order}") == names


def test_order_by_a_column_that_is_nowhere_is_told(job: Job) -> None:
    job.write("t.csv", TABLE)
    (problem,) = job.problems("{table: t.csv, order: [n, nme]}")
    assert (problem.key, problem.message) == (
        "inputs.0.order.1",
        "there is no column `nme`; did you mean `name`?",
    )


def test_rows_without_a_value_come_last(job: Job) -> None:
    rows = "{rows: [{a: 2}, {b: 1}, {a: null}, {a: x}, {a: 1}], order: %s}"
    assert [one.get("a", "-") for one in job.columns(rows % "a")] == [1, 2, "x", "-", None]
    assert [one.get("a", "-") for one in job.columns(rows % "-a")] == ["x", 2, 1, "-", None]


def test_filter_sample_order_and_limit_come_in_that_order(job: Job) -> None:
    assert kept(job, 'filter: "{{ label }}"'.replace("{{ label }}", "{{ label != '' }}")) == [
        "cat",
        "dog",
        "owl",
    ]
    assert kept(job, "limit: 2, order: -n, filter: \"{{ label != '' }}\"") == ["dog", "owl"]
    assert kept(job, "limit: 9") == ["cat", "dog", "owl", "fox"]


def test_a_limit_reads_no_more_than_it_needs(job: Job) -> None:
    job.write("t.csv", TABLE + "bad\n")
    assert job.columns("{table: t.csv, limit: 2}", "name") == ["cat", "dog"]


names = st.lists(st.text("abcdefgh", min_size=1, max_size=4), unique=True, min_size=2, max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, st.integers(1, 10), st.integers(0, 3))
def test_a_sample_is_stable_and_keeps_the_order(job: Job, found: list[str], size: int, seed: int) -> None:
    def sampled(rows: list[str], seed: int = seed) -> list[Any]:
        inline = ", ".join(f"{{n: {name}}}" for name in rows)
        return job.columns(f"{{rows: [{inline}], sample: {size}}}", "n", more=f"seed: {seed}")

    quoted = [f"x{name}" for name in found]
    drawn = sampled(quoted)
    assert drawn == sampled(quoted)
    assert drawn == [name for name in quoted if name in drawn]
    assert len(drawn) == min(size, len(quoted))
    more = sampled([*quoted, "another"])
    assert len(set(drawn) - set(more)) <= 1
    assert set(sampled(quoted[::-1])) == set(drawn)


def test_a_sample_is_another_one_with_another_seed_and_the_same_elsewhere(job: Job) -> None:
    for folder in ("here", "there"):
        for number in range(40):
            job.write(f"{folder}/{number}.png", b"")

    def sampled(folder: str, seed: int) -> list[Any]:
        return job.columns(f"{{images: {folder}, sample: 5}}", "stem", more=f"seed: {seed}")

    assert sampled("here", 1) == sampled("there", 1) != sampled("here", 2)


# Width and height.


def test_sizes_are_there_when_a_template_names_them_upright(job: Job) -> None:
    job.write("p/a.jpg", plain_picture(40, 30, "JPEG", turned=6))
    job.write("p/b.png", plain_picture(40, 30))
    assert "width" not in job.columns("{images: p}")[0]
    found = job.columns("{images: p}", "width", "height", more="params: {p: '{{ width }} {{ height }}'}")
    assert found == [{"width": 30, "height": 40}, {"width": 40, "height": 30}]
    assert job.columns("{images: p, filter: '{{ width > height }}'}", "stem") == ["b"]
    assert job.columns("{images: p, order: width}", "stem") == ["a", "b"]
    job.write("t.csv", "image\np/b.png\n")
    assert job.columns("{table: t.csv, filter: '{{ width == 40 }}'}", "image") == ["p/b.png"]


def test_sizes_yield_to_axes_and_columns_of_the_same_name(job: Job) -> None:
    job.write("p/b.png", plain_picture(40, 30))
    params = "params: {p: '{{ width }} {{ height }}'}"
    (row,) = job.columns("{images: p}", more=f"matrix: {{width: [1], include: [{{height: 2}}]}}\n{params}")
    assert row.keys() & {"width", "height"} == set()
    (row,) = job.columns("[{images: p}, {rows: [{width: 7}]}]", more=params)
    assert (row["width"], row["height"]) == (7, 30)


def test_a_picture_that_cannot_be_measured_is_told_and_left_out(job: Job) -> None:
    job.write("p/a.png", plain_picture())
    broken = job.write("p/b.png", b"<html>")
    inputs = "[{images: p}, {rows: [{a: 1}, {a: 2}]}]"
    more = "params: {p: '{{ width }}'}"
    found = job.problems(inputs, more)
    assert f"{broken} cannot be measured: the file is a page, not a picture" in found[0].message
    left_out: list[Problem] = []
    assert job.columns(inputs, "stem", more=more, sink=left_out.append) == ["a", "a"]
    assert {one.message for one in left_out} == {found[0].message}
    (problem,) = job.problems("{images: ['http://h/x.png']}", more)
    assert "behind a URL is not known" in problem.message


# Rows that are left out.


def test_unreadable_rows_are_told_and_the_rest_goes_on(job: Job) -> None:
    job.write("t.csv", "name,n\ncat,1\nbad\ndog,2\n")
    job.write("t.jsonl", '{"name": "cat"}\n{\n{"name": "dog"}\n')
    for table, line in (("t.csv", 3), ("t.jsonl", 2)):
        left_out: list[Problem] = []
        assert job.columns(f"{{table: {table}}}", "name", sink=left_out.append) == ["cat", "dog"]
        assert [(one.file, one.line) for one in left_out] == [(table, line)]
        assert "row 2" in left_out[0].message


def test_where_no_row_is_left_their_problems_are_those_of_the_job(job: Job) -> None:
    job.write("t.csv", "name,n\n" + "bad\n" * 50)
    found = job.problems("{table: t.csv}", sink=[].append)
    assert [one.line for one in found[:20]] == list(range(2, 22))
    assert job.rows("{table: t.csv, empty: allow}", sink=[].append) == []


def test_where_a_filter_and_wrong_rows_leave_nothing_both_are_told(job: Job) -> None:
    job.write("t.csv", "name,n\nbad\ncat,1\ndog,2\n")
    found = job.problems("{table: t.csv, filter: '{{ n > 5 }}'}", sink=[].append)
    assert [found[0].key, "row 1 has 1 cells" in found[1].message] == ["inputs.0.filter", True]
    assert "none of 2 rows passes it" in found[0].message


def test_where_wrong_rows_and_unreadable_pictures_leave_nothing_both_are_told(job: Job) -> None:
    job.write("t.csv", "image,n\nbad\nx.png,1\n")
    job.write("x.png", b"no picture")
    more = "params: {image: '{{ image }}', p: '{{ width }}'}"
    found = job.problems("{table: t.csv}", more, sink=[].append)
    assert "row 1 has 1 cells" in found[0].message
    assert "row 2 cannot be measured" in found[1].message
    assert len(found) == 2


def test_no_row_with_its_companion_is_an_error_unless_allowed(job: Job) -> None:
    for name in ("cat.png", "dog.png"):
        job.write(f"in/{name}", plain_picture())
    inputs = "images: in, companions: {mask: 'masks/{{ stem }}.png'}, missing: skip"
    passed: list[Problem] = []
    (problem,) = job.problems(f"{{{inputs}}}", sink=passed.append)
    assert (problem.key, len(passed)) == ("inputs.0.missing", 2)
    assert "leaves no row: 2 of 2 have no companion; `empty: allow`" in problem.message
    assert job.rows(f"{{{inputs}, empty: allow}}", sink=[].append) == []
    job.write("masks/cat.png", plain_picture())
    assert len(job.rows(f"{{{inputs}}}", sink=[].append)) == 1


def test_an_inbox_that_may_be_empty_is_so_whatever_else_is_left_out(job: Job) -> None:
    job.write("t.csv", "name,n\nbad\ncat,1\n")
    (job.folder / "inbox").mkdir()
    for inputs in (
        "{images: inbox, empty: allow}, {table: t.csv}",
        "{table: t.csv}, {images: inbox, empty: allow}",
    ):
        assert job.rows(f"[{inputs}]", sink=[].append) == []


def test_a_header_is_no_row(job: Job) -> None:
    job.write("t.csv", "a,a\n1,2\n")
    (problem,) = job.problems("{table: t.csv}", sink=[].append)
    assert "two columns are named `a`" in problem.message


def test_a_wrong_row_changes_no_fingerprint_where_it_is_left_out(job: Job) -> None:
    job.write("t.csv", "name\ncat\nbad,1\nx.png\n")
    inputs = "{table: t.csv}"
    assert job.fingerprint(inputs) != job.fingerprint(inputs)
    assert job.fingerprint(inputs, strict=False) == job.fingerprint(inputs, strict=False)
    assert job.fingerprint("{rows: [{a: 1}]}") != job.fingerprint("{rows: [{a: 1}]}", strict=False)
