"""A service that is down fails nobody: submits (or uploads) pause, then one probe at a time asks.

Rule: waiting is not failing. Three submits in a row lost to 5xx, refusals or cuts are an outage; the waits
between probes grow; ten minutes without one coming through end the run, its tasks still planned. So does an
hour of nothing but 429s: a run always ends. Answers that cannot be read are no outage, for each may be a paid
job: after the first one a single probe leaves, and its answer decides.
"""

from __future__ import annotations

import asyncio
import math

from batcher import errors
from batcher.api.signal import Signal

LOST_IN_A_ROW = 3
UNREAD_IN_A_ROW = 3
"""So many answers that cannot be read end the run without a probe: submits in the air bring them."""
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
GIVE_UP_SECONDS = 600.0
THROTTLED_SECONDS = 3600.0
"""For so long a limit may let nothing pass..."""
STILL_THROTTLED = 600.0
"""...where no two 429s are further apart: between others nobody asked."""


class Outage:
    """Whether a service is down, as the calls of this run have found it. Times are the event loop's.

    `unread`: what an earlier run's last answer said, where it could not be read.
    """

    def __init__(self, unread: str = "") -> None:
        self._in_a_row = 0
        self._unread = 1 if unread else 0
        self._since: float | None = None
        self._throttled: tuple[float, float] | None = None
        self._waits = 0
        self._closed_until = 0.0
        self._probing = False
        self._reason = unread
        self._changed = Signal()

    @property
    def down(self) -> bool:
        """Whether submits are held back, but for a probe."""
        return self._unread > 0 or self._in_a_row >= LOST_IN_A_ROW

    @property
    def unread(self) -> bool:
        """Whether the last answers could not be read."""
        return self._unread > 0

    @property
    def reason(self) -> str:
        """What the last lost submit said, while the API is down; else empty."""
        return self._reason if self.down else ""

    def blocked(self) -> bool:
        """Whether a submit must wait at this moment."""
        return self.down and (self._probing or asyncio.get_running_loop().time() < self._closed_until)

    async def over(self) -> None:
        """Waits until a submit may leave: the API is back, or it is time for a probe."""
        while self.blocked():
            remaining = self._closed_until - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(None if self._probing else max(remaining, 0.0)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def leaving(self) -> bool:
        """A submit leaves; whether it is the outage's probe, which must be told with its end."""
        self._probing = self.down
        return self.down

    def withdrawn(self, *, probe: bool) -> None:
        """It did not leave after all."""
        if probe:
            self._probing = False
            self._changed.notify()

    def accepted(self) -> None:
        """A submit's answer was a yes that was understood."""
        self._unread = 0
        self.answered()

    def answered(self) -> None:
        """The API answered a submit sensibly, yes or no: it is there."""
        self._in_a_row = self._waits = 0
        self._since = self._throttled = None
        self._probing = False
        self._changed.notify()

    def throttled(self, reason: str) -> None:
        """A submit got a 429: the API is there, and waiting is not failing. Raises ApiDown after an hour of
        nothing else."""
        first, last = self._throttled or (math.inf, -math.inf)
        self.answered()
        now = asyncio.get_running_loop().time()
        self._throttled = (first if now - last <= STILL_THROTTLED else now), now
        if now - self._throttled[0] >= THROTTLED_SECONDS:
            raise errors.ApiDown(
                f"the limit let nothing pass for {THROTTLED_SECONDS / 60:.0f} minutes; it says: {reason}"
            )

    def not_read(self, reason: str, *, probe: bool) -> None:
        """A submit was answered by what cannot be read. Raises AnswersUnread when it was the probe after such
        an answer, or one of several in a row."""
        again = probe and self._unread > 0
        self._unread += 1
        self._reason = reason
        self._closed_until = asyncio.get_running_loop().time() + FIRST_WAIT
        self._probing = self._probing and not probe
        self._changed.notify()
        if again or self._unread >= UNREAD_IN_A_ROW:
            self._closed_until = math.inf  # no other leaves while the run comes to its end
            raise errors.AnswersUnread(
                f"answers to submits are not understood, and each may be a paid job; the last one: {reason}"
            )

    def lost(self, reason: str, *, probe: bool) -> None:
        """A submit was lost; only its probe's end lets an outage try again. Raises ApiDown after ten minutes
        of nothing else."""
        now = asyncio.get_running_loop().time()
        self._reason = reason
        self._in_a_row += 1
        if self.down and self._since is None:
            self._since = now
        if self.down and (probe or self._waits == 0):
            self._closed_until = now + min(LONGEST_WAIT, FIRST_WAIT * 2.0**self._waits)
            self._waits += 1
        self._probing = self._probing and not probe
        self._changed.notify()
        if self._since is not None and now - self._since >= GIVE_UP_SECONDS:
            raise errors.ApiDown(
                f"nothing came through for {GIVE_UP_SECONDS / 60:.0f} minutes; the last time: {reason}"
            )
