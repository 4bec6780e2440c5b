"""How many bytes of pictures are on their way to the API at a time: bandwidth shall be the limit, not memory.

Rule: first come, first served; what is larger than all that is allowed goes alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MOST = 256 << 20
"""Bytes."""


class BytesInAir:
    """At most so many bytes at a time."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.held = 0

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Room for `size` bytes, held while the block runs."""
        size = min(size, self._most)
        if self._waiters or self.held + size > self._most:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((size, future))
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._release(size)
                else:
                    self._admit()  # it may have stood in the way of smaller ones
                raise
        else:
            self.held += size
        try:
            yield
        finally:
            self._release(size)

    def _release(self, size: int) -> None:
        self.held -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiters:
            size, future = self._waiters[0]
            if not future.done():
                if self.held + size > self._most:
                    return
                self.held += size
                future.set_result(None)
            self._waiters.popleft()
