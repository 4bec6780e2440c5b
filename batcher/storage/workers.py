"""Who works on bytes: threads of this process, or workers elsewhere (`ray/`). The one seam between.

Rule: what is given away is work on bytes alone: a function of a module, done twice as well as once, that
needs neither the key nor the ledger. What is due first goes first, and no more is under way than there are
workers.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Protocol, TypeVar

import aiohttp

from batcher.storage.destination import Destination
from batcher.storage.download import VerifiedFile, fetch

Item = TypeVar("Item")
Result = TypeVar("Result")


def no_time(item: object) -> float:
    """Seconds for work of which nothing is known but that it is small."""
    return 0.0


class Workers(Protocol):
    """Those who work on bytes."""

    @property
    def size(self) -> int:
        """How much they work on at a time."""

    @property
    def remote(self) -> bool:
        """Whether what they work on leaves this process, as a whole."""

    async def run(self, work: Callable[..., Result], *values: object, due: float = math.inf) -> Result:
        """`work(*values)`; what is due first (Unix s) goes first. Raises what it raises."""

    def map(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        longest: Callable[[Item], float] = no_time,
    ) -> Generator[Result]:
        """`work` of each item, in their order, several under way; it should not take longer than `longest`
        says (s). Blocks. Raises what `work` raises. Once it is closed, nobody here works on them any more."""

    def require_shared(self, folder: Path) -> None:
        """Whoever works here sees what is written into this folder when it returns. Raises UsageError."""


class Transfers(Workers, Protocol):
    """Workers that bring pictures from the file host to their destination."""

    async def fetch(self, url: str, part: Path, due: float) -> VerifiedFile:
        """Downloads and verifies a picture, which waits for its name then. Raises as `download.fetch`."""

    async def publish(self, file: VerifiedFile, where: Destination, path: str) -> None:
        """Gives it that path. Raises as `Destination.publish`."""

    def discard(self, file: VerifiedFile) -> None:
        """Nobody waits for it any more."""


class PrioritySemaphore:
    """So many at a time; among those who wait, the one that is due first goes first."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiters: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    @asynccontextmanager
    async def acquire(self, due: float) -> AsyncIterator[None]:
        """Held while the block runs."""
        if self._free:
            self._free -= 1
        else:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiters, (due, next(self._number), waiter))
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._release()
                raise
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        """The place goes to the next one, or is free."""
        while self._waiters:
            _, _, waiter = heapq.heappop(self._waiters)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1


class Threads:
    """Threads of this process."""

    size = min(8, os.cpu_count() or 1)
    remote = False

    async def run(self, work: Callable[..., Result], *values: object, due: float = math.inf) -> Result:
        return await asyncio.to_thread(work, *values)

    def require_shared(self, folder: Path) -> None:
        """It is this machine's."""

    def map(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        longest: Callable[[Item], float] = no_time,
    ) -> Generator[Result]:
        with ThreadPoolExecutor(self.size, "bytes") as pool:
            under_way: deque[Future[Result]] = deque()
            try:
                for item in items:
                    under_way.append(pool.submit(work, item))
                    if len(under_way) > self.size:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                for future in under_way:
                    future.cancel()


class LocalTransfers(Threads):
    """This process: its threads, and connections of its own; at most `downloads` pictures come at a time.

    `called` counts each download.
    """

    def __init__(
        self, session: aiohttp.ClientSession, *, downloads: int, called: Callable[[str], None]
    ) -> None:
        self._session = session
        self._called = called
        self._semaphore = PrioritySemaphore(downloads)

    async def fetch(self, url: str, part: Path, due: float) -> VerifiedFile:
        async with self._semaphore.acquire(due):
            return await fetch(self._session, url, part, self._called)

    async def publish(self, file: VerifiedFile, where: Destination, path: str) -> None:
        await where.publish(file.part, path)

    def discard(self, file: VerifiedFile) -> None:
        file.part.unlink(missing_ok=True)
