"""Who works on bytes: threads of this process, or workers elsewhere (`distribute`). The one seam between.

Law: what is given away is work on bytes alone: a function of a module, done twice as well as once, that needs
neither the key nor the ledger. What is due first goes first, and no more is under way than there are hands.
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

from batcher.destination import Destination
from batcher.download import Landed, fetch

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_once(item: object) -> float:
    """Seconds for work of which nothing is known but that it is small."""
    return 0.0


class Hands(Protocol):
    """Those who work on bytes."""

    @property
    def size(self) -> int:
        """How much they work on at a time."""

    @property
    def elsewhere(self) -> bool:
        """Whether what they work on leaves this process, as a whole."""

    async def do(self, work: Callable[..., Result], *values: object, due: float = math.inf) -> Result:
        """`work(*values)`; what is due first (Unix s) goes first. Raises what it raises."""

    def over(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        longest: Callable[[Item], float] = at_once,
    ) -> Generator[Result]:
        """`work` of each item, in their order, several under way; it should not take longer than `longest`
        says (s). Blocks. Raises what `work` raises. Once it is closed, nobody here works on them any more."""

    def see(self, folder: Path) -> None:
        """Whoever works here sees what is written into this folder when it returns. Raises UsageError."""


class Carrier(Hands, Protocol):
    """Hands that bring pictures from the file host to their destination."""

    async def fetch(self, url: str, part: Path, due: float) -> Landed:
        """Downloads and verifies a picture, which waits for its name then. Raises as `download.fetch`."""

    async def settle(self, landed: Landed, where: Destination, name: str) -> None:
        """Gives it that name. Raises as `Destination.settle`."""

    def drop(self, landed: Landed) -> None:
        """Nobody waits for it any more."""


class Room:
    """So many at a time; among those who wait, the one that is due first goes first."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    @asynccontextmanager
    async def turn(self, due: float) -> AsyncIterator[None]:
        """Held while the block runs."""
        if self._free:
            self._free -= 1
        else:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (due, next(self._number), told))
            try:
                await told
            except asyncio.CancelledError:
                if told.done() and not told.cancelled():
                    self._leave()
                raise
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        """The place goes to the next one, or is free."""
        while self._waiting:
            _, _, told = heapq.heappop(self._waiting)
            if not told.done():
                told.set_result(None)
                return
        self._free += 1


class Threads:
    """Threads of this process."""

    size = min(8, os.cpu_count() or 1)
    elsewhere = False

    async def do(self, work: Callable[..., Result], *values: object, due: float = math.inf) -> Result:
        return await asyncio.to_thread(work, *values)

    def see(self, folder: Path) -> None:
        """It is this machine's."""

    def over(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        longest: Callable[[Item], float] = at_once,
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
                for left in under_way:
                    left.cancel()


class Here(Threads):
    """This process: its threads, and connections of its own; at most `downloads` pictures come at a time.

    `called` counts each download.
    """

    def __init__(
        self, session: aiohttp.ClientSession, *, downloads: int, called: Callable[[str], None]
    ) -> None:
        self._session = session
        self._called = called
        self._room = Room(downloads)

    async def fetch(self, url: str, part: Path, due: float) -> Landed:
        async with self._room.turn(due):
            return await fetch(self._session, url, part, self._called)

    async def settle(self, landed: Landed, where: Destination, name: str) -> None:
        await where.settle(landed.part, name)

    def drop(self, landed: Landed) -> None:
        landed.part.unlink(missing_ok=True)
