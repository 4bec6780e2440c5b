"""How many bytes of answers are in memory at a time: the others wait in their sockets for room.

Rule: memory does not follow what is in flight, nor how large its pictures are. An answer that says its size
begins when there is room for all of it; one that does not may outgrow the room, one at a time, so that each
comes to its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from batcher.api.signal import Signal

SIZE = 128 * 1024 * 1024
"""Bytes of answers that are read, or not yet written down. One answer alone may be larger."""


class Lease:
    """What one answer takes of it."""

    def __init__(self, memory: AnswerMemory) -> None:
        self._memory = memory
        self.held = 0

    async def reserve(self, size: int) -> None:
        """Waits until there is room for so many bytes more."""
        await self._memory.reserve(self, size)

    def release(self) -> None:
        """The bytes are written down, or nobody wants them."""
        self._memory.release(self)


@contextmanager
def released_on_error(room: Lease | None) -> Iterator[None]:
    """What an answer brought that came to nothing is held no longer."""
    try:
        yield
    except BaseException:
        if room is not None:
            room.release()
        raise


class AnswerMemory:
    """The room for the answers of one client; `most` is the most that was ever held."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._waiting: deque[Lease] = deque()
        self._overdrawn: Lease | None = None
        self._changed = Signal()
        self.held = self.most = 0

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Room for one answer, from its reading until the end of the block, where its bytes are written
        down."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            lease.release()

    async def reserve(self, lease: Lease, size: int) -> None:
        """Those who begin go in their order; who has begun goes on as soon as it fits."""
        if not self._fits(lease, size):
            if not lease.held:
                self._waiting.append(lease)
            try:
                while not self._fits(lease, size):
                    await self._changed.wait()
            finally:
                if lease in self._waiting:
                    self._waiting.remove(lease)
                    self._changed.notify()
        lease.held += size
        self.held += size
        self.most = max(self.most, self.held)

    def release(self, lease: Lease) -> None:
        """Gives all of it back."""
        if self._overdrawn is lease:
            self._overdrawn = None
        if lease.held:
            self.held -= lease.held
            lease.held = 0
        self._changed.notify()

    def _fits(self, lease: Lease, size: int) -> bool:
        if not lease.held:
            first = not self._waiting or self._waiting[0] is lease
            return first and (not self.held or self.held + size <= self._size)
        if self.held + size <= self._size:
            return True
        if self._overdrawn is None:
            self._overdrawn = lease
        return self._overdrawn is lease
