"""The request history: every request of the account with its inputs, cost and outcome, newest first.

Law: failed and in-flight requests are listed too; a request with several outputs appears once per output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from batcher.sandbox.answers import stamp
from batcher.sandbox.jobs import Job, JobState

SPAN = timedelta(days=31)
"""The longest window that may be asked for."""

_STATUSES = {JobState.COMPLETED: "COMPLETED", JobState.FAILED: "FAILED"}


class BadQuery(Exception):
    """A query that the history does not answer: the text of its 400."""


def listing(jobs: Iterable[Job], query: Mapping[str, str], origin: str, now: float) -> dict[str, Any]:
    """One page of the history.

    Raises:
        BadQuery: a parameter is out of its range.
    """
    page, per_page = _number(query, "page", 1, 1_000_000, 1), _number(query, "per_page", 1, 100, 20)
    today = datetime.fromtimestamp(now, UTC).date()
    first = _day(query, "from_date", today - timedelta(days=7))
    last = _day(query, "to_date", today)
    if last - first > SPAN:
        raise BadQuery("The date range may span at most 31 days")
    status = query.get("status")
    if status not in (None, "COMPLETED", "FAILED", "PENDING"):
        raise BadQuery("status must be one of COMPLETED, FAILED, PENDING")
    name = query.get("model_name", "")
    found = [
        row
        for job in jobs
        if name in job.model and first <= _date_of(job) <= last and status in (None, _status(job))
        for row in rows(job, origin)
    ]
    _sort(found, query.get("sort_by", "model_created"), query.get("sort_order", "desc"))
    start = (page - 1) * per_page
    return {
        "data": found[start : start + per_page],
        "page": page,
        "per_page": per_page,
        "total": len(found),
        "total_pages": -(-len(found) // per_page),
    }


def rows(job: Job, origin: str) -> list[dict[str, Any]]:
    """The rows of one request: one per output, one where there is none (yet)."""
    ended = job.finished_at
    row = {
        "request_id": job.request_id,
        "model_name": job.model,
        "model_status": _status(job),
        "credits_deduction": job.cost if job.state is JobState.COMPLETED else 0,
        "request_body": dict(job.body),
        "generation_url": None,
        "latency_ms": None if ended is None else round((job.queue_time + job.inference_time) * 1000),
        "error": job.error,
        "model_created": stamp(job.submitted_at),
        "model_updated": stamp(job.submitted_at if ended is None else ended),
    }
    return [{**row, "generation_url": origin + file.path} for file in job.files] or [row]


def _sort(found: list[dict[str, Any]], by: str, order: str) -> None:
    if by not in ("model_created", "model_name", "credits_deduction"):
        raise BadQuery("sort_by must be one of model_created, model_name, credits_deduction")
    if order not in ("asc", "desc"):
        raise BadQuery("sort_order must be asc or desc")
    # Requests of one millisecond keep the order in which they came.
    if order == "desc":
        found.reverse()
    found.sort(key=lambda row: row[by], reverse=order == "desc")


def _status(job: Job) -> str:
    return _STATUSES.get(job.state, "PENDING")


def _date_of(job: Job) -> date:
    return datetime.fromtimestamp(job.submitted_at, UTC).date()


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
