"""report.html: one file with everything in it; the same page, empty, for `batcher watch`; and the page of
`batcher review`.

Rule: what came from outside reaches the page escaped by the template or as JSON that no markup can leave, and
only the page's own scripts run (a policy names them by their hash). The file is written as a stream: memory
does not grow with the number of tasks.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from itertools import chain, islice
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from batcher.ledger import database
from batcher.results.report import figures, gallery
from batcher.results.report.gallery import Facets, GalleryRow
from batcher.results.report.status import Report
from batcher.results.report.thumbnails import Thumbnails
from batcher.storage import destination, layout
from batcher.storage.user_file import write_user_file
from batcher.storage.workers import Workers

TEMPLATES = ("page.html", "review.html", "viewer.html", "icon.html")
STYLES = ("uPlot.min.css", "page.css")
CHARTS = "uPlot.iife.min.js"
SCRIPTS = (
    "words.js",
    "theme.js",
    "charts.js",
    "figures.js",
    "gallery.js",
    "matrix.js",
    "viewer.js",
    "controls.js",
    "main.js",
)
REVIEW_STYLES = ("page.css", "review.css")
REVIEW_SCRIPTS = ("words.js", "theme.js", "viewer.js", "sheet.js", "review.js")
CHUNK = 500
"""Tasks in one piece of JSON: the page reads a piece when it shows or searches it."""
TRAVELLING = 240
"""Tasks whose thumbnails travel inside the page: five pages of it, about 2 MB."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every page is made of, and the hashes by which a policy allows it."""

    styles: tuple[Markup, ...]
    scripts: tuple[Markup, ...]

    def policy(self, *sources: str) -> str:
        """A Content-Security-Policy; `sources` are further directives."""
        return "; ".join(
            (
                "default-src 'none'",
                f"script-src {' '.join(map(_hash, self.scripts))}",
                f"style-src {' '.join(map(_hash, self.styles))}",
                "base-uri 'none'",
                "form-action 'none'",
                *sources,
            )
        )


MARK = b'<meta name="generator" content="batcher'
"""By this a page of ours is told from any other file."""


def write_page(
    report: Report,
    to: Path | None = None,
    *,
    thumbnails: int = TRAVELLING,
    seconds: float = 60.0,
    workers: Workers | None = None,
) -> Path | str:
    """Writes the page, atomically, and says where. `to` is a file that is new or was such a page, a device or
    a pipe; None: `report.html` beside the pictures, which may be an object of a store.

    `thumbnails`: tasks whose thumbnails travel inside it; `seconds`: time to make them in, by these
    `workers`. Raises DiskError, LedgerError, and UsageError where something else lies at `to`.
    """
    output = report.output
    path = layout.ledger_path(output)
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        connection.execute("BEGIN")
        pictures = destination.open_destination(database.meta(connection, "destination"), output)
        rows = gallery.rows(connection, pictures, report.counts)
        page = {
            "figures": shown_figures(report, figures.of_ledger(connection, per_image=report.per_image)),
            "chunk": CHUNK,
        }
        beside = pictures.where if to is None else str(to.absolute().parent)
        chunks = _chunks(rows, beside, Thumbnails(output, workers), thumbnails, seconds, report.total)
        lines = _rendered(report, page, chunks)
        if to is None:
            pictures.replace("report.html", lines)
        else:
            write_user_file(to, lines, mark=MARK)
    if to is not None:
        return to.absolute()
    return pictures.address("report.html") if pictures.remote else Path(pictures.address("report.html"))


def live_page(name: str) -> tuple[str, str]:
    """The page that is told its data by a server, and the policy to serve it with."""
    text = _template().render(
        job=name,
        model="",
        mode="live",
        policy="",
        version=_version(),
        about=f"batcher {_version()}. Only this computer can open this page.",
        styles=parts().styles,
        scripts=parts().scripts,
        page=embedded({"most": LIVE_ROWS}),
        chunks=(),
    )
    return text, parts().policy(*SERVED)


def review_page(name: str, page: Mapping[str, Any]) -> tuple[str, str]:
    """The page of `batcher review`, and the policy to serve it with; `page` is what it knows from the
    beginning."""
    own = parts(REVIEW_STYLES, REVIEW_SCRIPTS, charts=False)
    text = _template("review.html").render(
        job=name,
        version=_version(),
        about=f"batcher {_version()}. Only this computer can open this page.",
        styles=own.styles,
        scripts=own.scripts,
        page=embedded(page),
    )
    return text, own.policy(*SERVED)


