"""What a run writes down for others while it goes: the growing records, and the audit of its balance.

Law: the ledger is the truth; what stands here is written anew from it at the end.
"""

from __future__ import annotations

from batcher import report
from batcher.download import Folder, disk
from batcher.ledger.entries import Entry
from batcher.ledger.totals import credits
from batcher.ledger.writer import Ledger
from batcher.task import State

AUDIT_TOLERANCE = 100
"""Micro-credits: balances are told with few digits."""


class Records:
    """metadata.jsonl and errors.jsonl grow during the run; at its end they are written anew."""

    def __init__(self, folder: Folder, ledger: Ledger) -> None:
        self._ledger = ledger
        with disk(folder.path):
            self._metadata = open(folder.path / "metadata.jsonl", "a", encoding="utf-8")  # noqa: SIM115  # closed by close()
            self._errors = open(folder.path / "errors.jsonl", "a", encoding="utf-8")  # noqa: SIM115  # closed by close()

    def ended(self, entry: Entry) -> None:
        """One task was delivered or failed."""
        file, found = (
            (self._metadata, self._ledger.metadata(entry))
            if entry.state is State.DONE
            else (self._errors, self._ledger.missed(entry))
        )
        file.writelines(map(report.line, found))
        file.flush()

    def close(self) -> None:
        """No more lines."""
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
