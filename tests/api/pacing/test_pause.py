"""What a 429 stops, and for how long."""

from __future__ import annotations

import asyncio
import itertools
from typing import Literal

import pytest

from batcher.api.pacing import CallKind, Pacing, PacingEvent
from tests.support.pacing import START, simulate, wall, with_gate


def restart(metered: Literal["submits", "all"]) -> tuple[list[float], list[float], float]:
    """When 20 submits, 1000 statuses and an upload leave after a submit's 429 with a stamp 30 s away."""

    async def story() -> tuple[list[float], list[float], float]:
        gate = Pacing(rpm=600, metered=metered, now=wall)

        async def calls() -> tuple[list[float], list[float], float]:
            sent = await gate.acquire(CallKind.SUBMIT)
            for _ in range(3):
                gate.throttled(CallKind.SUBMIT, wall() + 30, wall(), sent)
            upload = await gate.acquire(CallKind.UPLOAD)
            submits = asyncio.gather(*(gate.acquire(CallKind.SUBMIT) for _ in range(20)))
            statuses = asyncio.gather(*(gate.acquire(CallKind.STATUS) for _ in range(1000)))
            return await submits, await statuses, upload

        result = await with_gate(gate, calls)
        assert gate.statistics().resets == 1
        assert gate.statistics().throttled == 3
        return result

    return simulate(story())


def test_where_every_call_counts_a_stamped_429_pauses_them_all_and_the_restart_is_no_herd() -> None:
    submits, statuses, upload = restart("all")
    assert upload == START
    assert min(submits) >= START + 30
    assert min(statuses) >= START + 30
    assert all(b - a >= 0.0999 for a, b in itertools.pairwise(sorted([*submits, *statuses])))


def test_where_submits_alone_count_their_429_pauses_them_alone() -> None:
    submits, statuses, upload = restart("submits")
    assert upload == START
    assert max(statuses) == START
    assert min(submits) >= START + 30
    assert all(b - a >= 0.0999 for a, b in itertools.pairwise(submits))


def test_a_429_on_a_call_that_is_said_not_to_count_pauses_every_call_and_the_restart_is_no_herd() -> None:
    async def story() -> tuple[list[float], list[float]]:
        gate = Pacing(rpm=600, metered="submits", now=wall)

        async def calls() -> tuple[list[float], list[float]]:
            gate.throttled(CallKind.STATUS, wall() + 30, wall(), await gate.acquire(CallKind.STATUS))
            submits = asyncio.gather(*(gate.acquire(CallKind.SUBMIT) for _ in range(20)))
            statuses = asyncio.gather(*(gate.acquire(CallKind.STATUS) for _ in range(1000)))
            return await submits, await statuses

        return await with_gate(gate, calls)

    submits, statuses = simulate(story())
    assert min(submits) >= START + 30
    assert min(statuses) >= START + 30
    assert max(sum(at <= other < at + 0.1 for other in statuses) for at in statuses[::50]) <= 60
    assert max(statuses) <= START + 33


def test_an_upload_is_throttled_by_its_own_host_and_pauses_no_call_to_the_api() -> None:
    async def story() -> float:
        gate = Pacing(rpm=600, now=wall)

        async def calls() -> float:
            gate.throttled(CallKind.UPLOAD, wall() + 30, wall(), await gate.acquire(CallKind.UPLOAD))
            return await gate.acquire(CallKind.SUBMIT)

        return await with_gate(gate, calls)

    assert simulate(story()) == START


@pytest.mark.parametrize(("left", "until"), [(1800, 1800), (3599, 3599), (7200, 3600), (1e9, 3600)])
def test_a_stamp_is_waited_for_as_long_as_the_user_is_patient(left: float, until: float) -> None:
    events: list[PacingEvent] = []

    async def story() -> tuple[float, float | None]:
        gate = Pacing(rpm=60, now=wall, patience=3600, tell=events.append)

        async def calls() -> float:
            sent = await gate.acquire(CallKind.SUBMIT)
            gate.throttled(CallKind.SUBMIT, wall() + left, wall(), sent)
            return await gate.acquire(CallKind.SUBMIT)

        return await with_gate(gate, calls), gate.rate

    at, rate = simulate(story())
    assert at == pytest.approx(START + until, abs=0.1)
    assert rate == 60
    exhausted = [event.text for event in events if event.what == "exhausted"]
    assert len(exhausted) == (left > 3600)
    assert all("run again then" in text and " UTC" in text for text in exhausted)


def test_a_limit_that_lets_nothing_through_for_that_long_is_told() -> None:
    events: list[PacingEvent] = []

    async def story() -> float:
        gate = Pacing(rpm=60, now=wall, patience=600, tell=events.append)

        async def calls() -> float:
            while not any(event.what == "exhausted" for event in events):
                gate.throttled(CallKind.SUBMIT, wall() + 50, wall(), await gate.acquire(CallKind.SUBMIT))
            return asyncio.get_running_loop().time()

        return await with_gate(gate, calls)

    assert 600 < simulate(story()) - START <= 700
    assert events[-1].what == "exhausted"
    assert "run again later" in events[-1].text


def test_unstamped_429s_share_one_growing_pause_that_a_success_ends() -> None:
    async def story() -> list[float]:
        gate = Pacing(rpm=600, metered="all", now=wall)

        async def calls() -> list[float]:
            left: list[float] = []
            for _ in range(8):
                sent = [await gate.acquire(CallKind.SUBMIT) for _ in range(3)]
                for at in sent:
                    gate.throttled(CallKind.SUBMIT, None, wall(), at)
                left.append(gate.pause_left)
            await gate.acquire(CallKind.SUBMIT)
            gate.accepted(CallKind.SUBMIT)
            gate.throttled(CallKind.SUBMIT, None, wall(), await gate.acquire(CallKind.SUBMIT))
            return [*left, gate.pause_left]

        pauses = await with_gate(gate, calls)
        assert (gate.rate, gate.metered) == (600, "all")  # it teaches nothing
        return pauses

    assert simulate(story()) == pytest.approx([2, 4, 8, 16, 32, 60, 60, 60, 2])


def test_a_result_that_would_not_survive_the_pause_goes_out_within_it() -> None:
    async def story() -> tuple[float, float]:
        gate = Pacing(rpm=60, metered="all", now=wall)

        async def calls() -> tuple[float, float]:
            gate.throttled(CallKind.SUBMIT, wall() + 100, wall(), await gate.acquire(CallKind.SUBMIT))
            safe = asyncio.ensure_future(
                gate.acquire(CallKind.RESULT, asyncio.get_running_loop().time() + 1000)
            )
            return await gate.acquire(CallKind.RESULT, asyncio.get_running_loop().time() + 50), await safe

        return await with_gate(gate, calls)

    doomed, safe = simulate(story())
    assert doomed <= START + 2
    assert safe >= START + 100
