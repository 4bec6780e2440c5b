"""Who works on bytes: what is due first goes first, and no more at a time than there are workers."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.storage.workers import PrioritySemaphore, Threads


async def test_those_who_wait_go_in_the_order_of_what_is_due() -> None:
    room, went = PrioritySemaphore(1), []

    async def one(due: float) -> None:
        async with room.acquire(due):
            went.append(due)
            await anyio.sleep(1)

    async with anyio.create_task_group() as group:
        group.start_soon(one, 0.0)
        await anyio.sleep(0.1)
        for due in (5.0, 3.0, float("inf"), 4.0, 3.5):
            group.start_soon(one, due)
    assert went == [0.0, 3.0, 3.5, 4.0, 5.0, float("inf")]


async def test_no_more_are_in_than_the_room_takes_and_whoever_is_cancelled_leaves_no_hole() -> None:
    room, most, inside = PrioritySemaphore(3), 0, 0

    async def one(number: int) -> None:
        nonlocal most, inside
        async with room.acquire(number % 7):
            inside += 1
            most = max(most, inside)
            await anyio.sleep(1 + number % 3)
            inside -= 1

    async def cancelled(number: int) -> None:
        with anyio.move_on_after(0.1 + number):
            async with room.acquire(0.0):
                await anyio.sleep(100)

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(cancelled, number)
        for number in range(30):
            group.start_soon(one, number)
    assert (most, inside) == (3, 0)
    async with room.acquire(0), room.acquire(0), room.acquire(0):
        pass


async def test_a_turn_that_is_given_and_cancelled_in_one_moment_goes_to_the_next() -> None:
    room = PrioritySemaphore(1)
    entered: list[str] = []

    async def one(name: str) -> None:
        async with room.acquire(0.0):
            entered.append(name)

    async with room.acquire(0.0):
        first = asyncio.ensure_future(one("first"))
        second = asyncio.ensure_future(one("second"))
        await asyncio.sleep(0.1)
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert entered == ["second"]


@given(st.lists(st.integers(), max_size=30))
def test_results_come_in_the_order_of_the_items(items: list[int]) -> None:
    assert list(Threads().map(lambda item: item * 2, items)) == [item * 2 for item in items]


def test_no_more_items_are_asked_for_than_are_under_way() -> None:
    asked, workers = 0, Threads()

    def items() -> object:
        nonlocal asked
        while True:
            asked += 1
            yield asked

    results = workers.map(lambda item: item, items())  # type: ignore[arg-type, return-value]
    assert [next(results) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert asked <= 5 + workers.size
    results.close()  # type: ignore[attr-defined]


def test_what_work_raises_is_raised_and_nothing_goes_on() -> None:
    begun, lock = [], threading.Lock()

    def work(item: int) -> int:
        with lock:
            begun.append(item)
        if item == 3:
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match="3"):
        list(Threads().map(work, range(1000)))
    assert len(begun) < 50
