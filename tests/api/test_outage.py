"""A service that is down fails nobody: three in a row open it, probes ask one by one, ten minutes end it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest

from batcher import errors
from batcher.api.outage import Outage


def lose(outage: Outage, times: int) -> None:
    for _ in range(times):
        outage.lost("HTTP 502", probe=outage.leaving())


async def test_two_losses_in_a_row_are_none_and_an_answer_in_between_starts_anew() -> None:
    outage = Outage()
    lose(outage, 2)
    assert not outage.down
    assert outage.reason == ""
    outage.answered()
    lose(outage, 2)
    assert not outage.blocked()
    lose(outage, 1)
    assert outage.down
    assert outage.blocked()
    assert outage.reason == "HTTP 502"


async def test_one_probe_leaves_at_a_time_and_the_waits_between_them_grow(now: Callable[[], float]) -> None:
    outage = Outage()
    lose(outage, 3)
    out: list[float] = []
    at_once = 0

    async def submitter() -> None:
        nonlocal at_once
        while len(out) < 9:
            await outage.over()
            probe = outage.leaving()
            out.append(now())
            at_once += 1
            assert at_once == 1, "a second one left beside the probe"
            await anyio.sleep(0.5)
            at_once -= 1
            outage.lost("cut", probe=probe)

    began = now()
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(submitter)
        while len(out) < 9:
            await anyio.sleep(1)
        group.cancel_scope.cancel()
    gaps = [round(later - earlier, 2) for earlier, later in zip([began, *out], out, strict=False)]
    assert gaps == [1, 2.5, 4.5, 8.5, 16.5, 32.5, 60.5, 60.5, 60.5]


async def test_when_a_probe_comes_through_everybody_leaves(now: Callable[[], float]) -> None:
    outage = Outage()
    lose(outage, 3)
    began = now()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(outage.over)
        await anyio.sleep(0.5)
        outage.answered()
    assert now() - began == pytest.approx(0.5)
    assert not outage.down


async def test_a_probe_that_is_withdrawn_lets_the_next_one_leave(now: Callable[[], float]) -> None:
    outage = Outage()
    lose(outage, 3)
    await outage.over()
    probe = outage.leaving()
    assert outage.blocked()
    async with anyio.create_task_group() as group:
        group.start_soon(outage.over)
        await anyio.sleep(5)
        outage.withdrawn(probe=probe)
    assert not outage.blocked()
    assert outage.down


async def test_after_ten_minutes_of_nothing_the_run_ends(now: Callable[[], float]) -> None:
    outage = Outage()
    lose(outage, 3)
    began = now()

    async def ask_on() -> None:
        while True:
            await outage.over()
            outage.lost("cut", probe=outage.leaving())

    with pytest.raises(errors.ApiDown, match=r"10 minutes.*cut") as caught:
        await ask_on()
    assert 600 <= now() - began <= 660
    assert caught.value.exit_code == 5


async def test_a_loss_long_ago_does_not_shorten_the_ten_minutes() -> None:
    outage = Outage()
    lose(outage, 1)
    await asyncio.sleep(3600)
    lose(outage, 2)
    assert outage.down


async def test_stragglers_of_the_time_before_do_not_lengthen_the_wait(now: Callable[[], float]) -> None:
    outage = Outage()
    left = [outage.leaving() for _ in range(50)]
    for probe in left:
        outage.lost("cut", probe=probe)
    began = now()
    await outage.over()
    assert now() - began == pytest.approx(1)


async def test_a_straggler_that_is_lost_while_the_probe_is_out_lets_no_second_one_leave() -> None:
    outage = Outage()
    straggler = outage.leaving()
    lose(outage, 3)
    await outage.over()
    probe = outage.leaving()
    outage.lost("cut", probe=straggler)
    outage.withdrawn(probe=straggler)
    await asyncio.sleep(100)
    assert outage.blocked()
    outage.lost("cut", probe=probe)
    await asyncio.sleep(100)
    assert not outage.blocked()


async def test_waiting_does_not_spin_and_can_be_cancelled() -> None:
    outage = Outage()
    lose(outage, 3)
    await outage.over()
    outage.leaving()
    with anyio.move_on_after(1000) as scope:
        await outage.over()
    assert scope.cancelled_caught
