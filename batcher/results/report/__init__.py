"""The ledger told to people and programs: totals, records, and the page with its pictures.

    status.py         where a job stands: the object of `status --json`
    record_files.py   report.json, metadata.jsonl, rejected.jsonl, errors.jsonl
    figures.py        what the page draws: paces, times, money, failures
    gallery.py        the tasks as the page shows them, each with its pictures
    thumbnails.py     small pictures, made once per content
    notebook_view.py  a report as a notebook shows it
    page.py           report.html, and the same page for `batcher watch`
    static/           the page's template, style and scripts, and the chart library

Rule: nothing is invented; whatever stands in a report can be built again from the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batcher.results.report.status import CALLS, Report, of_folder, of_ledger

if TYPE_CHECKING:
    from batcher.storage.workers import Workers

__all__ = ["CALLS", "Report", "of_folder", "of_ledger", "write"]


def write(report: Report, workers: Workers | None = None) -> None:
    """Writes report.json, the records and report.html anew from the ledger, each atomically.
    `workers` make the thumbnails.

    Raises DiskError, LedgerError.
    """
    from batcher.results.report import record_files  # what writes is loaded for those who write
    from batcher.results.report.page import write_page

    record_files.write_records(report)
    write_page(report, seconds=END_SECONDS, workers=workers)


END_SECONDS = 1.5
"""For thumbnails at the end of a run, which shall not wait for them; what is missing then is shown from
images/, and `batcher report` makes it."""
