"""The ledger told to people and programs: totals, records, and the page with its pictures.

    standing.py    where a job stands: the object of `status --json`
    records.py     report.json, metadata.jsonl, errors.jsonl
    figures.py     what the page draws: paces, times, money, failures
    gallery.py     the tasks as the page shows them, each with its pictures
    thumbnails.py  small pictures, made once per content
    page.py        report.html, and the same page for `batcher watch`
    static/        the page's template, style and scripts, and the chart library

Law: nothing is invented; whatever stands in a report can be built again from the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batcher.report.records import begin, line, write_records
from batcher.report.standing import CALLS, Report, of_folder, of_ledger

if TYPE_CHECKING:
    from batcher.carrying import Hands

__all__ = ["CALLS", "Report", "begin", "line", "of_folder", "of_ledger", "write"]


def write(report: Report, hands: Hands | None = None) -> None:
    """Writes report.json, metadata.jsonl, errors.jsonl and report.html anew from the ledger, each atomically.
    `hands` make the thumbnails.

    Raises DiskError, LedgerError.
    """
    from batcher.report.page import write_page  # the template engine is loaded for those who write

    write_records(report)
    write_page(report, seconds=END_SECONDS, hands=hands)


END_SECONDS = 1.5
"""For thumbnails at the end of a run, which shall not wait for them; what is missing then is shown from
images/, and `batcher report` makes it."""
