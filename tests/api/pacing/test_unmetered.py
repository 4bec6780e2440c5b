"""Which calls count."""

from __future__ import annotations

import asyncio
import copy
import itertools
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.pacing import CallKind, Pacing, PacingEvent
from batcher.api.pacing.unmetered import UnmeteredEvidence
from tests.support.pacing import (
    START,
    WALL,
    FixedWindows,
    Seen,
    TokenBucket,
    simulate,
    wall,
    with_gate,
)


def test_a_stamped_429_on_a_status_call_proves_that_all_count_told_once_and_the_told_rate_returns() -> None:
    events: list[PacingEvent] = []

    async def story() -> None:
        gate = Pacing(rpm=60, now=wall, tell=events.append)

        async def calls() -> None:
            for _ in range(3):
                sent = await gate.acquire(CallKind.SUBMIT)
            gate.throttled(CallKind.SUBMIT, wall() + 20, wall(), sent)
            await gate.acquire(CallKind.SUBMIT)
            assert gate.rate is not None
            assert gate.rate < 60
            sent = await gate.acquire(CallKind.STATUS)
            for _ in range(2):
                gate.throttled(CallKind.STATUS, wall() + 10, wall(), sent)
            assert (gate.metered, gate.rate) == ("all", 60)
            waiting = asyncio.gather(
                *(gate.acquire(CallKind.STATUS) for _ in range(5)), gate.acquire(CallKind.SUBMIT)
            )
            await asyncio.sleep(0)
            assert gate.scarce
            times = sorted(await waiting)
            assert all(b - a >= 1.0 for a, b in itertools.pairwise(times))
            assert not gate.scarce

        await with_gate(gate, calls)
        assert gate.snapshot()["found_out"] is True
        assert Pacing(rpm=60, now=wall, learned=gate.snapshot()).metered == "all"

    simulate(story())
    assert [event.what for event in events].count("metered") == 1


def test_what_the_user_said_about_metering_is_not_overruled() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, metered="submits", now=wall)
        gate.throttled(CallKind.STATUS, wall() + 10, wall(), await gate.acquire(CallKind.STATUS))
        assert (gate.metered, gate.rate) == ("submits", 60)

    simulate(story())


def test_where_all_calls_count_the_whole_limit_is_used_once_that_is_known() -> None:
    server, seen = FixedWindows([(0, 60)], 20), Seen()

    async def call(gate: Pacing, kind: CallKind) -> None:
        while True:
            sent = await gate.acquire(kind)
            at = asyncio.get_running_loop().time() - START
            reset = server.admit(at)
            (seen.accepted if reset is None else seen.refused).append(at)
            await asyncio.sleep(0.01)
            if reset is None:
                return gate.accepted(kind)
            gate.throttled(kind, WALL + START + reset, wall(), sent)

    async def task(gate: Pacing) -> None:
        await call(gate, CallKind.SUBMIT)
        for kind in (CallKind.STATUS, CallKind.RESULT):
            await asyncio.sleep(15)
            await call(gate, kind)

    async def story() -> Pacing:
        gate = Pacing(rpm=60, now=wall)

        async def everything() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(200):
                    group.create_task(task(gate))

        await with_gate(gate, everything)
        return gate

    assert simulate(story()).metered == "all"
    assert len(seen.refused) <= 10
    assert seen.makespan <= 1.08 * 600


@given(
    limits=st.sampled_from(
        [FixedWindows([(0, 60)], 17), FixedWindows([(0, 60)]), TokenBucket([(0, 60)], 60)]
    ),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=600),
)
def test_an_account_that_counts_every_call_never_seems_to_let_them_pass_free(
    limits: FixedWindows | TokenBucket, gaps: list[float]
) -> None:
    server, free, at = copy.deepcopy(limits), UnmeteredEvidence(), 0.0
    for gap in gaps:
        at += gap
        if server.admit(at) is None:
            free.passed(at, 1.0)
        assert not free.proved


def test_calls_that_do_not_count_prove_it_by_their_number_until_the_next_429() -> None:
    free = UnmeteredEvidence()
    for call in range(121):
        assert not free.proved
        free.passed(call / 10, 1.0)
    assert free.proved
    free.refused()
    assert not free.proved
    free.passed(13.0, 1.0)
    assert not free.proved


def test_calls_that_proved_to_be_free_need_no_caution() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, now=wall)

        async def calls() -> None:
            times = []
            for _ in range(140):
                times.append(await gate.acquire(CallKind.STATUS))
                gate.accepted(CallKind.STATUS)
            assert times[100] - times[0] == pytest.approx(100 / 8, rel=0.05), (
                "eight times the rate until then"
            )
            assert gate.free
            assert times[139] == times[130]

        await with_gate(gate, calls)

    simulate(story())


@pytest.mark.parametrize(
    ("rpm", "metered", "free"),
    [
        (60, "submits", True),
        (None, "auto", True),
        (60, "auto", False),
        (60, "all", False),
        (None, "all", False),
    ],
)
def test_calls_are_known_to_be_free_where_it_was_said_or_nothing_is_limited(
    rpm: float | None, metered: Literal["submits", "all", "auto"], free: bool
) -> None:
    assert Pacing(rpm=rpm, metered=metered, now=lambda: WALL).free is free
