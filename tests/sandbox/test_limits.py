"""The rate limit: what the provider counts, and until when it says no."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import aiohttp
import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.sandbox import Options
from batcher.sandbox.limits import FixedWindows, TokenBucket, limit
from tests.support.caller import OUTPAINT, get, submit
from tests.support.sandboxes import MakeSandbox


@given(
    rpm=st.integers(1, 300),
    phase=st.floats(0, 60),
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=200),
)
def test_no_fixed_window_holds_more_than_the_limit(rpm: int, phase: float, gaps: list[float]) -> None:
    windows, now, passed = FixedWindows(rpm, 60, phase), 1e9, []
    for gap in gaps:
        now += gap
        if windows.admit(now) is None:
            passed.append((now - phase) // 60)
    assert all(passed.count(window) <= rpm for window in passed)


@given(rpm=st.integers(1, 300), phase=st.floats(0, 60), now=st.floats(1e9, 1e9 + 1000))
def test_calls_pass_again_at_the_stated_reset(rpm: int, phase: float, now: float) -> None:
    windows = FixedWindows(rpm, 60, phase)
    assert all(windows.admit(now) is None for _ in range(rpm))
    reset = windows.admit(now)
    assert reset is not None
    assert now < reset <= now + 60 + 1e-6
    assert windows.admit(reset + 0.001) is None


def test_a_bucket_gives_its_burst_at_once_and_then_the_rate() -> None:
    bucket, now = TokenBucket(60, 10), 1e9
    assert [bucket.admit(now) for _ in range(10)] == [None] * 10
    assert bucket.admit(now) == pytest.approx(now + 1)
    assert bucket.admit(now + 0.5) == pytest.approx(now + 1)
    assert bucket.admit(now + 1.001) is None
    passed = sum(bucket.admit(now + 2 + second / 10) is None for second in range(600))
    assert passed == pytest.approx(61, abs=1)


def test_the_seed_decides_the_phase_unless_told() -> None:
    def reset(**options: int) -> float | None:
        counted = limit(Options(rpm=1, **options))  # type: ignore[arg-type]  # a table of keyword arguments
        assert counted is not None
        counted.admit(1e9)
        return counted.admit(1e9)

    assert reset(seed=1) == reset(seed=1) != reset(seed=2)
    assert reset(phase=0) == 1e9 - 1e9 % 60 + 60


async def test_submits_alone_are_counted_unless_all_calls_are(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(rpm=2) as server:
        record = await submit(http, server.url)
        for _ in range(10):
            assert (await get(http, record["status_url"]))[0] == 200
        await submit(http, server.url)
        async with http.post(f"{server.url}/v1/sd1.5-outpaint", json=OUTPAINT) as answer:
            assert answer.status == 429
    async with sandbox(rpm=2, metered="all") as server:
        record = await submit(http, server.url)
        codes = [(await get(http, record["status_url"]))[0] for _ in range(3)]
        assert codes == [200, 429, 429]
        assert server.throttled == 2


async def test_a_refused_caller_who_waits_until_the_stamp_gets_through(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, now: Callable[[], float]
) -> None:
    async with sandbox(rpm=1) as server:
        await submit(http, server.url)
        for _ in range(3):
            async with http.post(f"{server.url}/v2/sd1.5-outpaint", json=OUTPAINT) as answer:
                assert answer.status == 429
                assert "Retry-After" not in answer.headers
                reset = datetime.fromisoformat(answer.headers["x-rate-limit-reset-at-utc"]).timestamp()
            await anyio.sleep(reset - now())
            await submit(http, server.url)


@pytest.mark.parametrize("wrong", [{"rpm": 0}, {"workers": 0}, {"ttl": -1}, {"service": -1}, {"port": 70000}])
def test_options_that_no_server_could_keep_to_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)  # type: ignore[arg-type]  # wrong on purpose
