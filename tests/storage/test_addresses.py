"""Names in the order in which people count."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from batcher.storage.addresses import natural_key


def test_names_are_in_the_order_in_which_people_count() -> None:
    names = ["1.png", "2.png", "10.png", "a", "a01", "a1", "a2", "a2b", "a10", "b", "é"]
    assert sorted(set(names), key=natural_key) == names


@given(st.lists(st.text("ab.-019٣é", max_size=8), min_size=2, max_size=20))
def test_the_order_is_that_of_the_parts_of_a_name(names: list[str]) -> None:
    def parts(name: str) -> list[tuple[int, int, str]]:
        found = (part for part in re.split("([0-9]+)", name) if part)
        return [(0, int(part), part) if re.match("[0-9]", part) else (1, 0, part) for part in found]

    assert sorted(names, key=natural_key) == sorted(names, key=parts)
    assert len({natural_key(name) for name in names}) == len(set(names))
