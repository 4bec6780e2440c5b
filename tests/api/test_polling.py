"""When to ask next: the best schedule, what is learned, and what always holds. Whole runs: test_poller."""

from __future__ import annotations

import itertools
import json
import math
import random
from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.api.polling import DEFAULT_TYPICAL, IGNORANT_SIGMA, PollTiming, price_of_call
from batcher.api.polling.schedule import best_schedule, grid_of, price_for
from batcher.api.polling.times import Component, ServiceTimes, fit, guess


def test_the_schedule_is_close_to_the_optimum_when_the_distribution_is_known() -> None:
    certain = ServiceTimes((Component(1.0, math.log(5), 0.3),))
    grid = grid_of(certain, 0.5, surprises=False)
    schedule = best_schedule(grid, price_for(grid, 0.5, 0.5))
    ages = [0.0]
    while ages[-1] < grid.ages[-2]:
        ages.append(schedule.after(ages[-1], 0))
    draw, sample = random.Random(0), 4000
    delay = (
        sum(ages[bisect_right(ages, t := 5 * math.exp(draw.gauss(0, 0.3)))] - t for _ in range(sample))
        / sample
    )
    assert delay == pytest.approx(0.5, rel=0.05)
    assert schedule.polls * delay == pytest.approx(2.75 * 0.5, rel=0.05)


def test_no_other_schedule_on_the_grid_costs_less() -> None:
    grid = grid_of(fit([1.0, 1.2, 9.0, 11.0, 1.1, 10.0]), 1.0, surprises=True)
    price, last = 0.7, len(grid.ages) - 1
    schedule = best_schedule(grid, price)
    rest = [0.0] * last + [(1 - grid.done[last]) * (2 * price + 0.1 * grid.ages[last])]
    for i in range(last - 1, -1, -1):
        costs = [
            price * (1 - grid.done[i])
            + grid.area[j] - grid.area[i] - grid.done[i] * (grid.ages[j] - grid.ages[i])
            + rest[j]
            for j in range(i + 1, last + 1)
        ]  # fmt: skip
        rest[i] = min(costs)
        chosen = grid.ages.index(schedule.following[i])
        assert costs[chosen - i - 1] == pytest.approx(rest[i], abs=1e-9)


def test_a_job_that_never_ends_is_asked_ever_more_rarely_but_always_again() -> None:
    polling, ages, polls = after([4.0, 5.0, 6.0] * 10, delay=0.5), [0.0], 0
    while ages[-1] < 3600:
        ages.append(polling.next_poll(ages[-1], polls, 0.0))
        polls += 1
    assert polls <= 70
    for before, now in itertools.pairwise(ages):
        assert now - before <= max(60.0, 0.1 * before) + 1e-9
    late = [now - before for before, now in itertools.pairwise(ages) if before > 20]
    assert late == sorted(late)


def test_until_something_is_known_only_the_scouts_ask() -> None:
    polling = PollTiming(typical=5)
    assert [polling.may_ask(rank, 10.0) for rank in range(8)] == [True] * 6 + [False] * 2
    assert polling.may_ask(100, 3600.0)
    polling.learned(5.0)
    assert polling.known
    assert polling.may_ask(100, 0.0)


def test_a_scout_starts_early_and_lets_its_intervals_grow() -> None:
    polling, ages = PollTiming(), [0.0]
    while ages[-1] < 60:
        ages.append(polling.next_poll(ages[-1], len(ages) - 1, 0.0))
    assert ages[1] <= 3
    assert len(ages) <= 30


def test_a_fixed_interval_is_kept_whatever_was_learned() -> None:
    polling = PollTiming(every=2.0)
    polling.learned(60.0)
    assert polling.next_poll(0.0, 0, 100.0) == 2.0
    assert polling.next_poll(7.5, 3, 0.0) == 9.5
    assert PollTiming(every=2.0).may_ask(99, 0.0)


def test_the_typical_time_starts_as_guessed_and_becomes_what_was_learned() -> None:
    polling = PollTiming(typical=12)
    assert polling.typical == pytest.approx(12, rel=0.01)
    for _ in range(20):
        polling.learned(3.0)
    assert polling.typical == pytest.approx(3, rel=0.02)
    low, middle, high = polling.spread((0.1, 0.5, 0.9))
    assert low < middle < high < 5


def test_a_call_is_worth_the_wait_of_all_that_want_one_up_to_a_limit() -> None:
    assert price_of_call(3, 27, 1.0, 15.0) == 30
    assert price_of_call(0, 10**6, 1.0, 15.0) == 900
    assert price_of_call(0, 10**6, 1.0, 15.0, 64) == 64
    assert price_of_call(5, 100, math.inf, 15.0) == 0
    assert price_of_call(5, 100, 0.0, 15.0) == 900


