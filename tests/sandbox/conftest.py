"""A session that carries a key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.caller import KEY


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}, timeout=timeout) as session:
        yield session
