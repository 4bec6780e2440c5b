"""Bodies that the history tells in its own spelling are the bodies that were sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.wire import parsed_body, same_value

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_a_body_told_as_mapping_json_or_repr_is_the_body(body: dict[str, Any]) -> None:
    for told in (body, json.dumps(body), json.dumps(body, ensure_ascii=False, indent=1), repr(body)):
        read = parsed_body(told)
        assert read is not None
        assert same_value(read, body)


def test_numbers_are_compared_by_value_and_booleans_are_no_numbers() -> None:
    assert same_value({"steps": 20, "strength": 0.1 + 0.2}, {"strength": 0.3, "steps": 20.0})
    assert not same_value({"base64": True}, {"base64": 1})
    assert not same_value({"prompt": "1"}, {"prompt": 1})
    assert not same_value({"a": 1}, {"a": 1, "b": None})


@pytest.mark.parametrize(
    "told", [None, 5, "", "{", "[1]", "dict(a=1)", "{'a': open('x')}", "{" * 100_000, ["a"]]
)
def test_what_cannot_be_read_is_none(told: object) -> None:
    assert parsed_body(told) is None
