"""What a status call is worth at this moment: the figures of the run from which the poller decides.

Rule: calls have a price while submits wait for the budget of calls, and only then.
"""

from __future__ import annotations

from collections.abc import Callable

from batcher.api.pacing import Pacing
from batcher.api.polling import PollTiming, price_of_call
from batcher.engine.admission import InFlight
from batcher.ledger.ledger import Ledger
from batcher.task import State


class PollCost:
    """The price of a call, and whether a call can still cost somebody else anything."""

    def __init__(
        self,
        ledger: Ledger,
        pacing: Pacing,
        polling: PollTiming,
        in_flight: InFlight,
        *,
        to_come: Callable[[], int] | None = None,
    ) -> None:
        """`to_come`: planned tasks that will be submitted, where these are not all."""
        self._ledger = ledger
        self._to_come = to_come or (lambda: ledger.counts[State.PLANNED])
        self._pacing = pacing
        self._polling = polling
        self._in_flight = in_flight

    def seconds(self) -> float:
        """So many seconds of waiting a call is worth now; 0: calls are free."""
        rate = self._pacing.rate
        if not self._pacing.scarce or rate is None:
            return 0.0
        return price_of_call(
            sum(self._pacing.waiting.values()),
            self._to_come(),
            rate / 60,
            self._polling.mean,
            self._in_flight.size,
        )

    def is_free_for_good(self) -> bool:
        """Whether no more will be submitted, and asking more often costs nothing."""
        counts = self._ledger.counts
        return self._pacing.free and not self._to_come() and not counts[State.SUBMITTING]
