"""How many may be in flight, so that each result can be fetched before its record ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batcher.engine.admission import InFlightLimit


def test_before_anything_is_proven_few_are_in_flight() -> None:
    assert InFlightLimit(3600, 64).size == 64
    assert InFlightLimit(3600, 1000).size == 180
    assert InFlightLimit(60, 1000).size == 4
    assert InFlightLimit(1, 1000).size == 4
    assert InFlightLimit(1, 2).size == 2
    assert InFlightLimit(3600, 1000).is_limiting
    assert not InFlightLimit(3600, 64).is_limiting


def test_each_completion_admits_one_more_and_three_where_nothing_waits() -> None:
    quick, queued = InFlightLimit(3600, 1000), InFlightLimit(3600, 1000)
    for n in range(100):
        quick.completed(float(n), 0.0, 5.0)
        queued.completed(float(n), 1.0, 5.0)
    assert quick.size == 480
    assert queued.size == 280


def test_where_the_queue_is_slow_no_more_is_in_flight_than_it_finishes_in_half_a_life() -> None:
    limit = InFlightLimit(3600, 1000)
    for n in range(200):
        limit.completed(n * 30.0, 600.0, 630.0)
    assert limit.size == 60
    assert limit.is_limiting


def test_slow_service_alone_does_not_throttle_itself() -> None:
    limit = InFlightLimit(3600, 1000)
    for n in range(200):
        limit.completed(n * 300.0, 100.0, 900.0)
    assert limit.size == 380


def test_where_no_queue_time_is_told_only_what_takes_a_quarter_of_the_life_is_taken_for_queueing() -> None:
    quick, slow = InFlightLimit(3600, 1000), InFlightLimit(3600, 1000)
    for n in range(50):
        quick.completed(n * 30.0, None, 800.0)
        slow.completed(n * 30.0, None, 1500.0)
    assert quick.size == 230
    assert slow.size == 60


def test_a_queue_that_gets_quick_again_is_followed() -> None:
    limit = InFlightLimit(3600, 1000)
    for n in range(40):
        limit.completed(n * 30.0, 600.0, 630.0)
    narrow = limit.size
    for n in range(40):
        limit.completed(1200 + n * 1.0, 1.0, 30.0)
    assert limit.size > narrow * 3


def test_where_calls_are_scarce_what_is_in_flight_must_be_fetched_before_another_submit() -> None:
    limit = InFlightLimit(600, 64)
    assert limit.fits_before_expiry([], 0, rate=0.001, now=0), "alone there is always time"
    assert limit.fits_before_expiry([0.0] * 9, 0, rate=0.1, now=0), (
        "ten tasks, 30 calls, 300 s: half the life"
    )
    assert not limit.fits_before_expiry([0.0] * 10, 0, rate=0.1, now=0)
    assert not limit.fits_before_expiry([0.0] * 5, 5, rate=0.1, now=0), (
        "submits whose answers are awaited count"
    )
    assert limit.fits_before_expiry([0.0] * 90, 9, rate=1.0, now=0)


def test_an_old_task_holds_submits_only_while_its_own_calls_are_at_stake() -> None:
    limit = InFlightLimit(600, 64)
    assert limit.fits_before_expiry([0.0], 0, rate=1.0, now=590)
    assert not limit.fits_before_expiry([0.0], 0, rate=1.0, now=595)
    assert not limit.fits_before_expiry([0.0] * 10, 0, rate=1.0, now=541)
    assert limit.fits_before_expiry([0.0] * 10, 0, rate=1.0, now=539)


@given(
    st.lists(st.floats(0, 600), max_size=50).map(sorted),
    st.integers(0, 5),
    st.floats(0.01, 100),
    st.floats(1.0, 10.0),
)
def test_a_higher_rate_and_fewer_in_flight_never_hold_what_may_go(
    submitted_at: list[float], leaving: int, rate: float, faster: float
) -> None:
    limit = InFlightLimit(3600, 64)
    if limit.fits_before_expiry(submitted_at, leaving, rate=rate, now=600):
        assert limit.fits_before_expiry(submitted_at, leaving, rate=rate * faster, now=600)
        assert limit.fits_before_expiry(submitted_at[1:], leaving, rate=rate, now=600)


completions = st.lists(
    st.tuples(st.floats(0, 1e10), st.none() | st.floats(0, 1e12), st.floats(0, 1e12)), max_size=80
)


@given(st.floats(0.1, 1e7), st.integers(1, 10_000), completions)
def test_whatever_is_told_somebody_may_be_in_flight_and_never_more_than_the_manifest_says(
    life: float, most: int, seen: list[tuple[float, float | None, float]]
) -> None:
    limit = InFlightLimit(life, most)
    for finished_at, queue_time, total_time in seen:
        limit.completed(finished_at, queue_time, total_time)
        assert 1 <= limit.size <= most
        assert limit.is_limiting is (limit.size < most)
