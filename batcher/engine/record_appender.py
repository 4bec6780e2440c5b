"""What a run writes down for others while it goes on: the growing records.

Rule: the ledger is the truth; what stands here is written anew from it at the end. So what the disk refuses
meanwhile stops nothing, and no answer that is in the air.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import IO, Any

import anyio

from batcher import errors
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.results.report import record_files
from batcher.storage.download import OutputFolder
from batcher.task import State

APPEND_SECONDS = 1.0


class _GrowingFile:
    """One of the records, as far as the disk takes its lines: none follows one that was refused."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._refused = False

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """They are in the file when this returns, or are left to the end of the run."""
        if self._refused:
            return
        try:
            self._file.writelines(map(record_files.line, lines))
            self._file.flush()
        except OSError:
            self._refused = True

    def close(self) -> None:
        """No more lines."""
        with suppress(OSError):
            self._file.close()


class RecordAppender:
    """metadata.jsonl and errors.jsonl grow during the run; at its end they are written anew.

    Lines of delivered pictures follow within a second: asked for together, they cost the ledger a tenth.
    """

    def __init__(self, folder: OutputFolder, ledger: Ledger) -> None:
        self._ledger = ledger
        self._done: list[TaskEntry] = []
        self._metadata = _GrowingFile(folder.destination.open_append("metadata.jsonl"))
        self._errors = _GrowingFile(folder.destination.open_append("errors.jsonl"))

    def ended(self, entry: TaskEntry) -> None:
        """One task was delivered, set aside or failed."""
        if entry.state is State.REJECTED:
            self._ledger.record_source_facts(entry)
            return
        if entry.state is State.DONE:
            self._ledger.record_source_facts(entry)
            self._done.append(entry)
            return
        self._errors.append(self._ledger.missed(entry))

    async def run(self) -> None:
        """Writes the lines of what was delivered, once a second, until it is cancelled."""
        while True:
            await anyio.sleep(APPEND_SECONDS)
            self._append_delivered()

    def _append_delivered(self) -> None:
        done, self._done = self._done, []
        if done:
            # A ledger that refuses ends the run elsewhere, once all answers are in.
            with suppress(errors.DiskError, errors.LedgerError):
                self._metadata.append(self._ledger.metadata(*done))

    def close(self) -> None:
        """The last lines, and no more."""
        self._append_delivered()
        self._metadata.close()
        self._errors.close()
