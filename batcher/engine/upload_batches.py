"""Small files travel together: what waits while uploads are under way goes in one call.

Rule: which URL is whose is known by order and number alone, so an answer with another number of URLs is
believed in nothing, and its files go one by one; so do those of a call that was refused, for one bad file
must not fail the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from batcher import errors
from batcher.api.client import StreamedBody

SMALL = 512 * 1024
"""Bytes of a file that may travel with others."""
MOST_FILES, MOST_BYTES = 16, 4 * 1024 * 1024
"""So many of them in a call."""
AT_ONCE = 8
"""So many calls with small files are under way at a time; what comes meanwhile waits, and goes together."""


class _Turn(Enum):
    """What a file that waited is to do."""

    LEAD = "send a call with those that wait"
    ALONE = "go by itself"


@dataclass(slots=True, eq=False)
class _File:
    path: str
    size: int
    read: Callable[[], StreamedBody]
    turn: asyncio.Future[str | _Turn]


class UploadBatches:
    """Sends files by `call`, which takes their paths and contents, makes one call, and gives their URLs in
    order. A content is read anew for every call."""

    def __init__(self, call: Callable[[Sequence[str], Sequence[StreamedBody]], Awaitable[list[str]]]) -> None:
        self._call = call
        self._waiting: deque[_File] = deque()
        self._under_way = 0
        self._together = True

    async def send(self, path: str, size: int, read: Callable[[], StreamedBody]) -> str:
        """The URL of a file of `size` bytes. Raises what `call` raises."""
        if size > SMALL or not self._together:
            return await self._alone(path, read)
        file = _File(path, size, read, asyncio.get_running_loop().create_future())
        if self._under_way < AT_ONCE:
            self._under_way += 1
            return await self._lead(file)
        self._waiting.append(file)
        try:
            turn = await file.turn
        except asyncio.CancelledError:
            if _leads(file.turn):
                self._pass_on()
            elif file in self._waiting:
                self._waiting.remove(file)
            raise
        if turn is _Turn.LEAD:
            return await self._lead(file)
        return await self._alone(path, read) if isinstance(turn, _Turn) else turn

    async def _alone(self, path: str, read: Callable[[], StreamedBody]) -> str:
        return (await self._call([path], [read()]))[0]

    async def _lead(self, file: _File) -> str:
        """Sends a call with this file and those that wait; a slot is held for it."""
        files = [file, *self._take(file.size)]
        try:
            urls = await self._call([one.path for one in files], [one.read() for one in files])
        except BaseException as error:
            if len(files) == 1:
                raise
            if isinstance(error, asyncio.CancelledError):
                # The others need not end because this one does.
                self._tell(files[1:], _Turn.ALONE)
                raise
            if not isinstance(error, errors.UploadRejected | OSError):
                for one in files[1:]:
                    if not one.turn.done():
                        one.turn.set_exception(error)
                raise
            urls = []
        finally:
            self._pass_on()
        if len(files) == 1:
            return urls[0]
        if len(urls) != len(files) or len(set(urls)) != len(urls):
            if urls:
                self._together = False  # a storage that answers so cannot be told which URL is whose
            self._tell(files[1:], _Turn.ALONE)
            return await self._alone(file.path, file.read)
        for one, url in zip(files[1:], urls[1:], strict=True):
            if not one.turn.done():
                one.turn.set_result(url)
        return urls[0]

    def _take(self, size: int) -> list[_File]:
        """Those that wait, as many as a call takes."""
        taken: list[_File] = []
        while self._waiting and len(taken) + 1 < MOST_FILES and size + self._waiting[0].size <= MOST_BYTES:
            file = self._waiting.popleft()
            if not file.turn.done():
                taken.append(file)
                size += file.size
        return taken

    def _pass_on(self) -> None:
        """The slot goes to the first that waits."""
        while self._waiting:
            file = self._waiting.popleft()
            if not file.turn.done():
                file.turn.set_result(_Turn.LEAD)
                return
        self._under_way -= 1

    @staticmethod
    def _tell(files: Sequence[_File], turn: _Turn) -> None:
        for file in files:
            if not file.turn.done():
                file.turn.set_result(turn)


def _leads(turn: asyncio.Future[str | _Turn]) -> bool:
    """Whether a file that is cancelled had been given a slot."""
    if not turn.done() or turn.cancelled() or turn.exception() is not None:
        return False
    return turn.result() is _Turn.LEAD
