"""The API's JSON, both ways, without I/O: what an answer says, and what it means.

Law: nothing is assumed that the provider does not promise. What cannot be read raises Unreadable;
the caller knows what that means at its place (after a submit it is doubt, never "try again").
Source of the shapes: the API's documentation and the official SDK 1.3.0 (`v2.py`, `files.py`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from batcher import errors


class Unreadable(ValueError):
    """An answer that does not say what it must."""


class Accepted(NamedTuple):
    """A submit's answer: the job exists from here on. URLs are absolute."""

    request_id: str
    status_url: str
    response_url: str


@dataclass(frozen=True, slots=True)
class Output:
    """One picture of a result: a URL, or the bytes themselves."""

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Status:
    """A status answer; `finished` when it is COMPLETED (FAILED is an error, InferenceFailed)."""

    finished: bool
    word: str
    total_time: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A completed job: its pictures and its accounting. Times in seconds, money in credits."""

    outputs: tuple[Output, ...]
    request_id: str | None = None
    cost: float | None = None
    remaining_credits: float | None = None
    seed: int | str | None = None
    queue_time: float | None = None
    inference_time: float | None = None
    total_time: float | None = None
    excerpt: str = ""
    """The start of an answer in which no picture was found."""


# --- answers that say yes


def accepted(body: bytes, base: str) -> Accepted:
    """A submit's 2xx. Raises Unreadable."""
    answer = _object(body)
    request_id = answer.get("request_id")
    status_url = answer.get("status_url") or answer.get("poll_url")
    if not (isinstance(request_id, str) and request_id):
        raise Unreadable("the submit's answer has no request_id")
    return Accepted(request_id, _absolute(status_url, base), _absolute(answer.get("response_url"), base))


def status(body: bytes, *, code: int = 200) -> Status:
    """A status answer with HTTP status `code`, 2xx or 422.

    Raises Unreadable, or InferenceFailed when it says FAILED or is a 422 that says no other word.
    """
    answer = _object(body)
    word = answer.get("status")
    if word == "FAILED" or (code == 422 and not isinstance(word, str)):
        raise failed(answer)
    if not isinstance(word, str):
        raise Unreadable("the answer has no status")
    return Status(word == "COMPLETED", word, _total_time(_metrics(answer)))


def result(body: bytes, *, code: int = 200) -> Result:
    """A result answer with HTTP status `code`, 2xx or 422. Raises as `status`, and when it is not COMPLETED:
    what shows neither that word nor a picture is no result, and may be asked for again."""
    answer = _object(body)
    word = answer.get("status")
    if word == "FAILED" or (code == 422 and not isinstance(word, str)):
        raise failed(answer)
    if isinstance(word, str) and word != "COMPLETED":
        raise Unreadable(f"the result is still {word[:40]}")
    metrics = _metrics(answer)
    outputs = outputs_of(answer)
    if word != "COMPLETED" and not outputs:
        raise Unreadable("the answer has neither a status nor a picture")
    seed = answer.get("seed")
    return Result(
        outputs,
        request_id=_text(answer.get("request_id")),
        cost=_number(metrics.get("cost")),
        remaining_credits=_number(metrics.get("remaining_credits")),
        seed=seed if isinstance(seed, int | str) and not isinstance(seed, bool) else None,
        queue_time=_number(metrics.get("queue_time")),
        inference_time=_number(metrics.get("inference_time")),
        total_time=_total_time(metrics),
        excerpt="" if outputs else _excerpt(body),
    )


