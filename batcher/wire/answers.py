"""Answers that say yes: submit, status, result, sync, credits, upload."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from batcher.wire.pictures import Output, outputs_of
from batcher.wire.reading import (
    Unreadable,
    absolute,
    excerpt,
    header,
    is_url,
    metrics_of,
    number,
    object_of,
    parsed,
    text,
    total_time,
)
from batcher.wire.refusals import failed

PICTURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8|RIFF.{4}WEBP", re.DOTALL)
"""How the pictures begin that models make: such bytes are paid for, whatever an answer calls them."""


class Accepted(NamedTuple):
    """A submit's answer: the job exists from here on. URLs are absolute."""

    request_id: str
    status_url: str
    response_url: str


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


def accepted(body: bytes, base: str) -> Accepted:
    """A submit's 2xx. Its URLs are followed; where it tells none, the job exists all the same, and its record
    is where every record is. Raises Unreadable."""
    answer = object_of(body)
    request_id = answer.get("request_id")
    if not (isinstance(request_id, str) and request_id):
        raise Unreadable("the submit's answer has no request_id")
    built = record_of(request_id, base)

    def told(url: Any, otherwise: str) -> str:
        try:
            return absolute(url, base)
        except Unreadable:
            return otherwise

    return Accepted(
        request_id,
        told(answer.get("status_url") or answer.get("poll_url"), built.status_url),
        told(answer.get("response_url"), built.response_url),
    )


def record_of(request_id: str, base: str) -> Accepted:
    """Where a job's record is, built from its id: for an answer that tells no URLs, as the history."""
    record = f"{base}/v2/requests/{quote(request_id, safe='')}"
    return Accepted(request_id, f"{record}/status", record)


Foreign = Callable[[str], bool]
"""Whether a request_id is known to be that of another job than the one asked about."""


def of_no_other(request_id: str) -> bool:
    """Where no other job is known."""
    return False


def status(body: bytes, *, code: int = 200, foreign: Foreign = of_no_other) -> Status:
    """A status answer with HTTP status `code`, 2xx or 422.

    Raises Unreadable, also where it is the answer to another question (a line out of step, a cache), or
    InferenceFailed when it says FAILED or is a 422 that says no other word.
    """
    answer = _own(object_of(body), foreign)
    word = _word_of(answer)
    if word == "FAILED" or (code == 422 and word is None):
        raise failed(answer)
    if word is None:
        raise Unreadable("the answer has no status")
    return Status(word == "COMPLETED", word, total_time(metrics_of(answer)))


def result(body: bytes, *, code: int = 200, foreign: Foreign = of_no_other) -> Result:
    """A result answer with HTTP status `code`, 2xx or 422. Raises as `status`, and when it is not COMPLETED:
    what shows neither that word nor a picture is no result, and may be asked for again."""
    answer = _own(object_of(body), foreign)
    word = _word_of(answer)
    if word == "FAILED" or (code == 422 and word is None):
        raise failed(answer)
    if word is not None and word != "COMPLETED":
        raise Unreadable(f"the result is still {word[:40]}")
    metrics = metrics_of(answer)
    outputs = outputs_of(answer)
    if word != "COMPLETED" and not outputs:
        raise Unreadable("the answer has neither a status nor a picture")
    seed = answer.get("seed")
    return Result(
        outputs,
        request_id=text(answer.get("request_id")),
        cost=number(metrics.get("cost")),
        remaining_credits=number(metrics.get("remaining_credits")),
        seed=seed if isinstance(seed, int | str) and not isinstance(seed, bool) else None,
        queue_time=number(metrics.get("queue_time")),
        inference_time=number(metrics.get("inference_time")),
        total_time=total_time(metrics),
        excerpt="" if outputs else excerpt(body),
    )


def _own(answer: Mapping[str, Any], foreign: Foreign) -> Mapping[str, Any]:
    told = text(answer.get("request_id"))
    if told is not None and foreign(told):
        raise Unreadable("the answer is about another request")
    return answer


def _word_of(answer: Mapping[str, Any]) -> str | None:
    """The status word, whatever its case: a finished job must not wait for its record's end over a letter."""
    word = answer.get("status")
    return word.strip().upper() if isinstance(word, str) else None


def sync_result(headers: Mapping[str, str], body: bytes) -> Result:
    """A v1 answer: picture bytes, or JSON with base64 or URLs; accounting in headers.

    Raises Unreadable; InferenceFailed when it says FAILED.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    begins = body[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    outputs: tuple[Output, ...]
    if not body:
        raise Unreadable("the answer is empty")
    if PICTURE.match(body):
        outputs = (Output(data=body),)
    elif kind.endswith("json") or begins in (b"{", b"["):
        answer = parsed(body)
        if isinstance(answer, dict) and _word_of(answer) == "FAILED":
            raise failed(answer)
        outputs = outputs_of(answer)
    elif kind.startswith("text/"):
        outputs = outputs_of(body.decode("utf-8", "replace"))
        if not outputs:
            raise Unreadable(f"the answer is {kind}, not a picture")
    else:
        outputs = (Output(data=body),)
    return Result(
        outputs,
        request_id=header(headers, "x-request-id"),
        cost=number(headers.get("x-cost")),
        remaining_credits=number(headers.get("x-remaining-credits")),
        seed=header(headers, "x-seed-value"),
        inference_time=number(headers.get("x-generation-time")),
        total_time=number(headers.get("x-generation-time")),
        excerpt="" if outputs else excerpt(body),
    )


def credits_left(body: bytes) -> float:
    """The account's credits, paid and free. Raises Unreadable."""
    answer = object_of(body)
    found = [number(answer.get(key)) for key in ("credits", "free-credits")]
    if found[0] is None:
        raise Unreadable("the answer has no credits")
    return sum(number for number in found if number is not None)


def uploaded_urls(body: bytes) -> list[str]:
    """An upload's URLs: `file_urls` (SDK) or `urls` (documentation). Raises Unreadable."""
    answer = object_of(body)
    urls = answer.get("file_urls") or answer.get("urls")
    if (
        not isinstance(urls, list)
        or not urls
        or not all(isinstance(url, str) and is_url(url) for url in urls)
    ):
        raise Unreadable("the upload's answer has no file_urls")
    return urls
