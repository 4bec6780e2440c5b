"""What waits at the gate and gives up leaves nothing behind."""

from __future__ import annotations

import asyncio

import anyio

from batcher.api.pacing import CallKind, Pacing
from tests.support.pacing import (
    START,
    simulate,
    wall,
    with_gate,
)


def test_cancelled_waiters_are_skipped_and_leave_nothing_behind() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, now=wall)

        async def calls() -> None:
            waiting = [asyncio.ensure_future(gate.acquire(CallKind.SUBMIT)) for _ in range(100)]
            await asyncio.sleep(2.5)
            for future in waiting[3:99]:
                future.cancel()
            await asyncio.sleep(0)
            assert gate.waiting == {CallKind.SUBMIT: 1}
            assert await waiting[99] <= START + 3.1
            statistics = gate.statistics()
            assert statistics.waiting == {}
            assert statistics.granted == {CallKind.SUBMIT: 4}

        await with_gate(gate, calls)

    simulate(story())


def test_a_turn_that_comes_at_the_moment_of_cancelling_is_given_back() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, now=wall)
        dispatcher = asyncio.ensure_future(gate.run())
        waiting = asyncio.ensure_future(gate.acquire(CallKind.SUBMIT))
        while not gate.statistics().granted.get(CallKind.SUBMIT):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        assert gate.statistics().granted == {CallKind.SUBMIT: 0}
        dispatcher.cancel()
        await asyncio.gather(dispatcher, return_exceptions=True)

    simulate(story())


def test_it_can_be_read_at_three_in_the_morning() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, now=wall)
        waiting = asyncio.ensure_future(gate.acquire(CallKind.SUBMIT))
        await asyncio.sleep(0)
        assert repr(gate) == "<Pacing <Rate 60 of 60 a minute>, metered submits, waiting 1 submit, 0 429s>"
        assert gate.reason == "at the limit of 60 a minute"
        gate.throttled(CallKind.SUBMIT, wall() + 5, wall())
        assert "1 submit, paused, 1 429s" in repr(gate)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    simulate(story())


async def test_a_hundred_waiters_cancelled_at_once_leave_the_gate_as_it_was() -> None:
    """A stop cancels all who wait: their futures are all cancelled before the first of them withdraws."""
    gate = Pacing(rpm=60, now=lambda: 0.0)
    async with anyio.create_task_group() as group:
        group.start_soon(gate.run)
        with anyio.move_on_after(0.5):
            async with anyio.create_task_group() as waiting:
                for _ in range(100):
                    waiting.start_soon(gate.acquire, CallKind.SUBMIT)
        assert sum(gate.waiting.values()) == 0
        with anyio.fail_after(5):
            await gate.acquire(CallKind.SUBMIT)
        group.cancel_scope.cancel()
