"""Splits: by source, stable, and summing to one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.errors import UsageError
from batcher.results.export import Splits


def test_one_split_takes_all_when_none_is_asked_for() -> None:
    assert Splits().of("anything") == "train"


@given(st.text(max_size=80))
def test_a_group_belongs_to_one_split_and_always_the_same(group: str) -> None:
    splits = Splits.parse("train=0.8, val=0.1, test=0.1")
    assert splits.of(group) == splits.of(group)
    assert splits.of(group) in splits.names


def test_the_shares_are_kept_and_a_larger_first_share_moves_no_other_way() -> None:
    groups = [f"{number:064x}" for number in range(10_000)]
    fewer, more = Splits.parse("train=0.8,test=0.2"), Splits.parse("train=0.9,test=0.1")
    counts = Counter(map(fewer.of, groups))
    assert counts["train"] == pytest.approx(8000, abs=150)
    assert all(more.of(group) == "train" for group in groups if fewer.of(group) == "train")


def test_where_a_group_goes_is_written_in_stone() -> None:
    splits = Splits.parse("train=0.5,test=0.5")
    assert [splits.of(name) for name in "abcdefgh"] == [
        "test",
        "test",
        "test",
        "train",
        "test",
        "test",
        "test",
        "train",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("train=0.8", "the shares sum to 0.8, not to 1; name the rest as well"),
        ("train=0.8,test=0.3", "the shares sum to 1.1"),
        ("train", "'train' is not NAME=SHARE, as in train=0.8,test=0.2"),
        ("train=0.5,Train=0.5", "Train is named twice"),
        ("train=1,test=0", "'0' is not a share above 0, up to 1"),
        ("train=80,test=20", "'80' is not a share"),
        ("train=nan", "'nan' is not a share"),
        ("../x=1", "'../x=1' is not NAME=SHARE"),
        ("", "'' is not NAME=SHARE"),
    ],
)
def test_wrong_splits_are_told(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as told:
        Splits.parse(text)
    assert sentence in str(told.value)


def test_thirds_are_one() -> None:
    assert Splits.parse("a=0.333,b=0.333,c=0.333").names == ("a", "b", "c")