def sync_result(headers: Mapping[str, str], body: bytes) -> Result:
    """A v1 answer: picture bytes, or JSON with base64 or URLs; accounting in headers.

    Raises Unreadable; InferenceFailed when it says FAILED.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not body:
        raise Unreadable("the answer is empty")
    if kind.endswith("json") or body[:1] in b"{[":
        answer = _json(body)
        if isinstance(answer, dict) and answer.get("status") == "FAILED":
            raise failed(answer)
        outputs = outputs_of(answer)
    elif kind.startswith("text/"):
        raise Unreadable(f"the answer is {kind}, not a picture")
    else:
        outputs = (Output(data=body),)
    return Result(
        outputs,
        request_id=_header(headers, "x-request-id"),
        cost=_number(headers.get("x-cost")),
        remaining_credits=_number(headers.get("x-remaining-credits")),
        seed=_header(headers, "x-seed-value"),
        inference_time=_number(headers.get("x-generation-time")),
        total_time=_number(headers.get("x-generation-time")),
        excerpt="" if outputs else _excerpt(body),
    )


def credits_left(body: bytes) -> float:
    """The account's credits, paid and free. Raises Unreadable."""
    answer = _object(body)
    found = [_number(answer.get(key)) for key in ("credits", "free-credits")]
    if found[0] is None:
        raise Unreadable("the answer has no credits")
    return sum(number for number in found if number is not None)


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
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("the history is not whole JSON") from error
    if isinstance(answer, dict):
        answer = next((answer[key] for key in ROWS_KEYS if isinstance(answer.get(key), list)), None)
    if not isinstance(answer, list):
        raise Unreadable("the history has no rows")
    return [_history_row(row) for row in answer if isinstance(row, dict) and _text(row.get("request_id"))]


def _history_row(row: Mapping[str, Any]) -> HistoryRow:
    return HistoryRow(
        request_id=str(row["request_id"]),
        model=_text(row.get("model_name")) or "",
        status=(_text(row.get("model_status")) or _text(row.get("status")) or "").upper(),
        body=row.get("request_body"),
        created_at=next((at for key in CREATED_KEYS if (at := _moment(row.get(key))) is not None), None),
        url=_text(row.get("generation_url")),
        cost=_number(row.get("credits_deduction")),
        error=_words(row.get("error")),
    )


def _moment(value: Any) -> float | None:
    """ISO 8601 (UTC where it names no zone) or epoch seconds or milliseconds, as Unix s."""
    number = _number(value)
    if number is not None:
        return number / 1000 if number > 1e11 else number
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def uploaded_urls(body: bytes) -> list[str]:
    """An upload's URLs: `file_urls` (SDK) or `urls` (documentation). Raises Unreadable."""
    answer = _object(body)
    urls = answer.get("file_urls") or answer.get("urls")
    if (
        not isinstance(urls, list)
        or not urls
        or not all(isinstance(url, str) and _is_url(url) for url in urls)
    ):
        raise Unreadable("the upload's answer has no file_urls")
    return urls


# --- pictures in an answer, wherever they are

PICTURE_KEYS = ("output", "images", "image", "image_url", "image_urls", "url", "urls", "data", "result")
BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{64,}={0,2}\s*")
DEEPEST = 6


def outputs_of(answer: Any) -> tuple[Output, ...]:
    """The pictures of a result: a URL, a list of URLs, `images[]`, base64, lists of base64.

    `output` and `images` may tell the same pictures twice: the one that tells more is taken, for all are
    paid. Where neither holds any, the first other key that does.
    """
    if not isinstance(answer, dict):
        return tuple(_walk(answer, 0))
    told = [tuple(_walk(answer.get(key), 0)) for key in ("output", "images")]
    if most := max(told, key=len):
        return most
    others = (tuple(_walk(answer.get(key), 0)) for key in PICTURE_KEYS)
    return next(filter(None, others), ())


def _walk(value: Any, depth: int) -> Iterator[Output]:
    if depth > DEEPEST:
        return
    if isinstance(value, str):
        if (output := _output(value)) is not None:
            yield output
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, depth + 1)
    elif isinstance(value, dict):
        for key in PICTURE_KEYS:
            found = list(_walk(value.get(key), depth + 1))
            if found:
                yield from found
                return


def _output(text: str) -> Output | None:
    text = text.strip()
    if _is_url(text):
        return Output(url=text)
    encoded = text
    if text[:5].lower() == "data:":
        header, _, encoded = text.partition(",")
        if not header.lower().endswith(";base64"):
            return None
    elif not BASE64.fullmatch(text):
        return None
    try:
        data = base64.b64decode(encoded, validate=False)
    except (ValueError, binascii.Error):
        return None
    return Output(data=data) if data else None


def _is_url(text: str) -> bool:
    return text[:8].lower().startswith(("http://", "https://"))


# --- answers that say no

CREDITS = re.compile(
    r"credit|\bbalance\b|spend(ing)?[ _-]?limit|\bbudget\b|\bquota\b|top.?up|payment|billing", re.IGNORECASE
)
CONTENT = re.compile(
    r"\brai\b|nsfw|safety|moderat|content (policy|filter|block)|inappropriate|(?<![-\w])sensitive",
    re.IGNORECASE,
)


