"""How a request ends, whichever way its answer came: with pictures, FAILED, or with its record gone.

Rule: between an answer and its record nothing is awaited but the bytes that came with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from batcher import errors
from batcher.api import retry, wire
from batcher.engine.delivery import Delivery
from batcher.engine.uploads import Uploads
from batcher.job.manifest import Manifest
from batcher.ledger.entries import TaskEntry, current_submission
from batcher.ledger.ledger import Ledger
from batcher.task import State

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 120.0
"""Seconds for which an upload waits after a 429, whatever its stamp says."""


MOST_UNASKED = 16
"""So many pictures of one result are fetched, where fewer were asked for."""


class Outcomes:
    """Records the end of a request, as the manifest wants it. `jitter` draws a number from [0, 1)."""

    def __init__(
        self,
        job: Manifest,
        ledger: Ledger,
        delivery: Delivery,
        uploads: Uploads,
        *,
        warn: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self._job = job
        self._warn = warn
        self._miscounted = False
        rules = job.retry
        self._policy = retry.RetryPolicy(
            attempts=rules.attempts,
            statuses=rules.statuses,
            first=rules.backoff.first,
            longest=rules.backoff.max,
            failed=rules.failed,
        )
        self._ledger = ledger
        self._delivery = delivery
        self._uploads = uploads
        self._jitter = jitter
        self._resubmitted: set[int] = set()
        self._uploaded_again: set[int] = set()

    async def completed(self, entry: TaskEntry, result: wire.Result) -> TaskEntry:
        """The result is on disk, its URLs and the bytes it carried, before any other byte is fetched."""
        if not result.outputs:
            # What it holds instead differs from task to task: in the reason, no two tasks would fail alike.
            reason = "NO_PICTURE: the result has no picture in it, and is billed"
            entry = self._ledger.failed(entry, reason, "completed", cost=result.cost)
            await self._keep_answer(entry, result.answer)
            return entry
        pictures = self._bounded(entry, result.outputs)
        outputs: Sequence[tuple[wire.Output, str | None]] = [(output, None) for output in pictures]
        if any(output.data is not None for output in pictures):
            try:
                with anyio.CancelScope(shield=True):
                    outputs = await self._delivery.spool(current_submission(entry).id, pictures)
            except errors.DiskError:
                self._without_bytes(entry, result, pictures)
                raise
        entry = self._ledger.ready(entry, result, outputs)
        await self._ledger.committed()
        return entry

    def _without_bytes(self, entry: TaskEntry, result: wire.Result, pictures: Sequence[wire.Output]) -> None:
        """The disk takes no pictures. A v1 answer comes once: that it is paid for is recorded all the same,
        and the next run has its files from the history. A v2 record tells it again."""
        if entry.state is State.SUBMITTING:
            outputs = self._delivery.spool_names(current_submission(entry).id, pictures)
            self._ledger.ready(entry, result, outputs)

    def _bounded(self, entry: TaskEntry, pictures: Sequence[wire.Output]) -> Sequence[wire.Output]:
        """What is fetched of a result: all that is paid for, but no flood. Other than was asked for, it is
        told."""
        asked = entry.task.images
        if len(pictures) != asked and not self._miscounted:
            self._miscounted = True
            self._warn(
                f"{entry.task.name}: {len(pictures):,} pictures came where {asked:,} were asked for "
                "(told once; errors.jsonl has each task that got fewer)"
            )
        return pictures[: max(asked, MOST_UNASKED)]

    async def ended_unknown(self, entry: TaskEntry, error: errors.NotUnderstood) -> TaskEntry:
        """It ended in a word that is not known, without a picture: failed, and perhaps paid."""
        entry = self._ledger.failed(entry, error.reason, "doubtful")
        await self._keep_answer(entry, error.answer)
        return entry

    async def _keep_answer(self, entry: TaskEntry, answer: bytes) -> None:
        """The whole of it, for people, once the move is recorded."""
        with anyio.CancelScope(shield=True):
            kept = await self._delivery.keep_answer(current_submission(entry).id, answer)
        self._ledger.note_detail(entry, f"{wire.message_of(answer)} (the whole answer: {kept})".lstrip())

    def recover_from_spool(self, entry: TaskEntry) -> TaskEntry | None:
        """A crash came between the bytes of an answer and their record: they are what was paid for. What the
        answer said beside them, as its cost, is not known any more."""
        names = self._delivery.left_in_spool(current_submission(entry).id)
        if not names:
            return None
        return self._ledger.ready(entry, wire.Result(()), [(wire.Output(), name) for name in names])

    def ran_and_failed(self, entry: TaskEntry, error: errors.InferenceFailed) -> TaskEntry:
        """It FAILED at the provider: submitted again as often as `retry.failed` says, then failed."""
        if self.needs_new_upload(error, entry):
            return self._ledger.planned(entry, "failed", error.reason, counts_attempt=False)
        decision = self.decide(error, entry)
        if isinstance(decision, retry.GiveUp):
            return self._ledger.failed(entry, decision.reason, "failed")
        return self._ledger.planned(
            entry, "failed", error.reason, not_before=decision.at, counts_attempt=False
        )

    def needs_new_upload(self, error: errors.ApiError, entry: TaskEntry) -> bool:
        """Whether the URL of an earlier upload may have died: once per run the task is submitted with new
        ones. A request that did not complete costs nothing."""
        if entry.id in self._uploaded_again or not wire.blames_an_input(error.message):
            return False
        if not self._uploads.forget(entry.task, current_submission(entry).submitted_at):
            return False
        self._uploaded_again.add(entry.id)
        return True

    def expired(self, entry: TaskEntry, error: errors.ApiError) -> TaskEntry:
        """Its record is gone: resubmitted once per run, or failed; either way counted as lost. One that was
        never found is not resubmitted: its id may be misread, and so would be the next."""
        reason = f"{errors.RecordGone.label}: {error.message}"
        if isinstance(error, errors.RecordNeverFound):
            return self._ledger.failed(entry, error.reason, "lost")
        if self._job.retry.expired == "fail" or entry.id in self._resubmitted:
            return self._ledger.failed(entry, reason, "lost")
        self._resubmitted.add(entry.id)
        return self._ledger.planned(entry, "lost", reason, counts_attempt=False)

    def decide(self, error: errors.TaskError, entry: TaskEntry) -> retry.Decision:
        """Whether the task is submitted again after `error`, and when."""
        return retry.decide(
            error,
            entry.attempts + 1,
            self._ledger.now(),
            policy=self._policy,
            jitter=self._jitter(),
            failed_before=self._ledger.failed_before(entry)
            if isinstance(error, errors.InferenceFailed)
            else 0,
        )

    def after_upload_throttling(self, error: errors.Throttled) -> float:
        """The storage is another host, for which no gate pauses: whoever was throttled waits by itself."""
        now = self._ledger.now()
        if error.reset_at is None:
            return now + retry.read_backoff(3, jitter=self._jitter())
        return min(max(error.reset_at, now + SHORTEST_PAUSE), now + LONGEST_PAUSE)
