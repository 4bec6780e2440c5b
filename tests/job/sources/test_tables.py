"""Parquet, lists of lines, standard input; and where in a table a problem stands."""

from __future__ import annotations

import datetime
import io
import sys
from decimal import Decimal
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from batcher.errors import Problem
from batcher.job.row import Row
from batcher.job.sources import streams
from batcher.job.sources.cell_locator import CellLocator
from tests.support.job import Job


def parquet(job: Job, columns: dict[str, Any], name: str = "t.parquet") -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), job.write(name, b""))


def test_parquet_cells_become_what_json_has_for_them(job: Job) -> None:
    parquet(
        job,
        {
            "text": ["red"],
            "whole": [5],
            "number": [0.5],
            "nothing": pyarrow.array([None], pyarrow.string()),
            "nan": [float("nan")],
            "truth": [True],
            "day": [datetime.date(2026, 1, 5)],
            "moment": [datetime.datetime(2026, 1, 5, 12)],
            "price": [Decimal("1.50")],
            "boxes": [[[0.0, 1.0, 2.0, 3.0]]],
            "deep": [{"a": 1}],
        },
    )
    (row,) = job.rows("{table: t.parquet}")
    assert row.columns == {
        "text": "red",
        "whole": 5,
        "number": 0.5,
        "nothing": None,
        "nan": None,
        "truth": True,
        "day": "2026-01-05",
        "moment": "2026-01-05T12:00:00",
        "price": 1.5,
        "boxes": [[0.0, 1.0, 2.0, 3.0]],
        "deep": {"a": 1},
    }
    assert (row.file, row.number, row.text, row.folder) == ("t.parquet", 1, frozenset(), str(job.folder))


def test_a_column_of_bytes_is_left_out_and_told(job: Job) -> None:
    parquet(job, {"n": [1, 2], "image": [{"bytes": b"x", "path": "a.png"}] * 2})
    notes: list[str] = []
    assert job.columns("{table: t.parquet}", warn=notes.append) == [{"n": 1}, {"n": 2}]
    assert notes == [
        "t.parquet: the column `image` holds bytes, not text; it is left out; "
        "`dataset: t.parquet` reads them as pictures"
    ]


def test_parquet_is_read_a_batch_at_a_time(job: Job) -> None:
    parquet(job, {"n": list(range(2500))})
    assert job.columns("{table: t.parquet}", "n") == list(range(2500))


def test_a_list_of_lines_is_a_table_with_the_column_text(job: Job) -> None:
    job.write("prompts.txt", "\ufeffa red car\n\n  a blue car  \r\n")
    found = job.rows("{table: prompts.txt}")
    assert [(row.columns, row.line, row.number) for row in found] == [
        ({"text": "a red car"}, 1, 1),
        ({"text": "a blue car"}, 3, 2),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\n\nfile,prompt\na.png,red\n",
        ",,,\n ,\nfile,prompt\na.png,red\n",
        "sep=;\nfile;prompt\na.png;red\n",
        "sep=\t\r\nfile\tprompt\r\na.png\tred\r\n",
        '"sep=|"\nfile|prompt\na.png|red\n',
    ],
)
def test_lines_in_which_nothing_stands_and_excels_separator_are_no_header(job: Job, text: str) -> None:
    job.write("t.csv", text)
    (row,) = job.rows("{table: t.csv}")
    assert row.columns == {"file": "a.png", "prompt": "red"}
    assert row.line == len(text.splitlines())


def test_a_column_without_a_name_is_told_with_the_ways_on(job: Job) -> None:
    job.write("t.csv", "\n,file,prompt\n0,a.png,red\n")
    (problem,) = job.problems("{table: t.csv}")
    assert problem.line == 2
    assert "column 1 has no name; name it, or leave it out (pandas: `to_csv(index=False)`)" in problem.message


