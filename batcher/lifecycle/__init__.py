"""One task's way, step by step, each step recorded: the heart, meant to be read.

    planned -> submitting -> submitted -> ready -> done
                   |             |          |
               doubtful      planned or failed, as the errors' verdicts and the policy say

    submitting.py   planned, doubtful: the intent, the POST, and what becomes of it
    fetching.py     submitted, ready: asking, the result, the files
    endings.py      how a request ends, whichever way its answer came
    rules.py        what the manifest says about it

Law: intent before the deed, fact right after it. A step that can do nothing more now returns the entry it
was given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from batcher import errors
from batcher.ledger.entries import Entry
from batcher.ledger.writer import Ledger
from batcher.lifecycle.endings import Endings
from batcher.lifecycle.fetching import Fetching
from batcher.lifecycle.rules import Rules
from batcher.lifecycle.submitting import Submitting
from batcher.stopping import Stopping
from batcher.task import State

__all__ = ["Endings", "Fetching", "Lifecycle", "Rules", "Submitting"]


class Lifecycle:
    """Which step serves which state."""

    def __init__(
        self, ledger: Ledger, submitting: Submitting, fetching: Fetching, stopping: Stopping
    ) -> None:
        self._ledger = ledger
        self._submitting = submitting
        self._stopping = stopping
        self.outage = submitting.outage
        self._steps: Mapping[State, Callable[[Entry], Awaitable[Entry]]] = {
            State.DOUBTFUL: submitting.settle_doubt,
            State.SUBMITTED: fetching.ask,
            State.READY: fetching.fetch_files,
        }

    async def live(self, entry: Entry) -> Entry:
        """Takes a task as far as it goes now, and returns it as the ledger has it then.

        What stops the run is told to `stopping`; the task stays as it was recorded.
        """
        try:
            if entry.state is State.PLANNED:
                entry = await self._submitting.submit(entry)
            while (step := self._steps.get(entry.state)) is not None:
                before = entry
                entry = await step(entry)
                if entry is before:
                    break
        except errors.Overtaken:
            # `batcher retry` moved it while we asked about it; it is in the queue again.
            return self._ledger.entry(entry.id)
        except (errors.StopsTheRun, errors.DiskError, errors.LedgerError) as error:
            self._stopping.for_error(error)
            return self._ledger.entry(entry.id)
        return entry
