"""When to ask next: polls and delay in simulated runs, what upsets them, and laws that always hold."""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
import statistics
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.polling import Polling, price_of_call
from batcher.polling.policy import best_schedule, grid_of, price_for
from batcher.polling.times import Component, ServiceTimes, fit

Service = Callable[[random.Random, int], float]


def lognormal(median: float, sigma: float) -> Service:
    return lambda draw, _: median * math.exp(draw.gauss(0, sigma))


@dataclass
class Run:
    """A run without a network: tasks start as places and `rate` (per second) allow, polled as told."""

    polling: Polling
    service: Service
    tasks: int = 300
    in_flight: int = 64
    rate: float = math.inf
    seed: int = 0
    metrics: bool = True
    workers: int | None = None
    polls: list[int] = field(default_factory=list)
    """Of each task, in the order of their completion being noticed, like `delays` (seconds)."""
    delays: list[float] = field(default_factory=list)
    makespan: float = 0.0

    def __post_init__(self) -> None:
        draw, turn = random.Random(self.seed), itertools.count()
        busy = [0.0] * (self.workers or 0)
        at: dict[int, float] = {}
        ends: dict[int, float] = {}
        asked: dict[int, tuple[float, int]] = {}
        planned: dict[int, float] = {}
        events: list[tuple[float, int, int]] = []
        free, begun, last_submit, version = self.in_flight, 0, -math.inf, self.polling.version

        def plan(task: int, rank: int, now: float) -> None:
            planned.pop(task, None)
            if self.polling.may_ask(rank, now - at[task]):
                due = max(now, at[task] + self.polling.next_poll(*asked[task], 0.0))
                planned[task] = due
                heapq.heappush(events, (due, next(turn), task))

        def submit(now: float) -> None:
            nonlocal free, begun, last_submit
            while free and begun < self.tasks:
                last_submit = max(now, last_submit + 1 / self.rate)
                heapq.heappush(events, (last_submit, next(turn), begun))
                free, begun = free - 1, begun + 1

        submit(0.0)
        while events:
            now, _, task = heapq.heappop(events)
            if task not in at:
                at[task], asked[task] = now, (0.0, 0)
                start = max(now, heapq.heappop(busy)) if busy else now
                ends[task] = start + self.service(draw, task)
                if self.workers:
                    heapq.heappush(busy, ends[task])
                plan(task, len(asked) - 1, now)
            elif planned.get(task) == now:
                age, (before, polls) = now - at[task], asked[task]
                if ends[task] > now:
                    asked[task] = (age, polls + 1)
                    plan(task, 0, now)
                    continue
                del asked[task], planned[task]
                self.polls.append(polls + 1)
                self.delays.append(now - ends[task])
                self.makespan = now
                if self.metrics:
                    self.polling.learned(ends[task] - at[task])
                else:
                    self.polling.observed(before, age)
                free += 1
                submit(now)
                if version != self.polling.version:
                    version = self.polling.version
                    for rank, other in enumerate(asked):
                        plan(other, rank, now)
        assert len(self.delays) == self.tasks


def of(runs: list[Run]) -> tuple[float, float]:
    """Polls per task and mean delay over several runs."""
    return (
        statistics.fmean(statistics.fmean(run.polls) for run in runs),
        statistics.fmean(statistics.fmean(run.delays) for run in runs),
    )


@pytest.mark.parametrize(
    ("in_flight", "rate", "most"), [(64, math.inf, 3.5), (300, math.inf, 4.0), (64, 20.0, 3.5)]
)
def test_from_a_cold_start_three_and_a_half_polls_keep_the_wanted_half_second(
    in_flight: int, rate: float, most: float
) -> None:
    """Where all begin at once, none of them learns from another's end: that takes a few more."""
    runs = [
        Run(Polling(delay=0.5), lognormal(5, 0.3), in_flight=in_flight, rate=rate, seed=seed)
        for seed in range(2)
    ]
    polls, delay = of(runs)
    assert polls <= most
    assert delay <= 0.55


@pytest.mark.parametrize("typical", [0.5, 1.5, 15.0, 50.0])
def test_a_wrong_first_guess_costs_little(typical: float) -> None:
    run = Run(Polling(delay=0.5, typical=typical), lognormal(5, 0.3), rate=20)
    polls, delay = of([run])
    assert polls <= 3.6
    assert delay <= 0.75


def test_a_wide_spread_in_two_hundred_places_is_kept_busy_at_six_polls() -> None:
    run = Run(Polling(delay=0.22), lognormal(3, 0.5), tasks=2000, in_flight=200)
    draw, places = random.Random(0), [0.0] * 200
    for _ in range(2000):
        heapq.heappush(places, heapq.heappop(places) + 3 * math.exp(draw.gauss(0, 0.5)))
    assert of([run])[0] <= 6
    assert run.makespan <= 1.08 * max(places)


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


