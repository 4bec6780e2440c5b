"""A task's share hangs on its key alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.shard import Shard, names_share


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(1, 1000))
def test_every_key_is_in_one_share_of_however_many(key: str, of: int) -> None:
    assert sum(Shard(index, of).holds(key) for index in range(1, of + 1)) == 1


def test_shares_are_about_equal() -> None:
    keys = [f"{number * 0x9E3779B97F4A7C15 & (1 << 64) - 1:032x}" for number in range(8000)]
    for index in range(1, 9):
        assert 900 < sum(map(Shard(index, 8).holds, keys)) < 1100


@pytest.mark.parametrize("text", ["1/1", "2/8", " 3 / 3 ", "100000/100000"])
def test_a_share_is_read_from_its_text_and_told_as_such(text: str) -> None:
    shard = Shard.parse(text)
    assert Shard.parse(str(shard)) == shard
    assert names_share(shard.folder)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0/3", "numbered from 1 to 3"), ("4/3", "numbered from 1 to 3"), ("1/0", "1 to 100,000 shares"),
        ("1/100001", "1 to 100,000"), ("1", "is not a share"), ("", "is not a share"), ("a/b", "is not"),
        ("-1/3", "is not"), ("1/3/5", "is not"), ("1.0/3", "is not"), ("٣/٤", "is not"),
        ("1/9999999999", "is not"),
    ],
)  # fmt: skip
def test_what_is_no_share_is_told_in_a_sentence(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Shard.parse(text)


@pytest.mark.parametrize("name", ["shard-1-of", "shard-a-of-3", "xshard-1-of-3", "shard-1-of-3-sandbox"])
def test_other_folders_are_no_shares(name: str) -> None:
    assert not names_share(name)
