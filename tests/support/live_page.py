"""The live page: its server, and the events that it sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio

from batcher.results.dashboard import serve
from batcher.results.review import ReviewSession


@asynccontextmanager
async def live_page(
    output: Path, now: Callable[[], float], review: ReviewSession | None = None
) -> AsyncIterator[str]:
    """The address of a live page, or of a review's, as long as the block runs."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: serve(output, port=0, announce=told.set_result, now=now, review=review))
        yield await told
        tasks.cancel_scope.cancel()


async def server_sent_events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            yield name, json.loads(text.removeprefix("data: "))
