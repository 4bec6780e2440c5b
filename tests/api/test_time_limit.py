"""Time limits count the time in which we ran: what arrived meanwhile is read before one is believed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import pytest

import batcher
from batcher.api.time_limit import time_limit
from tests.support.virtualtime import VirtualTimeLoop


def the_loop() -> VirtualTimeLoop:
    return cast(VirtualTimeLoop, asyncio.get_running_loop())


@pytest.mark.parametrize("seconds", [0.3, 1.0, 30.0, 60.0])
async def test_a_limit_ends_a_block_after_its_time(seconds: float) -> None:
    began = the_loop().time()
    with pytest.raises(TimeoutError), time_limit(seconds):
        await anyio.sleep_forever()
    assert seconds <= the_loop().time() - began <= seconds + 0.1


async def test_a_block_that_ends_in_time_hears_of_no_limit() -> None:
    with time_limit(5):
        await anyio.sleep(4.9)
    await anyio.sleep(5)


async def test_a_cancellation_from_outside_is_none_of_a_limit() -> None:
    with anyio.move_on_after(2) as outside, time_limit(5):
        await anyio.sleep_forever()
    assert outside.cancelled_caught


@asynccontextmanager
async def a_line() -> AsyncIterator[tuple[asyncio.StreamReader, socket.socket]]:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    with theirs:
        try:
            yield reader, theirs
        finally:
            writer.close()


@pytest.mark.parametrize("ran", [0.0, 0.5, 20.0, 29.9])
async def test_what_arrived_while_the_process_stood_still_is_read(ran: float) -> None:
    async with a_line() as (reader, theirs):
        with time_limit(30):
            await anyio.sleep(ran)
            theirs.send(b"here")
            the_loop().stand_still(70)
            for letter in b"here":
                assert await reader.read(1) == bytes([letter])
                await anyio.sleep(0.2)


@pytest.mark.parametrize(("ran", "left"), [(10.0, 20.0), (29.5, 1.0)])
async def test_time_in_which_nobody_ran_is_not_counted(ran: float, left: float) -> None:
    went_on = 0.0

    async def stands_still() -> None:
        nonlocal went_on
        async with a_line() as (reader, theirs):
            await anyio.sleep(ran)
            theirs.send(b"!")
            the_loop().stand_still(3600)
            await reader.read(1)
            went_on = the_loop().time()
            await anyio.sleep_forever()

    with pytest.raises(TimeoutError), time_limit(30):
        await stands_still()
    assert left - 1.1 <= the_loop().time() - went_on <= left + 1.1


def test_no_call_is_limited_in_another_way() -> None:
    package = Path(batcher.__file__).parent
    limited = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "ClientTimeout(" in path.read_text("utf-8") and "sandbox" not in path.parts
    }
    assert limited == {"api/http.py"}
