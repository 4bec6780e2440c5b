"""A report as a notebook shows it: the totals, and a small gallery of the newest pictures.

Rule: one piece of HTML that needs no file and no network, and in which foreign text is text.
"""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from html import escape
from typing import TYPE_CHECKING

from batcher import errors
from batcher.ledger import database
from batcher.progress import closing_text, summary
from batcher.progress.printable import printable
from batcher.results.report import gallery
from batcher.results.report.thumbnails import Thumbnails
from batcher.storage import destination, layout

if TYPE_CHECKING:
    from batcher.results.report.status import Report

SHOWN = 12
"""Tasks in the gallery."""
SECONDS = 3.0
"""For thumbnails that are not made yet."""
HEIGHT = 120
"""Pixels of a picture as it is shown."""


def as_html(report: Report) -> str:
    """The report as HTML; where its ledger is gone or cannot be read, its totals alone."""
    try:
        pictures = _gallery(report)
    except (errors.BatcherError, sqlite3.Error, OSError):
        pictures = ""
    page = report.output / "report.html"
    link = f"<div><code>{escape(str(page))}</code></div>" if page.exists() else ""
    return (
        f"<div><b>{escape(report.job)}</b>: {escape(_totals(report))}{_causes(report)}{pictures}{link}</div>"
    )


def _totals(report: Report) -> str:
    counts = ", ".join(f"{number:,} {state}" for state, number in report.counts.items() if number)
    money = ", ".join(
        f"{summary.amount(value, report.unsure.get(kind, 0))} {kind}"
        for kind, value in report.cost.items()
        if kind == "spent" or value or report.unsure.get(kind)
    )
    images = summary.images(report.images, report.rejected_images)
    return f"{report.state}, {counts or 'no tasks'}; {images} for credits: {money}"


def _causes(report: Report) -> str:
    said = [*report.causes, *(f"{number:,} x {reason}" for reason, number in report.failures.items())]
    items = "".join(f"<li>{escape(printable(text))}</li>" for text in said[: closing_text.REASONS])
    return f"<ul>{items}</ul>" if items else ""


def _gallery(report: Report) -> str:
    path = layout.ledger_path(report.output)
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        where = destination.open_destination(database.meta(connection, "destination"), report.output)
        rows = gallery.newest(connection, where, SHOWN)
    sources = [source for row in rows for source in row.sources]
    small = Thumbnails(report.output).several(sources, seconds=SECONDS)

    def image(digest: str, title: str) -> str:
        made = small.get(digest)
        if made is None:
            return ""
        data = base64.b64encode(made).decode()
        return f'<img src="data:image/webp;base64,{data}" title="{title}" style="height:{HEIGHT}px">'

    shown = []
    for row in rows:
        name = escape(printable(row.name))
        before = image(row.before.digest, "before") if row.before else ""
        after = "".join(image(picture.source.digest, name) for picture in row.after)
        if after:
            shown.append(
                f'<figure style="display:inline-block;margin:4px">{before}{after}'
                f'<figcaption style="font-size:smaller">{name}</figcaption></figure>'
            )
    return f"<div>{''.join(shown)}</div>" if shown else ""
