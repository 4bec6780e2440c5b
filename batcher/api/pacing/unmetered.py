"""Whether the calls that are thought not to count have proved it.

Promise 3: a call that may count is made with caution, one that does not costs nothing. Pure: times are
seconds of one monotonic clock, and come from outside.
"""

from __future__ import annotations

import math

from batcher.api.pacing.rate import MINUTE


class UnmeteredEvidence:
    """Counts what passed since the last 429. `proved`: it is more than if all had counted."""

    def __init__(self) -> None:
        self.proved = False
        self._passed = 0
        self._since = -math.inf

    def passed(self, at: float, limit: float) -> None:
        """A call of any kind was accepted at `at`; `limit` is that of the calls that do count, per second.

        If all counted, no more could pass than is allowed in the minutes by a clock that the time since the
        first call touches. A full bucket of a minute's calls that drips meanwhile holds less.
        """
        if not self._passed:
            self._since = at
        self._passed += 1
        minutes = math.floor((at - self._since) / MINUTE) + 2
        self.proved = self.proved or self._passed > minutes * MINUTE * limit

    def refused(self) -> None:
        """A 429, whatever the call: what passed before it proves nothing any more."""
        self.proved, self._passed = False, 0