@pytest.mark.parametrize(
    "junk", [{}, {"seconds": None}, {"seconds": ["5", None, True, math.nan, math.inf, 10**400, -1]}]
)
def test_a_snapshot_without_times_restores_to_a_cold_start(junk: dict[str, object]) -> None:
    polling = PollTiming.restore(junk, typical=7)
    assert not polling.known
    assert polling.typical == pytest.approx(7, rel=0.01)


def test_every_completion_counts_at_first_and_later_several_are_taken_in_at_once() -> None:
    polling = PollTiming()
    believed = []
    for n in range(100):
        polling.learned(5.0 + n / 100)
        believed.append(polling.mean)
    assert len(set(believed[:7])) == 7
    assert len(set(believed[-41:])) == 1 + 5


seconds = st.floats(0, 4000) | st.sampled_from([0.0, 0.5, 15.0, 1e9])
learned = st.lists(seconds, max_size=60)
prices = st.sampled_from([0.0, 1e-9, 0.5, 30.0, 900.0, 1e6])


@settings(max_examples=20, deadline=None)
@given(learned, seconds, st.integers(0, 10_000), prices, st.sampled_from([0.0, 0.2, 1.0, 30.0]))
def test_the_next_poll_is_always_later_and_finite(
    times: list[float], age: float, polls: int, price: float, delay: float
) -> None:
    polling = after(times, delay=delay)
    following = polling.next_poll(age, polls, price)
    assert math.isfinite(following)
    assert following > age


@settings(max_examples=20, deadline=None)
@given(learned, seconds, prices, st.sampled_from([0.2, 1.0, 30.0]))
def test_eager_asks_no_later_but_not_before_the_first_poll_is_due(
    times: list[float], age: float, price: float, delay: float
) -> None:
    polling = after(times, delay=delay)
    assert polling.next_poll(0.0, 0, price, eager=True) == polling.next_poll(0.0, 0, price)
    usual, eager = (polling.next_poll(age, 1, price, eager=eager) for eager in (False, True))
    assert age < eager <= usual
    assert eager == usual or eager - age >= min(delay / 2, 0.01 * age)
    assert eager - age <= max(delay / 2, 0.01 * age, 0.05) * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(learned, seconds, seconds, prices)
def test_a_later_answer_never_means_an_earlier_next_poll(
    times: list[float], one: float, other: float, price: float
) -> None:
    polling, (early, late) = after(times), sorted((one, other))
    assert polling.next_poll(early, 1, price) <= polling.next_poll(late, 1, price) + 1e-6 * (1 + late)


@settings(max_examples=20, deadline=None)
@given(learned, prices, prices)
def test_dearer_calls_are_never_more_calls(times: list[float], one: float, other: float) -> None:
    cheap, dear = sorted((one, other))
    assert expected_polls(times, dear) <= expected_polls(times, cheap) * 1.02 + 0.02


@settings(max_examples=20, deadline=None)
@given(learned, seconds, prices)
def test_what_was_learned_survives_as_json(times: list[float], age: float, price: float) -> None:
    polling = after([round(t, 3) for t in times], delay=0.7)
    restored = PollTiming.restore(json.loads(json.dumps(polling.snapshot())), delay=0.7)
    again = PollTiming.restore(restored.snapshot(), delay=0.7)
    assert restored.snapshot() == again.snapshot() == polling.snapshot()
    assert restored.next_poll(age, 1, price) == again.next_poll(age, 1, price)
    assert restored.known == polling.known


@settings(max_examples=20, deadline=None)
@given(learned.filter(bool), seconds, seconds)
def test_chances_are_chances_and_grow_with_age(times: list[float], one: float, other: float) -> None:
    early, late = sorted((one, other))
    believed = fit(times)
    assert 0 <= believed.done_by(early)[0] <= believed.done_by(late)[0] <= 1
    low, middle, high = after(times).spread()
    assert 0 < low <= middle <= high < math.inf


def after(times: list[float], *, delay: float = 1.0) -> PollTiming:
    polling = PollTiming(delay=delay)
    for t in times:
        polling.learned(t)
    return polling


def expected_polls(times: list[float], price: float) -> float:
    """Mean polls of a job if what is believed is right."""
    polling = PollTiming.restore({"seconds": times})
    believed = fit(times) if times else guess(DEFAULT_TYPICAL, IGNORANT_SIGMA)
    total, age, polls = 0.0, 0.0, 0
    while polls < 200 and (pending := 1 - believed.done_by(age)[0]) > 1e-3:
        total += pending
        age = polling.next_poll(age, 0, price)
        polls += 1
    return total
