"""The request history: every request of the team with its inputs, cost and outcome, newest first.

Rule: failed and in-flight requests are listed too, whatever their age; a request with several outputs appears
once per output, each row with the whole cost. By its id only a request of the caller's own key is found.
Source: `Generations` of the official SDK 1.3.0, which documents calls, parameters and fields. Unproven: the
names of the stamps, and the envelopes of `generations` and `recent-generations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from batcher.sandbox.error_responses import stamp
from batcher.sandbox.job import Job, JobState

SPAN = timedelta(days=31)
"""The longest window that may be asked for."""
PER_PAGE = 100
"""The largest page that may be asked for."""
RECENT = 20
"""So many of a model's latest outputs are recent."""

_STATUSES = {JobState.COMPLETED: "COMPLETED", JobState.FAILED: "FAILED"}


class BadQuery(Exception):
    """A query that the history does not answer: the text of its 400."""


@dataclass(slots=True)
class Row:
    """One row: a request, or one output of it. `created`, `updated`, `ended_at` are wall times."""

    request_id: str
    model: str
    """The slug, by which rows are filtered."""
    model_name: str
    """What the row calls the model."""
    status: str
    cost: float
    body: Any
    url: str | None
    latency: int | None
    error: str | None
    created: float
    updated: float
    ended_at: float | None
    own: bool
    """Whether the caller's own key made the request, and not a teammate's."""
    zoned: bool = True
    """Whether its stamps name their zone."""
    missing: frozenset[str] = frozenset()
    """Keys that it lacks."""

    def as_json(self) -> dict[str, Any]:
        """The row as the history answers it."""
        values = {
            "request_id": self.request_id,
            "model_name": self.model_name,
            "model_status": self.status,
            "credits_deduction": self.cost,
            "request_body": self.body,
            "generation_url": self.url,
            "latency_ms": self.latency,
            "error": self.error,
            "model_created": self._stamp(self.created),
            "model_updated": self._stamp(self.updated),
        }
        return {key: value for key, value in values.items() if key not in self.missing}

    def as_generation(self) -> dict[str, Any]:
        """The row as the list of generations answers it."""
        body = self.body if isinstance(self.body, dict) else {}
        return {
            "request_id": self.request_id,
            "model_name": self.model_name,
            "generation_url": self.url,
            "status": self.status,
            "credits_deduction": self.cost,
            "latency_ms": self.latency,
            "prompt": body.get("prompt"),
            "parameters": self.body,
            "created_at": self._stamp(self.created),
        }

    def _stamp(self, moment: float) -> str:
        return stamp(moment) if self.zoned else stamp(moment).removesuffix("Z")


@dataclass(slots=True)
class HistoryView:
    """What one call is answered from: faults change it before it is answered."""

    rows: list[Row]
    now: float
    per_page: int = PER_PAGE
    """No page has more rows, whatever was asked for."""


def view(jobs: Iterable[Job], key: str, origin: str, now: float) -> HistoryView:
    """The rows of `jobs` as the caller with `key` sees them: one per output, one where there is none."""
    return HistoryView([row for job in jobs for row in _rows(job, key, origin)], now)


def listing(view: HistoryView, query: Mapping[str, str]) -> dict[str, Any]:
    """One page of the history.

    Raises:
        BadQuery: a parameter is out of its range.
    """
    page, per_page = _number(query, "page", 1, 1_000_000, 1), _number(query, "per_page", 1, PER_PAGE, 20)
    status = query.get("status")
    if status not in (None, "COMPLETED", "FAILED", "PENDING"):
        raise BadQuery("status must be one of COMPLETED, FAILED, PENDING")
    rows = [row for row in _between(view, query, "from_date", "to_date") if status in (None, row.status)]
    _sort(rows, query.get("sort_by", "model_created"), query.get("sort_order", "desc"))
    per_page = min(per_page, view.per_page)
    start = (page - 1) * per_page
    return {
        "data": [row.as_json() for row in rows[start : start + per_page]],
        "page": page,
        "per_page": per_page,
        "total": len(rows),
        "total_pages": -(-len(rows) // per_page),
    }


def one_request(view: HistoryView) -> dict[str, Any] | None:
    """The request whose rows these are; None: it is nobody's, or a teammate's."""
    return next((row.as_json() for row in view.rows if row.own), None)


def generations(view: HistoryView, query: Mapping[str, str]) -> dict[str, Any]:
    """One page of the outputs.

    Raises:
        BadQuery: a parameter is out of its range.
    """
    page = _number(query, "page", 1, 1_000_000, 1)
    rows = [row for row in _between(view, query, "start_date", "end_date") if row.url]
    _sort(rows, "model_created", "desc")
    start = (page - 1) * RECENT
    shown = [row.as_generation() for row in rows[start : start + RECENT]]
    return {"generations": shown, "page": page, "total": len(rows)}


def recent_generations(view: HistoryView, query: Mapping[str, str]) -> dict[str, Any]:
    """The latest outputs of a model.

    Raises:
        BadQuery: no model is named.
    """
    if not query.get("model_name"):
        raise BadQuery("model_name is required")
    return {"generations": generations(view, {"model_name": query["model_name"]})["generations"]}


def _rows(job: Job, key: str, origin: str) -> list[Row]:
    ended = job.finished_at
    urls: list[str | None] = [origin + file.path for file in job.files]
    return [
        Row(
            request_id=job.request_id,
            model=job.model,
            model_name=job.model,
            status=_STATUSES.get(job.state, "PENDING"),
            cost=job.cost if job.state is JobState.COMPLETED else 0,
            body=dict(job.body),
            url=url,
            latency=None if ended is None else round((job.queue_time + job.inference_time) * 1000),
            error=job.error,
            created=job.submitted_at,
            updated=job.submitted_at if ended is None else ended,
            ended_at=ended,
            own=job.key == key,
        )
        for url in urls or [None]
    ]


def _between(view: HistoryView, query: Mapping[str, str], first_name: str, last_name: str) -> list[Row]:
    """The rows of the days and the model that a query asks for."""
    today = datetime.fromtimestamp(view.now, UTC).date()
    first = _day(query, first_name, today - timedelta(days=7))
    last = _day(query, last_name, today)
    if last - first > SPAN:
        raise BadQuery("The date range may span at most 31 days")
    name = query.get("model_name", "")
    return [row for row in view.rows if name in row.model and first <= _date_of(row) <= last]


def _sort(rows: list[Row], by: str, order: str) -> None:
    keys = {
        "model_created": lambda row: row.created,
        "model_name": lambda row: row.model,
        "credits_deduction": lambda row: row.cost,
    }
    if by not in keys:
        raise BadQuery(f"sort_by must be one of {', '.join(keys)}")
    if order not in ("asc", "desc"):
        raise BadQuery("sort_order must be asc or desc")
    # Requests of one millisecond keep the order in which they came.
    if order == "desc":
        rows.reverse()
    rows.sort(key=keys[by], reverse=order == "desc")


def _date_of(row: Row) -> date:
    return datetime.fromtimestamp(row.created, UTC).date()


def _number(query: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise BadQuery(f"{name} must be an integer between {least} and {most}")
    return int(text)


def _day(query: Mapping[str, str], name: str, default: date) -> date:
    try:
        return date.fromisoformat(query[name]) if query.get(name) else default
    except ValueError:
        raise BadQuery(f"{name} must be a date of the form YYYY-MM-DD") from None
