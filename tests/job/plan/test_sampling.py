"""--sample N: a few tasks that stand for a plan."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batcher.job.plan import sampling

Columns = dict[str, Any]


def product(**axes: list[Any]) -> list[Columns]:
    """Every combination, in an order that a hash would give."""
    tasks = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return sorted(tasks, key=lambda columns: hash_of(str(columns)))


def hash_of(text: str) -> int:
    return sum(ord(one) * 31**place for place, one in enumerate(text)) % 100_003


def counted(tasks: list[Columns], places: list[int], *names: str) -> Counter[Any]:
    return Counter(tuple(tasks[place][name] for name in names) for place in places)


PHOTOS = [{"image": f"/p/{n}.jpg", "stem": str(n), "suffix": ".jpg"} for n in range(40)]


def test_pictures_and_both_axes_are_spread_and_so_are_their_pairs() -> None:
    tasks = [
        photo | cell
        for cell in product(season=["winter", "summer"], place=["rome", "oslo", "cairo"])
        for photo in PHOTOS
    ]
    places = sampling.sample(tasks, 12, ("season", "place"))
    assert len(places) == 12
    assert set(counted(tasks, places, "image").values()) == {1}
    assert set(counted(tasks, places, "season").values()) == {6}
    assert set(counted(tasks, places, "place").values()) == {4}
    assert set(counted(tasks, places, "season", "place").values()) == {2}


def test_a_class_of_few_pictures_is_seen_as_often_as_one_of_many() -> None:
    labels = ["cat"] * 100 + ["dog"] * 5 + ["bird"] * 5
    tasks = [{"image": f"/p/{n}.jpg", "label": label} for n, label in enumerate(labels)]
    assert set(counted(tasks, sampling.sample(tasks, 9), "label").values()) == {3}


def test_the_seed_of_each_task_says_nothing_of_it() -> None:
    tasks = product(season=["winter", "summer"], photo=list(range(6)))
    seeded = [columns | {"seed": hash_of(str(columns))} for columns in tasks]
    assert sampling.sample(seeded, 5, ("season",)) == sampling.sample(tasks, 5, ("season",))


def test_a_column_may_hold_a_list_or_nothing() -> None:
    tasks: list[Columns] = [{"boxes": [[1, 2, 3, 4]], "label": None}, {"label": "cat"}, {}]
    assert sampling.sample(tasks, 3) == [0, 1, 2]


SIZES = st.integers(1, 5)


@given(SIZES, SIZES, st.integers(1, 12), st.integers(0, 200))
def test_each_axis_is_as_even_as_its_number_allows(a: int, b: int, rows: int, most: int) -> None:
    """As long as there is a row that was not seen yet, every combination is free."""
    tasks = product(a=list(range(a)), b=list(range(b)), row=list(range(rows)))
    places = sampling.sample(tasks, min(most, rows), ("a", "b"))
    for name, size in {"a": a, "b": b, "row": rows}.items():
        seen = counted(tasks, places, name)
        numbers = [seen[(value,)] for value in range(size)]
        assert max(numbers) - min(numbers) <= 1, name


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | st.none(), max_size=3)),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_a_sample_has_no_task_twice_and_a_larger_one_has_the_smaller_in_it(
    tasks: list[Columns], one: int, other: int
) -> None:
    small, large = (sampling.sample(tasks, most, ("a", "b")) for most in sorted((one, other)))
    assert small == sorted(set(small))
    assert len(small) == min(one, other, len(tasks))
    assert set(small) <= set(large)
    assert small == sampling.sample(list(tasks), min(one, other), ("a", "b"))


def test_of_a_plan_beyond_the_pool_only_the_beginning_is_weighed() -> None:
    tasks = [{"place": n % 7} for n in range(sampling.POOL * 4)]
    places = sampling.sample(tasks, 21)
    assert max(places) < sampling.POOL + 21
    assert set(counted(tasks, places, "place").values()) == {3}
