"""The request history's answers: a row is believed whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api import wire
from batcher.api.wire import Unreadable

ADDRESS = "https://api.spotprod.segmind.com/inference-request/request-history/r-1"
ROW: dict[str, Any] = {
    "request_id": "r-1",
    "model_name": "seg-beyond",
    "model_status": "COMPLETED",
    "credits_deduction": 0.0364,
    "request_body": "{'prompt': 'fox', 'seed': None}",
    "generation_url": "https://images.segmind.com/a.png",
    "model_created": "2026-01-05T12:00:00.000Z",
}


def row_of(answer: Any) -> wire.HistoryRow:
    return wire.history_row(json.dumps(answer).encode(), "r-1", ADDRESS)


@pytest.mark.parametrize(
    "answer", [ROW, {"data": ROW}, {"data": [ROW]}, [ROW], {"data": [{"request_id": "x"}, ROW]}]
)
def test_a_request_is_found_in_every_envelope(answer: Any) -> None:
    row = row_of(answer)
    assert (row.request_id, row.status, row.cost) == ("r-1", "COMPLETED", 0.0364)
    assert (row.body, row.created_at) == ({"prompt": "fox", "seed": None}, 1_767_614_400.0)


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("/files/a.png", "https://api.spotprod.segmind.com/files/a.png"),
        ("//images.segmind.com/a.png", "https://images.segmind.com/a.png"),
        (None, None),
        ("", None),
    ],
)
def test_relative_urls_are_taken_from_the_address_of_the_answer(url: Any, taken: str | None) -> None:
    assert row_of(ROW | {"generation_url": url}).url == taken


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "r-2"},
        {"request_id": 1},
        {"model_status": None},
        {"model_status": 7},
        {"credits_deduction": -0.01},
        {"credits_deduction": "NaN"},
        {"credits_deduction": float("inf")},
        {"credits_deduction": {}},
        {"credits_deduction": 10_001},
        {"generation_url": 7},
        {"generation_url": "file:///etc/passwd"},
        {"generation_url": "data:image/png;base64,AAAA"},
        {"generation_url": "https://images.segmind.com:port/a.png"},
    ],
)
def test_what_cannot_be_true_is_no_row_and_does_not_spoil_the_others(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        row_of(ROW | change)
    if change != {"request_id": "r-2"}:
        page = wire.history_page(json.dumps({"data": [ROW | change, ROW]}).encode(), ADDRESS)
        assert ([row.request_id for row in page.rows], bool(page.nonsense)) == (["r-1"], True)


def test_what_is_not_told_is_not_known_and_not_zero() -> None:
    row = row_of({"request_id": "r-1", "model_status": "pending"})
    assert (row.status, row.cost, row.body, row.url, row.created_at) == ("PENDING", None, None, None, None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*ROW, "data"]) | st.text(), inner),
        max_leaves=12,
    )
)
def test_nonsense_of_any_kind_is_unreadable_and_nothing_else(answer: Any) -> None:
    body = json.dumps(answer).encode()
    for read in (lambda: wire.history_page(body, ADDRESS), lambda: wire.history_row(body, "r-1", ADDRESS)):
        try:
            read()
        except Unreadable:
            continue
