from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web

from tests.support.loopback import YouForgotTheSandbox
from tests.support.sandboxes import START, MakeSandbox
from tests.support.virtualtime import VirtualTimeLoop


async def test_an_hour_of_waiting_is_an_hour_of_the_loops_time_and_no_real_time() -> None:
    loop, began = asyncio.get_running_loop(), time.monotonic()
    before = loop.time()
    await anyio.sleep(3600)
    assert loop.time() - before == pytest.approx(3600)
    assert time.monotonic() - began < 60


async def test_the_clock_stands_still_while_code_runs() -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    for _ in range(1000):
        await anyio.lowlevel.checkpoint()
    assert loop.time() == before


async def test_timers_run_in_their_order_and_at_their_time() -> None:
    loop = asyncio.get_running_loop()
    before, seen = loop.time(), []

    async def wait(delay: float) -> None:
        await anyio.sleep(delay)
        seen.append((delay, round(loop.time() - before, 6)))

    async with anyio.create_task_group() as group:
        for delay in (30, 0.5, 7200, 2):
            group.start_soon(wait, delay)
    assert seen == [(0.5, 0.5), (2, 2), (30, 30), (7200, 7200)]


async def test_the_clock_does_not_jump_over_a_thread() -> None:
    with anyio.fail_after(0.5):
        await asyncio.to_thread(time.sleep, 0.05)


async def test_a_thread_that_waits_for_the_loop_cannot_stop_its_clock_for_ever() -> None:
    loop = asyncio.get_running_loop()

    def wait_for_the_loop() -> str:
        return asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2, "came back"), loop).result(timeout=30)

    assert await asyncio.to_thread(wait_for_the_loop) == "came back"


async def test_http_over_the_loopback_and_its_timeouts_live_in_this_time() -> None:
    async def late(request: web.Request) -> web.Response:
        await anyio.sleep(float(request.query["delay"]))
        return web.Response(body=bytes(300_000))

    app = web.Application()
    app.router.add_get("/", late)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        before = loop.time()
        async with session.get(url, params={"delay": "9"}) as answer:
            assert len(await answer.read()) == 300_000
        assert loop.time() - before == pytest.approx(9, abs=0.1)
        before = loop.time()
        with pytest.raises(TimeoutError):
            await session.get(url, params={"delay": "11"})
        assert 10 <= loop.time() - before <= 11
    await runner.cleanup()


@pytest.mark.real_time
async def test_a_marked_test_gets_a_real_loop() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)


async def test_now_goes_with_the_loop_from_a_fixed_date(now: Callable[[], float]) -> None:
    assert now() == START
    await anyio.sleep(86400)
    assert now() == START + 86400
    assert await asyncio.to_thread(now) == START + 86400


async def test_a_connection_to_another_machine_raises() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(YouForgotTheSandbox, match=r"192\.0\.2\.1"):
            await session.get("http://192.0.2.1/")
        with pytest.raises(YouForgotTheSandbox, match=r"api\.segmind\.com"):
            await session.get("https://api.segmind.com/v1/get-user-credits")


def test_a_plain_socket_to_another_machine_raises() -> None:
    with socket.socket() as plain, pytest.raises(YouForgotTheSandbox):
        plain.connect(("192.0.2.1", 80))


def test_no_key_and_no_default_of_this_machine_reaches_a_test() -> None:
    assert not [name for name in os.environ if name.startswith(("SEGMIND_", "BATCHER_"))]


async def test_a_busy_hour_of_calls_threads_and_files_costs_seconds_and_no_spurious_timeout(
    sandbox: MakeSandbox, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    headers = {"x-api-key": "SG_0123456789abcdef"}
    body = {"image": "https://segmind.com/image5.png", "prompt": "streets in italy"}

    async def one(session: aiohttp.ClientSession, url: str, number: int) -> None:
        await anyio.sleep(number * 36)
        async with session.post(f"{url}/v2/sd1.5-outpaint", json=body) as answer:
            record = await answer.json()
        state = ""
        while state != "COMPLETED":
            await anyio.sleep(5)
            async with session.get(record["status_url"]) as answer:
                state = (await answer.json())["status"]
        await asyncio.to_thread((tmp_path / f"{number}.json").write_text, state)

    async with (
        sandbox(service=30, rpm=60) as server,
        aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=10)) as session,
    ):
        before = loop.time()
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(one, session, server.url, number)
        assert 3564 < loop.time() - before < 3720
        assert (server.billed, server.throttled, len(list(tmp_path.iterdir()))) == (100, 0, 100)
        submits = [round(at - before) for at, kind, _ in server.arrivals if kind == "submit"]
        assert submits == [number * 36 for number in range(100)]
