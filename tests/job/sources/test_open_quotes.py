"""A quote that is never closed swallows no row: what is lost is told by its line, the rest is read."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batcher.errors import Problem
from tests.support.job import Job

PLAIN = [f"{number},cat number {number},x" for number in range(1, 11)]


def read(job: Job, lines: list[str]) -> tuple[list[str], list[Problem], list[str]]:
    """The ids of the rows that are read, what is left out, and what is warned of."""
    job.write("t.csv", "\n".join(["id,prompt,style", *lines, ""]))
    left_out: list[Problem] = []
    warned: list[str] = []
    rows = job.columns("{table: t.csv, empty: allow}", "id", sink=left_out.append, warn=warned.append)
    return rows, left_out, warned


@pytest.mark.parametrize(
    "cell", ['"a red cat”', '"a red cat“', '"a red cat', '"a "red" cat', '"a red cat" ', '"a “red cat']
)
@pytest.mark.parametrize("at", [1, 2, 6, 9, 10])
def test_a_quote_that_is_not_closed_costs_its_own_row_alone(job: Job, cell: str, at: int) -> None:
    lines = [*PLAIN[: at - 1], f"{at},{cell},x", *PLAIN[at:]]
    ids, left_out, _ = read(job, lines)
    assert ids == [str(number) for number in range(1, 11) if number != at]
    assert [(problem.file, problem.line) for problem in left_out] == [("t.csv", at + 1)]
    assert f"row {at} " in left_out[0].message


@pytest.mark.parametrize(
    ("second", "seventh"),
    [
        ('2,"a red cat”,x', '7,tv 55",x'),
        ('2,"a red cat,x', '7,tv 55",x'),
        ('2,"a red cat”,x', '7,"a dog”,x'),
        ('2,"a red cat,x', '7,"a dog",x'),
        ('"2,a red cat,x', '7,a dog,x"'),
    ],
)
def test_rows_between_two_stray_quotes_are_no_prompt(job: Job, second: str, seventh: str) -> None:
    lines = [*PLAIN[:1], second, *PLAIN[2:6], seventh, *PLAIN[7:]]
    ids, left_out, _ = read(job, lines)
    assert ids[:5] == ["1", "3", "4", "5", "6"]
    assert ids[-3:] == ["8", "9", "10"]
    # Counts add up: each of the ten lines is a row, or is told.
    assert len(ids) + len(left_out) == 10
    assert left_out[0].line == 3
    assert "are read as rows of their own" in left_out[0].message


def test_a_text_of_several_lines_is_one_cell(job: Job) -> None:
    cells = ["a cat, red\nin the snow", 'two\n\nlines and a "quote"', "He said “go”\nand went", "a\nb\nc, d"]
    buffer = io.StringIO()
    csv.writer(buffer).writerows(
        [["id", "prompt", "style"], *([at, cell, "x"] for at, cell in enumerate(cells))]
    )
    job.write("t.csv", buffer.getvalue())
    assert job.columns("{table: t.csv}", "prompt") == [cell.replace("\n", "\n") for cell in cells]
    (row,) = job.rows("{table: t.csv, limit: 1}")
    assert row.line == 2


def test_a_cell_of_many_lines_is_told_where_it_began(job: Job) -> None:
    poem = "\n".join(f"verse {number}" for number in range(30))
    ids, left_out, warned = read(job, [PLAIN[0], f'2,"{poem}",x', *PLAIN[2:]])
    assert (len(ids), left_out) == (10, [])
    assert warned == [
        "t.csv: 1 row runs over more than 5 lines (first: row 2, from line 3 to 32); where that is not "
        "meant, a quote is not closed"
    ]


def test_a_quote_that_opens_a_long_file_is_found_early(job: Job) -> None:
    lines = ['1,"a cat,x', *(f"{number},plain,x" for number in range(2, 2001))]
    ids, left_out, _ = read(job, lines)
    assert ids == [str(number) for number in range(2, 2001)]
    assert [problem.line for problem in left_out] == [2]
    assert "not closed within 200 lines" in left_out[0].message


def test_a_file_that_is_all_open_quotes_is_given_up(job: Job) -> None:
    job.write("t.csv", "id,prompt\n" + ('1,"cat\n' + "2,plain\n" * 300) * 30)
    found = job.problems("{table: t.csv}", sink=[].append)
    assert any("has 20 quotes that are never closed: is it CSV?" in problem.message for problem in found)


def test_a_row_without_any_value_is_no_row(job: Job) -> None:
    ids, left_out, _ = read(job, [PLAIN[0], ",,", " , ,", '"","",', ",,,,,", PLAIN[1]])
    assert (ids, left_out) == (["1", "2"], [])


def test_a_cell_may_be_larger_than_pythons_limit(job: Job) -> None:
    job.write("t.csv", f"id,prompt\n1,{'x' * 200_000}\n")
    assert [len(one) for one in job.columns("{table: t.csv}", "prompt")] == [200_000]


cells = st.text(st.sampled_from('ab,;\n\r "”“'), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_what_a_csv_writer_writes_is_read_or_told(
    job: Job, rows: list[tuple[str, str]], separator: str
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator).writerows([("first", "second"), *rows])
    job.write("t.csv", buffer.getvalue())
    left_out: list[Problem] = []
    found = job.columns("{table: t.csv, empty: allow}", sink=left_out.append)
    kept = [row for row in rows if any(cell.strip() for cell in row)]
    if not left_out:
        assert [(one["first"], one["second"]) for one in found] == kept
    else:
        assert "and closes it with" in left_out[0].message
