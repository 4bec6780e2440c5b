"""Signal: everybody who waits is woken, and nobody for what was before."""

from __future__ import annotations

import anyio

from batcher.api.signal import Signal


async def test_all_who_wait_are_woken() -> None:
    signal, woken = Signal(), []

    async def waiter(name: str) -> None:
        await signal.wait()
        woken.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(waiter, "one")
        group.start_soon(waiter, "other")
        await anyio.sleep(1)
        assert not woken
        signal.notify()
    assert sorted(woken) == ["one", "other"]


async def test_what_was_before_wakes_nobody() -> None:
    signal = Signal()
    signal.notify()
    with anyio.move_on_after(60) as waiting:
        await signal.wait()
    assert waiting.cancelled_caught


async def test_who_waits_again_at_once_waits_for_the_next_one() -> None:
    """Also while others of the same notify have not run yet."""
    signal, woken = Signal(), []

    async def waiter() -> None:
        while True:
            await signal.wait()
            woken.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        began = anyio.current_time()
        group.start_soon(waiter)
        group.start_soon(waiter)
        for _ in range(3):
            await anyio.sleep(1)
            signal.notify()
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert [round(moment - began) for moment in woken] == [1, 1, 2, 2, 3, 3]