SERVED = ("img-src 'self' data:", "connect-src 'self'", "frame-ancestors 'none'")
"""What a page may do that a server of ours hands out."""
LIVE_ROWS = 480
"""Tasks that the live page keeps: ten pages of the newest."""


def shown_figures(report: Report, found: figures.Figures) -> dict[str, Any]:
    """The object that the page's figures are drawn from."""
    return {
        **report.as_json(),
        **found.as_json(),
        "model": report.model,
        "per_image": report.per_image,
        "rejected_images": report.rejected_images,
        "causes": list(report.causes),
        "sharing": report.sharing,
        "warnings": dict(report.warnings),
        "in_flight": None if report.in_flight is None else report.in_flight._asdict(),
        "balance": None if report.balance is None else dict(report.balance),
    }


def embedded(value: Any) -> Markup:
    """JSON that stands inside a script element: no text in it can end the element or open another."""
    text = json.dumps(value, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@cache
def parts(
    styles: tuple[str, ...] = STYLES, scripts: tuple[str, ...] = SCRIPTS, *, charts: bool = True
) -> Parts:
    """Styles and scripts that lie beside this file; without being told otherwise, those of the report."""
    folder = files("batcher.results.report").joinpath("static")

    def text(name: str) -> str:
        return folder.joinpath(name).read_text("utf-8")

    own = "\n".join(text(name) for name in scripts)
    library = (Markup(text(CHARTS)),) if charts else ()
    return Parts(
        styles=tuple(Markup(text(name)) for name in styles),
        scripts=(*library, Markup(f'"use strict";\n(() => {{\n{own}}})();\n')),
    )


@cache
def _version() -> str:
    return version("batcher")


@cache
def _template(name: str = "page.html") -> Any:
    static = files("batcher.results.report").joinpath("static")
    loader = DictLoader({each: static.joinpath(each).read_text("utf-8") for each in TEMPLATES})
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(name)


def _rendered(report: Report, page: dict[str, Any], chunks: Iterable[Markup]) -> Iterator[str]:
    text: Iterator[str] = _template().generate(
        job=report.job,
        model=report.model,
        mode="report",
        # A file's own folder is its "self" in some browsers only.
        policy=parts().policy("img-src 'self' file: data:"),
        version=_version(),
        about=(
            f"batcher {_version()}. Figures, texts and the first thumbnails travel inside this file; full "
            "pictures and further thumbnails are read from images/ and rejected/ beside it, originals from "
            "where they lie."
        ),
        styles=parts().styles,
        scripts=parts().scripts,
        page=embedded(page),
        chunks=chunks,
    )
    return text


def _chunks(
    rows: Iterator[GalleryRow],
    folder: str,
    thumbnails: Thumbnails,
    travelling: int,
    seconds: float,
    total: int,
) -> Iterator[Markup]:
    """The rows in pieces, and last what was learned on the way: how many there are, and how to filter them.

    A run beside may have moved tasks since they were counted: only what is here is told to be here.
    """
    facets = Facets()
    states: Counter[str] = Counter()
    warned = 0
    link = gallery.linked_from(folder)
    first = list(islice(rows, max(0, travelling)))
    small = thumbnails.several(chain.from_iterable(row.sources for row in first), seconds=seconds)
    everything = chain(first, rows)
    while chunk := list(islice(everything, CHUNK)):
        for row in chunk:
            facets.notice(row)
            states[row.state] += 1
            warned += bool(row.warnings)
        digests = {source.digest for row in chunk for source in row.sources}
        thumbs = {digest: small.pop(digest) for digest in digests if digest in small}
        yield embedded(
            {
                "rows": [row.as_json(link) for row in chunk],
                "thumbs": {digest: base64.b64encode(made).decode() for digest, made in thumbs.items()},
            }
        )
    here = states.total()
    last = {"facets": facets.as_json(), "states": states, "warned": warned, "here": here}
    yield embedded({"rows": [], "thumbs": {}, **last, "beyond": max(0, total - here)})


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
