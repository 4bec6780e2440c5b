"""What a run writes down for others while it goes: the growing records, and the audit of its balance.

Law: the ledger is the truth; what stands here is written anew from it at the end.
"""

from __future__ import annotations

import anyio

from batcher import report
from batcher.download import Folder
from batcher.ledger.entries import Entry
from batcher.ledger.totals import credits
from batcher.ledger.writer import Ledger
from batcher.task import State

TELLING_SECONDS = 1.0
AUDIT_TOLERANCE = 100
"""Micro-credits: balances are told with few digits."""


class Records:
    """metadata.jsonl and errors.jsonl grow during the run; at its end they are written anew.

    Lines of delivered pictures follow within a second: asked for together, they cost the ledger a tenth.
    """

    def __init__(self, folder: Folder, ledger: Ledger) -> None:
        self._ledger = ledger
        self._done: list[Entry] = []
        self._metadata = folder.destination.growing("metadata.jsonl")
        self._errors = folder.destination.growing("errors.jsonl")

    def ended(self, entry: Entry) -> None:
        """One task was delivered or failed."""
        if entry.state is State.DONE:
            self._ledger.observe(entry)
            self._done.append(entry)
            return
        self._errors.writelines(map(report.line, self._ledger.missed(entry)))
        self._errors.flush()

    async def run(self) -> None:
        """Writes the lines of what was delivered, once a second, until it is cancelled."""
        while True:
            await anyio.sleep(TELLING_SECONDS)
            self._tell_delivered()

    def _tell_delivered(self) -> None:
        done, self._done = self._done, []
        if done:
            self._metadata.writelines(map(report.line, self._ledger.metadata(*done)))
            self._metadata.flush()

    def close(self) -> None:
        """The last lines, and no more."""
        self._tell_delivered()
        self._metadata.close()
        self._errors.close()


def audited(ledger: Ledger) -> tuple[dict[str, float] | None, str]:
    """Opening balance, spent, closing balance and what they differ by (credits); and the sentence that tells
    a difference, empty where it adds up or where the balance is not known."""
    sums = ledger.audit()
    if sums is None:
        return None, ""
    opening, spent, closing = sums
    difference = opening - spent - closing
    audit = {
        "opening": credits(opening),
        "spent": credits(spent),
        "closing": credits(closing),
        "difference": credits(difference),
    }
    if abs(difference) < AUDIT_TOLERANCE:
        return audit, ""
    sentence = (
        f"the balance went from {credits(opening):g} to {credits(closing):g}, this run was told of "
        f"{credits(spent):g}: {credits(difference):+g} credits are not accounted for "
        "(other use of the account, or jobs whose answer was lost)"
    )
    return audit, sentence
