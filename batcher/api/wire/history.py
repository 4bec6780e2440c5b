"""The request history: what was asked for, and what became of it.

Rule: a row is believed whole or not at all. One that lacks what every row has, or says what cannot be true,
is Unreadable; one whose body cannot be read is a row whose body is not known, which is not an empty body.
Source: `Generations.history` of the official SDK 1.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from batcher.api.wire.bodies import parsed_body
from batcher.api.wire.json_values import Unreadable, number, parsed, text
from batcher.api.wire.refusals import words

SYNONYMS = {"SUCCEEDED": "COMPLETED", "SUCCESS": "COMPLETED", "ERROR": "FAILED"}
"""Words for the history's own; any other that it does not document stands for a request that goes on."""
ROWS_KEYS = ("data", "requests", "results", "items", "history", "rows")
CREATED_KEYS = ("model_created", "created_at", "createdAt", "created", "timestamp")
URL_KEYS = ("generation_url", "output_url")
CREATED_BEFORE, CREATED_AFTER = 60.0, 900.0
"""Seconds around the moment of a POST within which its row has its stamp: clocks differ, queues delay."""
LARGEST_COST = 10_000.0
"""Credits. No request costs so much: a row that says so is believed in nothing."""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One row of the request history: a request, or one output of it. Unix s (provider's clock), credits.

    `status` is COMPLETED, FAILED, or a word for a request that goes on (PENDING); `body` None where it cannot
    be read or is not told (yet).
    """

    request_id: str
    model: str
    status: str
    body: Mapping[str, Any] | None
    created_at: float | None = None
    url: str | None = None
    cost: float | None = None
    error: str = ""


class HistoryPage(NamedTuple):
    """A page of the history; `nonsense` is what is wrong with the first row that is not believed, empty where
    all are."""

    rows: tuple[HistoryRow, ...]
    nonsense: str = ""


def history_page(body: bytes, address: str) -> HistoryPage:
    """A page of the request history that was had from `address`. Raises Unreadable."""
    answer = parsed(body)
    if isinstance(answer, dict):
        answer = next((answer[key] for key in ROWS_KEYS if isinstance(answer.get(key), list)), None)
    if not isinstance(answer, list):
        raise Unreadable("the history has no rows")
    rows, nonsense = [], ""
    for item in answer:
        try:
            rows.append(_row(item, address))
        except Unreadable as error:
            nonsense = nonsense or str(error)
    return HistoryPage(tuple(rows), nonsense)


def history_row(body: bytes, request_id: str, address: str) -> HistoryRow:
    """The row of this one request, had from `address`. Raises Unreadable, also where it is another's."""
    answer = parsed(body)
    for key in ROWS_KEYS:
        if isinstance(answer, dict) and "request_id" not in answer and key in answer:
            answer = answer[key]
            break
    items = answer if isinstance(answer, list) else [answer]
    own = [item for item in items if isinstance(item, dict) and item.get("request_id") == request_id]
    if not own:
        raise Unreadable("the history's answer is about another request")
    return _row(own[0], address)


def _row(item: Any, address: str) -> HistoryRow:
    if not isinstance(item, dict) or not (request_id := text(item.get("request_id"))):
        raise Unreadable("a row of the history has no request_id")
    return HistoryRow(
        request_id=request_id,
        model=text(item.get("model_name")) or "",
        status=_status(item),
        body=parsed_body(item.get("request_body")),
        created_at=next((at for key in CREATED_KEYS if (at := _moment(item.get(key))) is not None), None),
        url=_url(next((item[key] for key in URL_KEYS if item.get(key)), None), address),
        cost=_cost(item.get("credits_deduction")),
        error=words(item.get("error"))[:500],
    )


def _status(item: Mapping[str, Any]) -> str:
    word = (text(item.get("model_status")) or text(item.get("status")) or "").strip().upper()
    if not word:
        raise Unreadable("a row of the history has no status")
    return SYNONYMS.get(word, word)


def _cost(value: Any) -> float | None:
    """Not told is not known; what is told must be an amount."""
    if value is None:
        return None
    cost = number(value)
    if cost is None or cost > LARGEST_COST:
        raise Unreadable(f"a row of the history costs {str(value)[:40]} credits")
    return cost


def _url(value: Any, address: str) -> str | None:
    """Where the output can be had, taken from the answer's own address where it is relative."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unreadable("a row of the history has a URL that is none")
    try:
        url = urljoin(address, value.strip())
        parts = urlsplit(url)
        parts.port  # noqa: B018  # a number that is none is told here
    except ValueError as error:
        raise Unreadable("a row of the history has a URL that is none") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise Unreadable("a row of the history has a URL that no picture is fetched from")
    return url


def _moment(value: Any) -> float | None:
    """ISO 8601 (UTC where it names no zone) or epoch seconds or milliseconds, as Unix s."""
    epoch = number(value)
    if epoch is not None:
        return epoch / 1000 if epoch > 1e11 else epoch
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
