"""How many bytes of pictures are on their way at a time."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from batcher.engine.bytes_in_air import BytesInAir


async def test_no_more_is_held_than_allowed_and_the_first_comes_first() -> None:
    air, order, most = BytesInAir(100), list[int](), 0

    async def send(number: int, size: int) -> None:
        nonlocal most
        async with air.hold(size):
            order.append(number)
            most = max(most, air.held)
            await anyio.sleep(1)

    async with anyio.create_task_group() as tasks:
        for number, size in enumerate((60, 60, 10, 500, 40, 40)):
            tasks.start_soon(send, number, size)
    assert (most, air.held) == (100, 0)
    assert order == [0, 1, 2, 3, 4, 5], (
        "what is small does not overtake, so that what is large is not starved"
    )


async def test_who_is_cancelled_while_it_waits_stands_in_nobodys_way() -> None:
    air = BytesInAir(100)

    async def send(size: int) -> None:
        async with air.hold(size):
            await anyio.sleep(1)

    first = asyncio.create_task(send(60))
    large, small = (asyncio.create_task(send(size)) for size in (90, 30))
    await anyio.sleep(0.1)
    assert air.held == 60
    large.cancel()
    await anyio.sleep(0.1)
    assert air.held == 90
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    await small
    assert air.held == 0
