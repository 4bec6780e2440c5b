"""Rows and mappings as Python gives them: what they are as plain data."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batcher.errors import ManifestError
from batcher.job.manifest import plain_rows
from batcher.job.manifest.given_data import plain


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        (float("nan"), None),
        (np.float64("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (Path("a/b.png"), "a/b.png"),
        ((1, "x"), [1, "x"]),
        ({"a": np.int8(1)}, {"a": 1}),
    ],
)
def test_a_cell_is_the_plain_value_that_it_means(value: Any, meant: Any) -> None:
    (row,) = plain_rows([{"x": value}], "f").rows
    assert row == {"x": meant}
    assert type(row["x"]) is type(meant)


def test_a_frame_is_its_rows_whatever_its_index() -> None:
    frame = pd.DataFrame({"n": [1, None], "s": ["a", None]}, index=["x", "y"])
    assert list(plain_rows(frame, "f").rows) == [{"n": 1.0, "s": "a"}, {"n": None, "s": None}]


def test_pictures_stay_what_they_are_until_the_run() -> None:
    image = Image.new("RGB", (4, 4))
    rows = plain_rows(iter([{"a": image, "b": 1}]), "f")
    assert rows.has_pictures
    assert rows.rows[0]["a"] is image
    assert rows.without_pictures() == [{"a": "(a picture)", "b": 1}]


@pytest.mark.parametrize("value", [b"x", {1}, object(), float("inf"), "\ud800", Image.new("L", (1, 1))])
def test_what_no_request_can_hold_is_a_problem_of_its_key(value: Any) -> None:
    document = plain({"params": {"x": [value]}}, "f")
    assert [problem.key for problem in document.problems] == ["params.x.0"]
    assert document.data == {"params": {"x": [None]}}


def test_no_more_problems_are_told_than_a_person_reads() -> None:
    with pytest.raises(ManifestError) as error:
        plain_rows([{"x": {1}}] * 1000, "f")
    assert len(error.value.problems) == 20


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json, max_size=4))
def test_plain_data_stays_as_it_is(mapping: dict[str, Any]) -> None:
    document = plain(mapping, "f")
    assert (document.data, document.problems) == (mapping, ())