def test_where_every_call_counts_a_task_takes_little_more_than_one_poll() -> None:
    draw, polling, rate, tasks = random.Random(0), Polling(), 1.0, 200
    calls, now, begun, done, ready = 0, 0.0, 0, 0, 0
    waiting: dict[int, tuple[float, float, float, int]] = {}
    while done < tasks:
        price = price_of_call(ready, tasks - begun, rate, polling.mean, 64)
        due = [
            task
            for rank, (task, (at, _, last, polls)) in enumerate(waiting.items())
            if polling.may_ask(rank, now - at) and at + polling.next_poll(last, polls, price) <= now
        ]
        calls += 1
        if ready:
            ready, done = ready - 1, done + 1
        elif due:
            at, takes, _, polls = waiting.pop(due[0])
            if takes <= now - at:
                polling.learned(takes)
                ready += 1
            else:
                waiting[due[0]] = (at, takes, now - at, polls + 1)
        elif begun < tasks and len(waiting) < 64:
            waiting[begun] = (now, 15 * math.exp(draw.gauss(0, 0.3)), 0.0, 0)
            begun += 1
        else:
            calls -= 1
        now += 1 / rate
    assert calls / tasks <= 3.15
    assert now <= 1.08 * 3 * tasks / rate


@pytest.mark.parametrize(("before", "after"), [(5.0, 15.0), (15.0, 5.0), (5.0, 6.5)])
def test_a_step_in_the_service_time_is_followed_within_a_few_dozen_tasks(before: float, after: float) -> None:
    def service(draw: random.Random, task: int) -> float:
        return (before if task < 200 else after) * math.exp(draw.gauss(0, 0.3))

    run = Run(Polling(delay=0.5), service, tasks=400, in_flight=32, rate=20)
    assert statistics.fmean(run.delays) <= 0.65
    assert statistics.fmean(run.delays[260:]) <= 0.6
    assert statistics.fmean(run.polls[300:]) <= {5.0: 3.6, 6.5: 4.3, 15.0: 10}[after]


def test_a_slow_drift_is_followed() -> None:
    run = Run(Polling(delay=0.5), lambda draw, i: (3 + i / 60) * math.exp(draw.gauss(0, 0.2)), 500, 32, 20)
    polls, delay = of([run])
    assert polls <= 4.2
    assert delay <= 0.5


@pytest.mark.parametrize("cached", [0.1, 0.5, 0.9])
def test_cached_and_cold_jobs_are_told_apart(cached: float) -> None:
    def service(draw: random.Random, _: int) -> float:
        return (0.5 if draw.random() < cached else 15) * math.exp(draw.gauss(0, 0.15))

    run = Run(Polling(delay=1), service, tasks=500, in_flight=32, rate=20)
    polls, delay = of([run])
    assert polls <= 3.6
    assert delay <= 1.0


def test_odd_jobs_do_not_move_the_rest() -> None:
    def service(draw: random.Random, _: int) -> float:
        return 5 * math.exp(draw.gauss(0, 0.3)) * (10 if draw.random() < 0.03 else 1)

    run = Run(Polling(delay=0.5), service, tasks=500, in_flight=32, rate=20)
    polls, delay = of([run])
    assert polls <= 4.3
    assert delay <= 0.65


def test_a_queue_that_builds_up_is_followed() -> None:
    run = Run(Polling(delay=1), lognormal(5, 0.3), tasks=500, in_flight=400, rate=2.2, workers=10)
    polls, delay = of([run])
    assert polls <= 7
    assert delay <= 1.0


def test_answers_that_are_there_at_once_take_one_poll() -> None:
    run = Run(Polling(delay=1), lambda _draw, _i: 0.0, in_flight=32, rate=20)
    assert of([run])[0] == 1
    assert statistics.fmean(run.delays[50:]) <= 1.0


def test_jobs_of_minutes_are_not_asked_hundreds_of_times() -> None:
    run = Run(Polling(delay=0.5), lognormal(300, 0.3), tasks=150, in_flight=32)
    polls, delay = of([run])
    assert polls <= 35
    assert delay <= 6  # 1 % of a job's time is the finest that is aimed at