def refusal(status: int, body: bytes, *, call: str) -> errors.ApiError:
    """What an answer that is not 2xx means. `call` is submit, sync, status, result, upload or credits.

    A 406 is "Invalid content type", "Insufficient credits", a spend limit or a rejected parameter: the
    text tells. A 404 on a submit is the model, elsewhere the record. 429 is not decided here: its stamp
    is in the headers.
    """
    message = message_of(body) or f"HTTP {status}"
    paying = call in ("submit", "sync")
    if status == 401:
        return errors.BadKey(message, status=status)
    if status == 402 or (status == 406 and CREDITS.search(message)):
        return errors.OutOfCredits(message, status=status)
    if status == 403:
        return errors.Forbidden(message, status=status)
    if status in (404, 410):
        kind = errors.ModelGone if paying else errors.RecordGone
        return kind(message, status=status)
    if status in (502, 503, 504) or 520 <= status <= 527:  # 52x: a proxy's words for the same
        return errors.Gateway(f"HTTP {status}", status=status)
    if status >= 500:
        return errors.ServerError(message, status=status)
    if status == 422 and call == "sync":
        return failed({"error": message})
    return errors.Rejected(
        f"HTTP {status}: {message}" if not message.startswith("HTTP") else message, status=status
    )


def failed(answer: Mapping[str, Any]) -> errors.InferenceFailed:
    """FAILED, with the provider's own words; content blocks apart from machine faults."""
    message = _words(answer) or "no reason given"
    kind = errors.ContentBlocked if CONTENT.search(message) else errors.InferenceFailed
    return kind(message, status=422)


def message_of(body: bytes) -> str:
    """The words of an error answer: JSON's error, message or detail; of a page, its title."""
    try:
        answer = _json(body)
    except Unreadable:
        return _page_title(body)
    return _words(answer) or _excerpt(body)


WORD_KEYS = ("error", "message", "detail", "error_message", "msg")


def _words(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value.strip()
    if depth > DEEPEST:
        return ""
    if isinstance(value, dict):
        return next(filter(None, (_words(value.get(key), depth + 1) for key in WORD_KEYS)), "")
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(item, depth + 1) for item in value[:3])))
    return ""


def _page_title(body: bytes) -> str:
    text = body[:20_000].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title is not None:
        return " ".join(title.group(1).split())[:200]
    return "" if "<" in text else " ".join(text.split())[:200]


# --- reading with care


LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _json(body: bytes) -> Any:
    """Foreign JSON, whose every text can be stored. Raises Unreadable."""
    try:
        answer = json.loads(body.decode("utf-8-sig"))
        if LONE_SURROGATE.search(body):
            # Half a pair is JSON all the same, but no database and no file takes it.
            answer = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise Unreadable("the answer is not whole JSON") from error
    return answer


def _object(body: bytes) -> dict[str, Any]:
    answer = _json(body)
    if not isinstance(answer, dict):
        raise Unreadable("the answer is not a JSON object")
    return answer


def _metrics(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    metrics = answer.get("metrics")
    return metrics if isinstance(metrics, dict) else {}


def _total_time(metrics: Mapping[str, Any]) -> float | None:
    total = _number(metrics.get("total_time"))
    if total is not None:
        return total
    parts = [_number(metrics.get("queue_time")), _number(metrics.get("inference_time"))]
    return None if parts[1] is None else sum(part for part in parts if part is not None)


def _number(value: Any) -> float | None:
    """A finite number that is not negative, from JSON or from a header's text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 1e12 else None


def _absolute(url: Any, base: str) -> str:
    """A URL of an answer, which may be relative to the API."""
    if not isinstance(url, str) or not url:
        raise Unreadable("the submit's answer has no status_url or response_url")
    try:
        joined = urljoin(base + "/", url)
        host = urlsplit(joined).hostname
    except ValueError as error:
        raise Unreadable("the submit's answer has a URL that is none") from error
    if not host or not _is_url(joined):
        raise Unreadable("the submit's answer has a URL that is none")
    return joined


def _header(headers: Mapping[str, str], name: str) -> str | None:
    """A header's text; bytes that are no UTF-8, which stand in it as half surrogates, become `?`."""
    return _text(headers.get(name, "").encode("utf-8", "replace").decode())


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _excerpt(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())
