"""How many jobs in flight use the rate up, and who may hold a slot."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from batcher.engine.admission import in_flight_need
from batcher.engine.admission.in_flight_need import ahead_of_turn, most_of, needed

IDLE = {"age": 0.0, "finished": 0.0, "service": 0.0}


def test_a_rate_is_used_up_by_rate_times_time_with_margin() -> None:
    assert needed(500, "submits", seconds=16, **IDLE) == math.ceil(1.25 * 500 / 60 * 16) + 8
    assert needed(60, "submits", seconds=3, **IDLE) == 12


def test_jobs_that_take_longer_than_any_before_are_reckoned_with_while_they_wait() -> None:
    quick = needed(500, "submits", seconds=2, age=2, finished=8, service=2)
    slow = needed(500, "submits", seconds=2, age=40, finished=8, service=2)
    assert slow > 14 * quick


def test_where_every_call_counts_a_third_of_them_are_submits_and_many_wait_side_by_side() -> None:
    assert needed(60, "all", seconds=15, **IDLE) == 64
    assert needed(3000, "all", seconds=15, **IDLE) == math.ceil(1.25 * 1000 / 60 * 15) + 8


def test_without_a_rate_what_really_ends_tells_how_many_are_of_use() -> None:
    assert needed(None, "submits", seconds=99, **IDLE) == 64
    assert needed(None, "submits", seconds=99, age=0, finished=20, service=5) == 64 + 125
    saturated = needed(None, "submits", seconds=99, age=0, finished=4, service=1)
    assert saturated == 69, "waiting in the provider's queue makes nobody send more"


@given(
    st.none() | st.floats(0.01, 1e6),
    st.sampled_from(["submits", "all"]),
    st.floats(0, 1e5),
    st.floats(0, 1e5),
    st.floats(1, 10),
)
def test_more_time_and_a_higher_rate_never_need_fewer(
    rate: float | None, metered: in_flight_need.Metered, seconds: float, age: float, more: float
) -> None:
    before = needed(rate, metered, seconds=seconds, age=age, finished=1, service=1)
    assert before >= 1
    faster = None if rate is None else rate * more
    assert needed(faster, metered, seconds=seconds * more, age=age, finished=1, service=1) >= before


def test_a_number_of_the_manifest_stands_and_memory_bounds_the_rest() -> None:
    assert (most_of(5000, "v2"), most_of(None, "v2"), most_of(None, "v1")) == (5000, 2000, 256)


def test_uploads_run_ahead_as_far_as_the_rate_needs() -> None:
    assert ahead_of_turn(600, 0.0) == 0, "nothing is uploaded"
    assert ahead_of_turn(600, 0.1) == 10
    assert ahead_of_turn(600, 6.0) == 83
    assert ahead_of_turn(None, 1.0) == ahead_of_turn(6000, 600.0) == 256
