"""Who goes first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.pacing import CallKind, Pacing
from tests.support.pacing import (
    START,
    simulate,
    wall,
    with_gate,
)


def in_order(
    asked: list[tuple[CallKind, float]],
    *,
    rpm: float = 60,
    metered: Any = "all",
    held: Callable[[int], bool] = lambda gone: False,
) -> list[int]:
    """The order in which calls that all wait get their turns."""

    async def story() -> list[int]:
        gate = Pacing(rpm=rpm, metered=metered, now=wall)
        order: list[int] = []
        gate.hold_submits_while(lambda: held(len(order)))

        async def one(number: int, kind: CallKind, deadline: float) -> None:
            await gate.acquire(kind, deadline)
            order.append(number)
            gate.notify()

        async def everything() -> None:
            async with asyncio.TaskGroup() as group:
                for number, (kind, deadline) in enumerate(asked):
                    group.create_task(one(number, kind, deadline))

        await with_gate(gate, everything)
        return order

    return simulate(story())


SEVEN = [
    (CallKind.SUBMIT, 1.0),
    (CallKind.STATUS, 10_002),
    (CallKind.RESULT, 10_009),
    (CallKind.SYNC, 0.0),
    (CallKind.RESULT, 10_001),
    (CallKind.STATUS, 10_001),
    (CallKind.SUBMIT, math.inf),
]


def test_results_by_deadline_then_statuses_by_theirs_in_turns_with_submits_as_they_came() -> None:
    assert in_order(SEVEN) == [4, 2, 5, 0, 3, 1, 6]


def test_while_the_expiry_guard_holds_submits_everything_else_goes_before_them() -> None:
    assert in_order(SEVEN, held=lambda gone: gone < 4) == [4, 2, 5, 1, 0, 3, 6]
    assert in_order(SEVEN, metered="submits", held=lambda gone: True)[-1] == 6, "free calls need no guard"


asked_at_once = st.lists(
    st.tuples(st.sampled_from([CallKind.RESULT, CallKind.STATUS, CallKind.SUBMIT]), st.integers(0, 50))
)


@given(asked_at_once)
def test_everybody_who_waits_gets_one_turn_and_urgency_decides(asked: list[tuple[CallKind, int]]) -> None:
    calls = [(kind, 1e6 + deadline) for kind, deadline in asked]
    expected = {
        kind: sorted(
            (n for n, call in enumerate(calls) if call[0] is kind),
            key=lambda n: (0 if kind is CallKind.SUBMIT else calls[n][1], n),
        )
        for kind in (CallKind.RESULT, CallKind.STATUS, CallKind.SUBMIT)
    }
    order = in_order(calls, rpm=6000)
    for kind, numbers in expected.items():
        assert [n for n in order if calls[n][0] is kind] == numbers
    others = order[len(expected[CallKind.RESULT]) :]
    assert order[: len(expected[CallKind.RESULT])] == expected[CallKind.RESULT]
    statuses, submits = len(expected[CallKind.STATUS]), len(expected[CallKind.SUBMIT])
    turns = [CallKind.STATUS, CallKind.SUBMIT, CallKind.SUBMIT] * min(statuses, submits // 2)
    assert [calls[n][0] for n in others[: len(turns)]] == turns, "two submits to a status, while both wait"


def test_nothing_starves_but_a_result_about_to_expire_goes_before_the_starving() -> None:
    safe = [(CallKind.SUBMIT, math.inf), *[(CallKind.RESULT, 1e6)] * 200]
    assert 55 <= in_order(safe).index(0) <= 65
    doomed = [(CallKind.SUBMIT, math.inf), *[(CallKind.RESULT, START + 100)] * 90]
    assert in_order(doomed).index(0) == 90


def test_unmetered_calls_do_not_wait_for_the_budget_and_metered_ones_do() -> None:
    async def story(metered: Any) -> float:
        gate = Pacing(rpm=60, metered=metered, now=wall)

        async def calls() -> float:
            for kind in (
                CallKind.STATUS,
                CallKind.RESULT,
                CallKind.CREDITS,
                CallKind.UPLOAD,
                CallKind.HISTORY,
            ) * 4:
                await gate.acquire(kind)
            return asyncio.get_running_loop().time() - START

        return await with_gate(gate, calls)

    assert simulate(story("submits")) == 0
    assert 0 < simulate(story("auto")) <= 12 / 8, "they may count after all: few are under way at once"
    assert simulate(story("all")) == pytest.approx(11, rel=0.01), "uploads and history go to other hosts"
