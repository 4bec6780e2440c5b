"""The limit is kept, and used up, as a server sees it: when calls come, how many 429s, how long all took."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.pacing import CallKind, Pacing
from tests.support.pacing import (
    START,
    WALL,
    FixedWindows,
    TokenBucket,
    busiest_minute,
    run_submits,
    simulate,
    wall,
    with_gate,
)


@pytest.mark.parametrize("phase", [0.0, 17.0, 59.9])
@pytest.mark.parametrize("latency", [(0.001, 0.005), (0.02, 0.1)])
def test_told_right_no_minute_holds_too_many_and_nothing_is_refused(
    phase: float, latency: tuple[float, float]
) -> None:
    seen = run_submits(FixedWindows([(0, 60)], phase), 300, configured=60, latency=latency)
    assert seen.refused == []
    assert busiest_minute(seen.accepted) <= 60
    assert seen.makespan <= 1.03 * 299 / 60 * 60


def test_told_right_twenty_a_second_are_used_up() -> None:
    for server in (FixedWindows([(0, 1200)], length=1.0, phase=0.3), TokenBucket([(0, 1200)], 5)):
        seen = run_submits(server, 600, configured=1200)
        assert seen.refused == []
        assert seen.makespan <= 1.01 * 599 / 20


def test_told_too_little_it_stays_there() -> None:
    seen = run_submits(FixedWindows([(0, 600)]), 200, configured=60)
    assert busiest_minute(seen.accepted) <= 60
    assert seen.gate.rate == 60


@pytest.mark.parametrize("phase", [0.0, 10.0, 30.0, 50.0])
def test_told_ten_times_too_much_fixed_windows_are_found_and_used_up(phase: float) -> None:
    seen = run_submits(FixedWindows([(0, 60)], phase), 600, configured=600)
    assert seen.throttled_share <= 0.015
    assert seen.makespan <= 1.05 * seen.ideal(60)
    assert 57 <= seen.per_minute(180, 480) <= 60


@pytest.mark.parametrize("capacity", [2.0, 10.0, 60.0])
def test_told_ten_times_too_much_a_bucket_is_found_and_used_up(capacity: float) -> None:
    seen = run_submits(TokenBucket([(0, 60)], capacity), 600, configured=600)
    assert seen.throttled_share <= 0.03
    assert seen.makespan <= 1.10 * seen.ideal(60)


@pytest.mark.parametrize("capacity", [5.0, 20.0, 200.0])
def test_told_two_hundred_a_second_a_bucket_of_twenty_is_found(capacity: float) -> None:
    seen = run_submits(TokenBucket([(0, 1200)], capacity), 600, configured=12000)
    assert seen.throttled_share <= 0.03
    assert seen.makespan <= 1.10 * seen.ideal(1200)


@pytest.mark.parametrize("capacity", [2, 5, 20])
@pytest.mark.parametrize("whole", [math.floor, math.ceil])
def test_stamps_of_whole_seconds_do_not_make_the_search_for_a_bucket_look_like_chance(
    capacity: float, whole: Callable[[float], int]
) -> None:
    class Coarse(TokenBucket):
        def admit(self, at: float) -> float | None:
            again = super().admit(at)
            return None if again is None else at + whole(again - at)

    seen = run_submits(Coarse([(0, 300)], capacity), 500, configured=3000, latency=(0.02, 0.08))
    assert seen.throttled_share <= 0.035


def test_a_window_whose_429s_say_now_is_not_hammered() -> None:
    class Now(FixedWindows):
        def admit(self, at: float) -> float | None:
            return None if super().admit(at) is None else at

    seen = run_submits(Now([(0, 150)]), 300, configured=3000)
    assert len(seen.refused) <= 60
    assert seen.makespan <= 65


def test_a_free_account_told_the_default_rate_is_found() -> None:
    seen = run_submits(FixedWindows([(0, 5)], 20), 100, configured=60)
    assert len(seen.refused) <= 3
    assert seen.makespan <= 1.05 * seen.ideal(5)


@pytest.mark.parametrize("configured", [60, 600])
def test_joining_a_window_that_an_earlier_run_used_up_does_not_lower_the_rate_for_long(
    configured: float,
) -> None:
    seen = run_submits(FixedWindows([(0, 60)], phase=30, used=55), 400, configured=configured)
    assert seen.per_minute(90, 390) >= 57
    assert seen.throttled_share <= 0.015


def test_a_limit_that_falls_in_mid_run_is_followed() -> None:
    seen = run_submits(FixedWindows([(0, 60), (320, 30)], 17), 600, configured=60)
    assert seen.per_minute(500, 900) >= 28
    assert seen.throttled_share <= 0.015


@pytest.mark.parametrize("windows", [True, False])
def test_a_limit_that_rises_again_is_found_by_gentle_probes(windows: bool) -> None:
    plan: list[tuple[float, float]] = [(0, 60), (320, 30), (920, 60)]
    seen = run_submits(FixedWindows(plan, 17) if windows else TokenBucket(plan, 10), 1600, configured=60)
    assert seen.gate.rate == 60
    assert len(seen.refused) <= 12
    assert seen.per_minute(seen.makespan - 240, seen.makespan) >= 58


def test_probing_a_limit_that_stays_costs_hardly_a_429() -> None:
    windows = run_submits(FixedWindows([(0, 60)], 17), 3000, configured=600)
    bucket = run_submits(TokenBucket([(0, 60)], 10), 3000, configured=600)
    assert windows.throttled_share <= 0.004
    assert bucket.throttled_share <= 0.008
    assert windows.per_minute(300, 2700) >= 58.5
    assert bucket.per_minute(300, 2700) >= 58.5


@pytest.mark.parametrize("ahead", [-1.9, 1.9])
@pytest.mark.parametrize("tells_when_sent", [True, False])
def test_a_clock_that_is_two_seconds_off_costs_a_few_429s_and_no_more(
    ahead: float, tells_when_sent: bool
) -> None:
    for server in (FixedWindows([(0, 60)], 17), TokenBucket([(0, 60)], 10)):
        seen = run_submits(server, 600, configured=600, clock_ahead=ahead, tells_when_sent=tells_when_sent)
        assert seen.throttled_share <= 0.03
        assert seen.per_minute(180, 480) >= 56


def test_unpaced_until_a_429_teaches_a_rate() -> None:
    seen = run_submits(FixedWindows([(0, 60)]), 200, configured=None)
    assert seen.gate.rate is not None
    assert 57 <= seen.gate.rate <= 62
    assert simulate(_unpaced()) == START


async def _unpaced() -> float:
    gate = Pacing(rpm=None, now=wall)
    for _ in range(1000):
        await gate.acquire(CallKind.SUBMIT)
    return asyncio.get_running_loop().time()


def test_what_was_learned_serves_the_next_run() -> None:
    first = run_submits(FixedWindows([(0, 60)], 17), 300, configured=600)
    snapshot = json.loads(json.dumps(simulate(_snapshot(first.gate))))
    second = run_submits(FixedWindows([(0, 60)], 40), 120, configured=600, learned=snapshot)
    assert second.refused == []
    assert second.gate.rate is not None
    assert second.gate.rate <= 60


async def _snapshot(gate: Pacing) -> dict[str, Any]:
    return gate.snapshot()


@given(
    learned=st.dictionaries(
        st.sampled_from(["per_minute", "counted", "found_out", "at"]),
        st.none() | st.text() | st.floats() | st.integers() | st.booleans() | st.lists(st.integers()),
    )
)
def test_a_lesson_that_cannot_be_read_is_none(learned: dict[str, Any]) -> None:
    gate = Pacing(rpm=60, now=lambda: WALL, learned=learned)
    assert gate.rate is not None
    assert 0 < gate.rate <= 60


def test_an_old_lesson_is_forgotten_and_told_less_wins_over_it() -> None:
    lesson = {"per_minute": 30.0, "counted": "submits", "found_out": False, "at": WALL}
    assert Pacing(rpm=60, now=lambda: WALL, learned=lesson).rate == 30
    assert Pacing(rpm=20, now=lambda: WALL, learned=lesson).rate == 20
    assert Pacing(rpm=60, now=lambda: WALL + 8 * 86400, learned=lesson).rate == 60
    assert Pacing(rpm=60, now=lambda: WALL, metered="all", learned=lesson).rate == 60


@pytest.mark.parametrize("rpm", [0, -1, math.nan, math.inf])
def test_an_impossible_rate_is_refused(rpm: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Pacing(rpm=rpm, now=lambda: WALL)


def test_above_six_thousand_a_minute_ten_milliseconds_of_burst_at_most() -> None:
    async def story() -> list[float]:
        gate = Pacing(rpm=60_000, now=wall)
        return await with_gate(
            gate, lambda: asyncio.gather(*(gate.acquire(CallKind.SUBMIT) for _ in range(500)))
        )

    times = simulate(story())
    for start in range(0, 500, 7):
        assert sum(times[start] <= at < times[start] + 0.1 for at in times) <= 111
    assert times[-1] - times[0] >= 0.48


def test_after_idle_time_there_is_no_burst() -> None:
    async def story() -> list[float]:
        gate = Pacing(rpm=60, now=wall)

        async def calls() -> list[float]:
            times = [await gate.acquire(CallKind.SUBMIT)]
            await asyncio.sleep(100)
            return times + list(await asyncio.gather(*(gate.acquire(CallKind.SUBMIT) for _ in range(5))))

        return await with_gate(gate, calls)

    times = simulate(story())
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] == pytest.approx(100)
    assert all(gap >= 1.0 for gap in gaps)
