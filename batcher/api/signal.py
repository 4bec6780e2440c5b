"""One task tells others that something changed, and they look again.

Rule: a signal says that something changed, never what: whoever wakes checks for itself.
"""

from __future__ import annotations

import asyncio


class Signal:
    """Wakes everybody who waits for it. It has no memory: who waits later waits for the next `notify`.

    Between the check and `wait` nothing may be awaited, or a change would go by unseen.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Something changed."""
        self._event.set()

    async def wait(self) -> None:
        """Until the next `notify`."""
        if self._event.is_set():
            self._event = asyncio.Event()
        await self._event.wait()
