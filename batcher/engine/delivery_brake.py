"""A run that pays and delivers nothing stops itself: the brake that counts deliveries, not answers.

Rule: only a file that stands under its name shows that paying makes sense. Before the first one no more than
ten are paid for, but for what is in flight when the first result comes; once ten in a row (a hundred, after a
hundred deliveries) have no file that can be had, submits pause until all that is paid was tried, then one
probe tries, and where its file cannot be had either, the run ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from batcher import errors
from batcher.api.signal import Signal
from batcher.engine.stopping import Stopping
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.task import State

FIRST_IN_A_ROW = 10
LATER_IN_A_ROW = 100
PROVEN = 100
"""So many deliveries of this run show that files can be had: it is more patient then."""
NOTE = "undelivered"
"""The last results of which no file could be had, and why, among the ledger's notes, as long as none was had
since: the next run begins with them."""


class DeliveryBrake:
    """Holds submits while paid results bring no files."""

    def __init__(self, ledger: Ledger, stopping: Stopping) -> None:
        self._ledger = ledger
        self._stopping = stopping
        tasks, self._why = _remembered(ledger)
        self._in_a_row = dict.fromkeys(tasks)
        self._ended = 0
        self._delivered = 0
        self._awaited: set[int] = set()
        self._probe: int | None = None
        self._changed = Signal()

    @property
    def is_on(self) -> bool:
        """Whether so many results in a row have no file that only a probe may be submitted."""
        most = LATER_IN_A_ROW if self._delivered >= PROVEN else FIRST_IN_A_ROW
        return len(self._in_a_row) >= most

    @property
    def reason(self) -> str:
        """Why submits are held, as a sentence; empty while they are not."""
        if not self.is_on:
            return "waiting for the first file before more is paid for" if self.blocked() else ""
        return f"no file of the last {len(self._in_a_row):,} paid results can be had: {self._why}"

    def blocked(self) -> bool:
        """Whether a submit must wait at this moment: for a file, or until nothing else can bring one."""
        counts = self._ledger.counts
        in_flight = counts[State.SUBMITTING] + counts[State.SUBMITTED]
        results = counts[State.READY] + self._ended
        unproven = not self._delivered and results and results + in_flight >= FIRST_IN_A_ROW
        return bool(self.is_on or unproven) and in_flight + len(self._awaited) > 0

    async def over(self) -> None:
        """Waits until a submit may leave: files come, or it is time for a probe."""
        while self.blocked():
            await self._changed.wait()

    def leaving(self, entry: TaskEntry) -> None:
        """It is submitted now: as a probe, where the brake is on."""
        self._probe = entry.id if self.is_on else None

    def moved(self, entry: TaskEntry, reason: str) -> None:
        """A task moved: its result came, was delivered, or turned out to have no file."""
        if entry.state is State.READY:
            self._awaited.add(entry.id)
        elif entry.state in (State.DONE, State.REJECTED):
            self.delivered()
        elif entry.state is State.FAILED and entry.submission and entry.submission.outcome == "completed":
            self._ended += 1
            self.without_file(entry, reason)
            self._judge(entry)
        self._changed.notify()

    @contextmanager
    def trying(self, entry: TaskEntry) -> Iterator[None]:
        """The files of a result are fetched, as often as it takes; a probe that ends without one stops the
        run."""
        self._awaited.add(entry.id)
        try:
            yield
            self._judge(entry)
        finally:
            self._awaited.discard(entry.id)
            self._changed.notify()

    def delivered(self) -> None:
        """A file stands under its name."""
        self._delivered += 1
        if self._in_a_row:
            self._ledger.set_meta(NOTE, "")
        self._in_a_row.clear()
        self._ended = 0
        self._probe = None
        self._changed.notify()

    def without_file(self, entry: TaskEntry, reason: str) -> None:
        """No file of this result could be had just now."""
        self._why = reason
        if entry.id not in self._in_a_row:
            self._in_a_row[entry.id] = None
            last = list(self._in_a_row)[-LATER_IN_A_ROW:]
            self._ledger.set_meta(NOTE, json.dumps({"tasks": last, "why": reason}))

    def _judge(self, entry: TaskEntry) -> None:
        if self._probe == entry.id and entry.id in self._in_a_row:
            self._probe = None
            self._stopping.for_error(errors.NoFiles(f"{self.reason}; no more is paid for"))


def _remembered(ledger: Ledger) -> tuple[list[int], str]:
    """What earlier runs left; nothing where it cannot be read."""
    try:
        note = json.loads(ledger.meta(NOTE) or "null")
        return [int(task) for task in note["tasks"]], str(note["why"])
    except (ValueError, TypeError, KeyError):
        return [], ""
