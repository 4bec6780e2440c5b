"""One task's way, step by step, each step recorded: the heart, meant to be read.

    planned -> submitting -> submitted -> ready -> done
                   |             |          |
               doubtful      planned or failed, as the errors and the policy say

    submitting.py        planned, doubtful: the intent, the POST, and what becomes of it
    cold_model.py        planned: whether a v1 call may go beside others
    fetching.py          submitted, ready: status calls, the result, the files
    relinking.py         ready: new links in the place of dead ones
    expired_records.py   submitted, ready: what the history tells when the record does not
    outcomes.py          how a request ends, whichever way its answer came

Rule: intent before the deed, fact right after it. A step that can do nothing more now returns the entry it
was given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from batcher import errors
from batcher.engine.admission import InFlight
from batcher.engine.lifecycle.expired_records import ExpiredRecords
from batcher.engine.lifecycle.fetching import Fetching
from batcher.engine.lifecycle.outcomes import Outcomes
from batcher.engine.lifecycle.submitting import Submitting
from batcher.engine.stopping import Stopping
from batcher.engine.submission_ages import SubmissionAges
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.task import State

__all__ = ["ExpiredRecords", "Fetching", "Lifecycle", "Outcomes", "Submitting"]


class Lifecycle:
    """Which step serves which state of a task."""

    def __init__(
        self,
        ledger: Ledger,
        submitting: Submitting,
        fetching: Fetching,
        in_flight: InFlight,
        ages: SubmissionAges,
        stopping: Stopping,
    ) -> None:
        self._ledger = ledger
        self._submitting = submitting
        self._in_flight = in_flight
        self._ages = ages
        self._stopping = stopping
        self.outage = submitting.outage
        self.pending_posts = submitting.pending_posts
        self.brake = submitting.brake
        self.source_changed = submitting.source_changed
        self._steps: Mapping[State, Callable[[TaskEntry], Awaitable[TaskEntry]]] = {
            State.DOUBTFUL: submitting.resolve_doubtful,
            State.SUBMITTED: fetching.poll,
            State.READY: fetching.fetch_files,
        }

    async def advance(self, entry: TaskEntry) -> TaskEntry:
        """Takes a task as far as it can go now, and returns it as the ledger has it then.

        Where an error stops the run, `stopping` has it; the task stays as it was recorded.
        """
        try:
            if entry.state is State.PLANNED:
                entry = await self._submitting.submit(entry)
            while (step := self._steps.get(entry.state)) is not None:
                if entry.state is State.SUBMITTED:
                    self._in_flight.resumed(entry.id)
                else:
                    self._in_flight.leave(entry.id, finished=entry.state is State.READY)
                before = entry
                entry = await step(entry)
                if entry is before:
                    break
        except errors.StaleTask:
            # `batcher retry` moved it while we asked about it, and it is in the queue again; or `batcher
            # keep` withdrew it before it was submitted.
            return self._ledger.entry(entry.id)
        except (errors.FatalForRun, errors.DiskError, errors.LedgerError) as error:
            self._stopping.for_error(error)
            return self._ledger.entry(entry.id)
        finally:
            self._ages.forget(entry.id)
        return entry
