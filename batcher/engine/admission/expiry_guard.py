"""Where every call counts, no submit takes the call that something in flight needs to be fetched in time.

Rule: what is paid for is fetched before anything new is paid for.
"""

from __future__ import annotations

import asyncio

from batcher.api.pacing import Pacing
from batcher.engine.admission.in_flight_limit import InFlightLimit
from batcher.engine.poller import Poller
from batcher.ledger.ledger import Ledger
from batcher.task import State


class ExpiryGuard:
    """Holds submits while the calls left are owed to what is in flight."""

    def __init__(self, ledger: Ledger, pacing: Pacing, poller: Poller, limit: InFlightLimit) -> None:
        self._ledger = ledger
        self._pacing = pacing
        self._poller = poller
        self._limit = limit

    def holds(self) -> bool:
        """Whether another submit would take a call that something in flight needs."""
        rate = self._pacing.sure_rate
        return rate is not None and not self._limit.fits_before_expiry(
            self._poller.submission_times,
            self._ledger.counts[State.SUBMITTING],
            rate=rate / 60,
            now=asyncio.get_running_loop().time(),
        )
