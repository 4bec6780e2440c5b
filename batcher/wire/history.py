"""The request history: what was asked for, and what became of it.

Source: `Generations.history` of the official SDK 1.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batcher.wire.reading import Unreadable, number, parsed, text
from batcher.wire.refusals import words


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One row of the request history: a request, or one output of it. Unix s, credits."""

    request_id: str
    model: str
    status: str
    body: Any
    created_at: float | None = None
    url: str | None = None
    cost: float | None = None
    error: str = ""


ROWS_KEYS = ("data", "requests", "results", "items", "history", "rows")
CREATED_KEYS = ("model_created", "created_at", "createdAt", "created", "timestamp")


def history_rows(body: bytes) -> list[HistoryRow]:
    """A page of the request history; rows without a request_id are left out. Raises Unreadable."""
    answer = parsed(body)
    if isinstance(answer, dict):
        answer = next((answer[key] for key in ROWS_KEYS if isinstance(answer.get(key), list)), None)
    if not isinstance(answer, list):
        raise Unreadable("the history has no rows")
    return [_history_row(row) for row in answer if isinstance(row, dict) and text(row.get("request_id"))]


def _history_row(row: Mapping[str, Any]) -> HistoryRow:
    return HistoryRow(
        request_id=str(row["request_id"]),
        model=text(row.get("model_name")) or "",
        status=(text(row.get("model_status")) or text(row.get("status")) or "").upper(),
        body=row.get("request_body"),
        created_at=next((at for key in CREATED_KEYS if (at := _moment(row.get(key))) is not None), None),
        url=text(row.get("generation_url")),
        cost=number(row.get("credits_deduction")),
        error=words(row.get("error")),
    )


def _moment(value: Any) -> float | None:
    """ISO 8601 (UTC where it names no zone) or epoch seconds or milliseconds, as Unix s."""
    epoch = number(value)
    if epoch is not None:
        return epoch / 1000 if epoch > 1e11 else epoch
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
