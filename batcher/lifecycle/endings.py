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
from batcher.pacing.pause import LONGEST_PAUSE
from batcher.uploads import Uploads

SHORTEST_PAUSE = 1.0
"""Seconds, also where a stamp is past."""


class Endings:
    """Records the end of a request. `luck` draws the jitter, in [0, 1)."""

    def __init__(
        self, rules: Rules, ledger: Ledger, delivery: Delivery, uploads: Uploads, *, luck: Callable[[], float]
    ) -> None:
        self._rules = rules
        self._ledger = ledger
        self._delivery = delivery
        self._uploads = uploads
        self._luck = luck
        self._resubmitted: set[int] = set()
        self._uploaded_again: set[int] = set()

    async def completed(self, entry: Entry, result: wire.Result) -> Entry:
        """The result is on disk, its URLs and the bytes it carried, before any other byte is fetched."""
        if not result.outputs:
            # What it holds instead differs from task to task: in the reason, no two tasks would fail alike.
            reason = "NO_PICTURE: the result has no picture in it"
            detail = f"{reason}: {result.excerpt}"
            return self._ledger.failed(entry, reason, "completed", cost=result.cost, detail=detail)
        outputs: Sequence[tuple[wire.Output, str | None]] = [(output, None) for output in result.outputs]
        if any(output.data is not None for output in result.outputs):
            with anyio.CancelScope(shield=True):
                outputs = await self._delivery.spooled(in_force(entry).id, result.outputs)
        entry = self._ledger.ready(entry, result, outputs)
        await self._ledger.committed()
        return entry

    def found_in_spool(self, entry: Entry) -> Entry | None:
        """A crash came between the bytes of an answer and their record: they are what was paid for. What the
        answer said beside them, as its cost, is not known any more."""
        submission = in_force(entry)
        names = self._delivery.left_in_spool(submission.id, submission.images)
        if not names:
            return None
        return self._ledger.ready(entry, wire.Result(()), [(wire.Output(), name) for name in names])

    def ran_and_failed(self, entry: Entry, error: errors.InferenceFailed) -> Entry:
        if self.wants_its_files_anew(error, entry):
            return self._ledger.planned(entry, "failed", error.reason, spent=False)
        decision = self.decide(error, entry)
        if isinstance(decision, retry.GiveUp):
            return self._ledger.failed(entry, decision.reason, "failed")
        return self._ledger.planned(entry, "failed", error.reason, not_before=decision.at, spent=False)

    def wants_its_files_anew(self, error: errors.ApiError, entry: Entry) -> bool:
        """Whether the URL of an earlier upload may have died: once per run the task is submitted with new
        ones. A request that did not complete costs nothing."""
        if entry.id in self._uploaded_again or not wire.blames_an_input(error.message):
            return False
        if not self._uploads.forget(entry.task, in_force(entry).submitted_at):
            return False
        self._uploaded_again.add(entry.id)
        return True

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

    def after_upload_throttling(self, error: errors.Throttled) -> float:
        """The storage is another host, for which no gate pauses: whoever was throttled waits by itself."""
        now = self._ledger.now()
        if error.reset_at is None:
            return self.after_throttling(error)
        return min(max(error.reset_at, now + SHORTEST_PAUSE), now + LONGEST_PAUSE)


def in_force(entry: Entry) -> Submission:
    """The submission of a task that has one. Raises LedgerError."""
    if entry.submission is None:
        raise errors.LedgerError(f"task {entry.task.name} has no submission in force")
    return entry.submission