@pytest.mark.parametrize(("median", "tasks"), [(0.5, 500), (5.0, 6000)])
def test_without_metrics_the_wanted_delay_does_not_run_away(median: float, tasks: int) -> None:
    run = Run(Polling(delay=0.5), lognormal(median, 0.3), tasks, in_flight=16, rate=20, metrics=False)
    for start in range(0, tasks, 500):
        assert statistics.fmean(run.delays[start : start + 500]) < 0.8
    assert statistics.fmean(run.polls) <= 4


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
    polling = Polling(typical=5)
    assert [polling.may_ask(rank, 10.0) for rank in range(8)] == [True] * 6 + [False] * 2
    assert polling.may_ask(100, 3600.0)
    polling.learned(5.0)
    assert polling.known
    assert polling.may_ask(100, 0.0)


def test_a_scout_starts_early_and_lets_its_intervals_grow() -> None:
    polling, ages = Polling(), [0.0]
    while ages[-1] < 60:
        ages.append(polling.next_poll(ages[-1], len(ages) - 1, 0.0))
    assert ages[1] <= 3
    assert len(ages) <= 30


def test_a_fixed_interval_is_kept_whatever_was_learned() -> None:
    polling = Polling(every=2.0)
    polling.learned(60.0)
    assert polling.next_poll(0.0, 0, 100.0) == 2.0
    assert polling.next_poll(7.5, 3, 0.0) == 9.5
    assert Polling(every=2.0).may_ask(99, 0.0)


def test_the_typical_time_starts_as_guessed_and_becomes_what_was_learned() -> None:
    polling = Polling(typical=12)
    assert polling.typical == pytest.approx(12, rel=0.01)
    for _ in range(20):
        polling.learned(3.0)
    assert polling.typical == pytest.approx(3, rel=0.02)
    low, middle, high = polling.spread((0.1, 0.5, 0.9))
    assert low < middle < high < 5


def test_a_completion_seen_only_by_asking_counts_in_the_middle_of_the_interval() -> None:
    seen, told = Polling(), Polling()
    seen.observed(4.0, 6.0)
    told.learned(5.0)
    assert seen.snapshot() == told.snapshot()


def test_a_job_grows_likelier_to_be_done_and_less_so_right_after_a_poll() -> None:
    polling = after([4.0, 5.0, 6.0] * 10)
    assert polling.likely_done(0.0) == 0
    assert polling.likely_done(4.0) < polling.likely_done(6.0) < polling.likely_done(20.0)
    assert polling.likely_done(5.1, since=5.0) < polling.likely_done(5.1)
    assert polling.likely_done(1e9, since=1e8) <= 1


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
    polling = Polling.restore(junk, typical=7)
    assert not polling.known
    assert polling.typical == pytest.approx(7, rel=0.01)


def test_every_completion_counts_at_first_and_later_several_are_taken_in_at_once() -> None:
    polling = Polling()
    versions = []
    for _ in range(100):
        polling.learned(5.0)
        versions.append(polling.version)
    assert versions[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert versions[-1] - versions[-41] == 5


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
    polling, (cheap, dear) = after(times), sorted((one, other))
    assert expected_polls(polling, dear) <= expected_polls(polling, cheap) * 1.02 + 0.02


@settings(max_examples=20, deadline=None)
@given(learned, seconds, prices)
def test_what_was_learned_survives_as_json(times: list[float], age: float, price: float) -> None:
    polling = after([round(t, 3) for t in times], delay=0.7)
    restored = Polling.restore(json.loads(json.dumps(polling.snapshot())), delay=0.7)
    again = Polling.restore(restored.snapshot(), delay=0.7)
    assert restored.snapshot() == again.snapshot() == polling.snapshot()
    assert restored.next_poll(age, 1, price) == again.next_poll(age, 1, price)
    assert restored.known == polling.known


@settings(max_examples=20, deadline=None)
@given(learned.filter(bool), seconds, seconds)
def test_chances_are_chances_and_grow_with_age(times: list[float], one: float, other: float) -> None:
    polling, (early, late) = after(times), sorted((one, other))
    assert 0 <= polling.likely_done(early) <= polling.likely_done(late) <= 1
    assert 0 <= polling.likely_done(late, since=early) <= 1
    low, middle, high = polling.spread()
    assert 0 < low <= middle <= high < math.inf


def after(times: list[float], *, delay: float = 1.0) -> Polling:
    polling = Polling(delay=delay)
    for t in times:
        polling.learned(t)
    return polling


def expected_polls(polling: Polling, price: float) -> float:
    """Mean polls of a job if what is believed is right."""
    total, age, polls = 0.0, 0.0, 0
    while polls < 200 and (pending := 1 - polling.likely_done(age)) > 1e-3:
        total += pending
        age = polling.next_poll(age, 0, price)
        polls += 1
    return total
