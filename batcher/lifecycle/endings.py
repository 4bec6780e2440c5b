"""How a request ends, whichever way its answer came: with pictures, FAILED, or with its record gone.

Law: between an answer and its record nothing is awaited but the bytes that came with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from batcher import errors, retry, wire
from batcher.delivery import Delivery
from batcher.ledger.entries import Entry, Submission
from batcher.ledger.writer import Ledger
from batcher.lifecycle.rules import Rules


class Endings:
    """Records the end of a request. `luck` draws the jitter, in [0, 1)."""

    def __init__(
        self, rules: Rules, ledger: Ledger, delivery: Delivery, *, luck: Callable[[], float]
    ) -> None:
        self._rules = rules
        self._ledger = ledger
        self._delivery = delivery
        self._luck = luck
        self._resubmitted: set[int] = set()

    async def completed(self, entry: Entry, result: wire.Result) -> Entry:
        """The result is on disk, its URLs and the bytes it carried, before any other byte is fetched."""
        if not result.outputs:
            reason = f"NO_PICTURE: the result has no picture in it: {result.excerpt[:120]}"
            return self._ledger.failed(entry, reason, "completed", cost=result.cost)
        outputs: Sequence[tuple[wire.Output, str | None]] = [(output, None) for output in result.outputs]
        if any(output.data is not None for output in result.outputs):
            with anyio.CancelScope(shield=True):
                outputs = await self._delivery.spooled(in_force(entry).id, result.outputs)
        entry = self._ledger.ready(entry, result, outputs)
        await self._ledger.committed()
        return entry

    def ran_and_failed(self, entry: Entry, error: errors.InferenceFailed) -> Entry:
        decision = self.decide(error, entry)
        if isinstance(decision, retry.GiveUp):
            return self._ledger.failed(entry, decision.reason, "failed")
        return self._ledger.planned(entry, "failed", error.reason, not_before=decision.at, spent=False)

    def expired(self, entry: Entry, error: errors.ApiError) -> Entry:
        """Its record is gone: resubmitted once per run, or failed; either way counted as lost."""
        reason = f"{errors.RecordGone.label}: {error.message}"
        if self._rules.expired == "fail" or entry.id in self._resubmitted:
            return self._ledger.failed(entry, reason, "lost")
        self._resubmitted.add(entry.id)
        return self._ledger.planned(entry, "lost", reason, spent=False)

    def decide(self, error: errors.TaskError, entry: Entry) -> retry.Decision:
        return retry.decide(
            error,
            entry.attempts + 1,
            self._ledger.now(),
            policy=self._rules.retry,
            luck=self._luck(),
            failed_before=self._ledger.failed_before(entry)
            if isinstance(error, errors.InferenceFailed)
            else 0,
        )

    def after_throttling(self, error: errors.Throttled) -> float:
        """A stamp pauses everybody, in the gate; without one this call alone backs off."""
        if error.reset_at is not None:
            return 0.0
        return self._ledger.now() + retry.again_asking(3, luck=self._luck())


def in_force(entry: Entry) -> Submission:
    """The submission of a task that has one. Raises LedgerError."""
    if entry.submission is None:
        raise errors.LedgerError(f"task {entry.task.name} has no submission in force")
    return entry.submission
