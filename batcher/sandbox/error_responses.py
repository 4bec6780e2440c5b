"""The provider's ways of saying no: JSON with one `error`, HTML pages, and a 429 with only a stamp."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web

RESET = "x-rate-limit-reset-at-utc"

_TEXTS = {
    401: "Invalid API key",
    403: "You do not have permission to perform this action",
    404: "Not found",
    406: "Insufficient credits",
    410: "This model has been retired",
    429: "Rate limit exceeded. Please try again later.",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service temporarily unavailable",
    504: "Request timed out",
}


def error(code: int, message: str | None = None) -> web.Response:
    """A JSON error; the provider's usual text for the status unless another is given."""
    return web.json_response({"error": message or _TEXTS.get(code) or _phrase(code)}, status=code)


def _phrase(code: int) -> str:
    """The usual words of a status; proxies have statuses of their own, which have none."""
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Error"


def page(code: int) -> web.Response:
    """An HTML page, as gateways and wrong methods answer."""
    title = f"{code} {_phrase(code)}"
    text = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return web.Response(status=code, text=text, content_type="text/html")


def throttled(reset_at: float | None) -> web.Response:
    """429 with the wall time at which calls pass again (None: not even that), and no Retry-After."""
    answer = error(429)
    if reset_at is not None:
        answer.headers[RESET] = stamp(math.ceil(reset_at * 1000) / 1000)
    return answer


def stamp(moment: float) -> str:
    """A wall time as the API writes it: ISO 8601, UTC, milliseconds, Z."""
    text = datetime.fromtimestamp(round(moment, 3), UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