def test_json_lines_that_call_themselves_json_are_read(job: Job) -> None:
    """As `datasets` and pandas write them."""
    job.write("t.json", '\n{"p": "red", "n": 1}\n{"p": "a\u2028b"}\n\nno json\n')
    wrong: list[Problem] = []
    found = job.rows("{table: t.json}", sink=wrong.append)
    assert [(row.columns["p"], row.line) for row in found] == [("red", 2), ("a\u2028b", 3)]
    assert [one.line for one in wrong] == [5]


def test_a_list_that_calls_itself_json_lines_is_one_sentence(job: Job) -> None:
    job.write("t.jsonl", '[{"p": "red"},\n{"p": "blue"},\n{"p": "green"}]\n')
    (problem,) = job.problems("{table: t.jsonl}")
    assert "is one list of rows, as .json has them, and not a row a line" in problem.message


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_a_key_that_stands_twice_is_told(job: Job, name: str) -> None:
    row = '{"p": "red", "p": "blue"}'
    job.write(name, row if name.endswith("l") else f"[{row}]")
    (problem,) = job.problems(f"{{table: {name}}}")
    assert "it has the key 'p' twice" in problem.message


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What is piped into the program."""
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    streams._standard_input.cache_clear()
    return stream


def test_a_dash_reads_json_lines_from_standard_input_as_often_as_needed(
    job: Job, standard_input: io.BytesIO
) -> None:
    standard_input.write(b'{"p": "red"}\n{"p": "blue"}\n')
    standard_input.seek(0)
    job.write("red.png", b"x")
    first = job.fingerprint("{table: '-'}")
    assert job.columns("{table: '-'}", "p") == job.columns("{table: '-'}", "p") == ["red", "blue"]
    assert job.fingerprint("{table: '-'}") == first
    (row, _) = job.rows("{table: '-'}")
    assert (row.origin, row.folder) == ("standard input row 1", str(job.folder))


def test_what_is_wrong_with_standard_input_is_told_with_its_line(
    job: Job, standard_input: io.BytesIO
) -> None:
    standard_input.write(b'{"p": 1}\n{"p": }\n')
    standard_input.seek(0)
    (problem,) = job.problems("{table: '-'}")
    assert (problem.file, problem.line, problem.column) == ("standard input", 2, 7)
    assert problem.excerpt == '{"p": }'


def test_nobody_types_rows_at_a_terminal(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    streams._standard_input.cache_clear()
    (problem,) = job.problems("{table: '-'}")
    assert "standard input is a terminal; pipe JSON Lines into it" in problem.message


@pytest.mark.parametrize(
    ("name", "content", "line", "column"),
    [
        ("t.csv", "a,b\nred,1\n", 2, 5),
        ("t.csv", 'a,b\n"red, blue",1\n', 2, 13),
        ("t.csv", "a;b\nred;1\n", 2, 5),
        ("t.tsv", "a\tb\nred\t1\n", 2, 5),
        ("t.csv", "a,b\n" + "x" * 300 + ",1\n", 0, 0),
        ("t.jsonl", '{"a": "red", "b": 1}\n', 1, 14),
        ("t.json", '[{"a": "red", "b": 1}]\n', 0, 0),
    ],
)
def test_a_cell_is_pointed_at(job: Job, name: str, content: str, line: int, column: int) -> None:
    job.write(name, content)
    (row,) = job.rows(f"{{table: {name}}}")
    found, excerpt = CellLocator(str(job.folder))(row, "b")
    assert found == column
    assert excerpt == (content.splitlines()[line - 1].replace("\t", " ") if line else "")


def test_a_row_of_the_manifest_is_pointed_at_too(job: Job) -> None:
    text = "model: x\ninputs:\n  rows:\n    - {a: red, b: 1}\n"
    job.write("job.yaml", text)
    row = Row({"a": "red", "b": 1}, str(job.folder / "job.yaml"), 4, 1)
    point = CellLocator(str(job.folder))
    assert point(row, "b") == (16, "    - {a: red, b: 1}")
    assert point(row._replace(line=0), "b") == (0, "")
