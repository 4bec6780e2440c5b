"""A job whose rejected pictures are made anew, and commands beside it."""

from __future__ import annotations

import asyncio
from typing import Any

from batcher.cli import ended

PARAMS = {
    "image": "https://photos.example/one.png",
    "prompt": "a street in {{ place }}",
    "seed": "{{ seed }}",
}
DRAWN: dict[str, Any] = {"seed": 42, "params": PARAMS, "checks": {"blank": "reject"}, "redo": 2}


async def said(*arguments: str) -> int:
    return await asyncio.to_thread(ended, list(arguments))
