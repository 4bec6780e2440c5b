"""What a run writes down for others while it goes on: the growing records.

Rule: the ledger is the truth; what stands here is written anew from it at the end.
"""

from __future__ import annotations

import anyio

from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.results import report
from batcher.storage.download import OutputFolder
from batcher.task import State

APPEND_SECONDS = 1.0


class RecordAppender:
    """metadata.jsonl and errors.jsonl grow during the run; at its end they are written anew.

    Lines of delivered pictures follow within a second: asked for together, they cost the ledger a tenth.
    """

    def __init__(self, folder: OutputFolder, ledger: Ledger) -> None:
        self._ledger = ledger
        self._done: list[TaskEntry] = []
        self._metadata = folder.destination.open_append("metadata.jsonl")
        self._errors = folder.destination.open_append("errors.jsonl")

    def ended(self, entry: TaskEntry) -> None:
        """One task was delivered, set aside or failed."""
        if entry.state is State.REJECTED:
            self._ledger.record_source_facts(entry)
            return
        if entry.state is State.DONE:
            self._ledger.record_source_facts(entry)
            self._done.append(entry)
            return
        self._errors.writelines(map(report.line, self._ledger.missed(entry)))
        self._errors.flush()

    async def run(self) -> None:
        """Writes the lines of what was delivered, once a second, until it is cancelled."""
        while True:
            await anyio.sleep(APPEND_SECONDS)
            self._append_delivered()

    def _append_delivered(self) -> None:
        done, self._done = self._done, []
        if done:
            self._metadata.writelines(map(report.line, self._ledger.metadata(*done)))
            self._metadata.flush()

    def close(self) -> None:
        """The last lines, and no more."""
        self._append_delivered()
        self._metadata.close()
        self._errors.close()
