"""Answers that say yes: submit, status, result, sync, credits, upload."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from batcher.api.wire.json_values import (
    DEEPEST,
    CutOff,
    Unreadable,
    absolute,
    header,
    is_text,
    is_url,
    metrics_of,
    number,
    object_of,
    parsed,
    text,
    total_time,
)
from batcher.api.wire.long_texts import parsed_apart
from batcher.api.wire.outputs import INSIDE, LONGEST_HEAD, PICTURE, Output, outputs_of
from batcher.api.wire.refusals import failed, words


class Accepted(NamedTuple):
    """A submit's answer: the job exists from here on. URLs are absolute."""

    request_id: str
    status_url: str
    response_url: str


@dataclass(frozen=True, slots=True)
class Status:
    """A status answer; `finished` when it is COMPLETED (FAILED is an error, InferenceFailed). `request_id`:
    the job that it tells of, None where it names none."""

    finished: bool
    word: str
    request_id: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether the word is one that the API documents; another may mean an end too."""
        return self.finished or self.word in RUNNING


RUNNING = frozenset({"QUEUED", "PROCESSING", "PENDING"})
"""The words of a job that goes on."""


class UnknownEnd(Unreadable):
    """A result whose status word is not known, and which holds no picture."""


@dataclass(frozen=True, slots=True)
class Result:
    """A completed job: its pictures and its accounting. Times in seconds, money in credits."""

    outputs: tuple[Output, ...]
    request_id: str | None = None
    cost: float | None = None
    seed: int | str | None = None
    queue_time: float | None = None
    inference_time: float | None = None
    total_time: float | None = None
    answer: bytes = field(default=b"", repr=False)
    """The whole of an answer in which no picture was found."""


ID_KEYS = ("request_id", "requestId", "id")
ENVELOPES = ("data", "result", "request", "response")
LONGEST_ID = 200
TOLD_ID = re.compile(rb'"request_?id"\s*:\s*"([^"\\\s]+)"', re.IGNORECASE)
"""An id that stands whole in an answer which breaks off behind it."""
RECORD = re.compile(r"/requests/([^/?#]+)(?:/status)?/?(?:[?#]|$)")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def accepted(body: bytes, base: str, *, may_follow: Callable[[str], bool] = lambda url: True) -> Accepted:
    """A submit's 2xx: its id in any sane form. Its URLs are followed where they lead to whom we trust; else
    the job exists all the same, and its record is where every record is. Raises Unreadable, CutOff where it
    breaks off before its id."""
    try:
        identified = _with_id(parsed(body))
    except CutOff:
        if (begun := _begun(body)) is None:
            raise
        identified = begun, {}
    if identified is None:
        raise Unreadable("the submit's answer has no request_id")
    request_id, answer = identified
    built = record_of(request_id, base)

    def trusted(url: Any, otherwise: str) -> str:
        try:
            location = absolute(url, base)
        except Unreadable:
            return otherwise
        return location if may_follow(location) else otherwise

    return Accepted(
        request_id,
        trusted(answer.get("status_url") or answer.get("poll_url"), built.status_url),
        trusted(answer.get("response_url"), built.response_url),
    )


def _with_id(answer: Any, depth: int = 0) -> tuple[str, Mapping[str, Any]] | None:
    """The id of a job, and the object that tells it; None where there is none. What tells of an error has
    other ids than a job's, but for `request_id` itself."""
    if depth > DEEPEST:
        return None
    if isinstance(answer, list) and len(answer) == 1:
        return _with_id(answer[0], depth + 1)
    if isinstance(answer, str):
        return _with_id_in(answer.strip(), depth)
    if not isinstance(answer, dict):
        return None
    refused = bool(answer.get("error"))
    for key in ID_KEYS[:1] if refused else ID_KEYS:
        if (request_id := _id_of(answer.get(key))) is not None:
            return request_id, answer
    for key in () if refused else ("status_url", "poll_url", "response_url"):
        url = answer.get(key)
        if isinstance(url, str) and (request_id := id_in(url)) is not None:
            return request_id, answer
    inner = (_with_id(answer.get(key), depth + 1) for key in (() if refused else ENVELOPES))
    return next(filter(None, inner), None)


def _with_id_in(text: str, depth: int) -> tuple[str, Mapping[str, Any]] | None:
    """An id, or JSON, inside a JSON text."""
    if UUID.fullmatch(text):
        return text, {}
    if text[:1] != "{":
        return None
    try:
        return _with_id(parsed(text.encode()), depth + 1)
    except Unreadable:
        return None


def _begun(body: bytes) -> str | None:
    """The id in an answer that breaks off, where it came whole."""
    found = TOLD_ID.search(body)
    return None if found is None else _id_of(found[1].decode("utf-8", "replace"))


def _id_of(value: Any) -> str | None:
    """A text or a whole number that can be an id, perhaps an object's own `id` or a list's only item."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = next((value[key] for key in ID_KEYS if key in value), None)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    identifier = value.strip()
    sane = 0 < len(identifier) <= LONGEST_ID and identifier.isprintable() and " " not in identifier
    return identifier if sane else None


def id_in(url: str) -> str | None:
    """The id that a record's URL names; None where it names none."""
    record = RECORD.search(url)
    return None if record is None else _id_of(unquote(record[1]))


def record_of(request_id: str, base: str) -> Accepted:
    """Where a job's record is, built from its id: for an answer that tells no URLs, as the history."""
    record = f"{base}/v2/requests/{quote(request_id, safe='')}"
    return Accepted(request_id, f"{record}/status", record)


def status(body: bytes, *, code: int = 200) -> Status:
    """A status answer with HTTP status `code`, 2xx or 422.

    Raises InferenceFailed when it says FAILED, Unreadable when it says nothing: a 422 without that word may
    be anybody's. Whether it is about the job that was asked about, its `request_id` tells.
    """
    answer = object_of(body)
    word = _word_of(answer)
    if word == "FAILED":
        raise failed(answer)
    if word is None:
        raise Unreadable(_without_status(answer, code))
    return Status(word == "COMPLETED", word, text(answer.get("request_id")))


def result(body: bytes, *, code: int = 200, base: str = "") -> Result:
    """A result answer with HTTP status `code`, 2xx or 422. Raises as `status`, and when it is not COMPLETED:
    what shows neither that word nor a picture is no result, and may be asked for again. A word that is not
    known decides nothing where there is a picture. `base`: the URL that answered."""
    answer = parsed_apart(body)
    if not isinstance(answer, dict):
        raise Unreadable("the answer is not a JSON object")
    word = _word_of(answer)
    if word == "FAILED":
        raise failed(answer)
    if word is None and code >= 300:
        raise Unreadable(_without_status(answer, code))
    if word in RUNNING:
        raise Unreadable(f"the result is still {word}")
    metrics = metrics_of(answer)
    outputs = outputs_of(answer, base)
    if word != "COMPLETED" and not outputs:
        if word:
            raise UnknownEnd(f"the result is {word[:40]} and holds no picture")
        raise Unreadable("the answer has neither a status nor a picture")
    seed = answer.get("seed")
    return Result(
        outputs,
        request_id=text(answer.get("request_id")),
        cost=number(metrics.get("cost")),
        seed=seed if isinstance(seed, int | str) and not isinstance(seed, bool) else None,
        queue_time=number(metrics.get("queue_time")),
        inference_time=number(metrics.get("inference_time")),
        total_time=total_time(metrics),
        answer=b"" if outputs else body,
    )


def _without_status(answer: Mapping[str, Any], code: int) -> str:
    said = words(answer)
    return f"the answer (HTTP {code}) has no status" + (f"; it says: {said}" if said else "")


def _word_of(answer: Mapping[str, Any]) -> str | None:
    """The status word, whatever its case: a finished job must not wait for its record's end over a letter."""
    word = answer.get("status")
    return word.strip().upper() if isinstance(word, str) else None


def sync_result(headers: Mapping[str, str], body: bytes, *, base: str = "") -> Result:
    """A v1 answer: picture bytes, or JSON with base64 or URLs; accounting in headers. Bytes that begin as a
    picture are one, whatever the headers call them; a text is none, whatever these say.

    Raises Unreadable, also where there is no picture; InferenceFailed when it says FAILED.
    """
    return Result(
        _sync_outputs(headers.get("Content-Type", ""), body, base),
        request_id=header(headers, "x-request-id"),
        cost=number(headers.get("x-cost")),
        seed=header(headers, "x-seed-value"),
        inference_time=number(headers.get("x-generation-time")),
        total_time=number(headers.get("x-generation-time")),
    )


def _sync_outputs(content_type: str, body: bytes, base: str) -> tuple[Output, ...]:
    kind = content_type.partition(";")[0].strip().lower()
    begins = body[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not begins:
        raise Unreadable("the answer is empty")
    if PICTURE.match(body):
        return (Output(data=body),)
    if PICTURE.match(begins):
        return (Output(data=body[body.index(begins) :]),)
    if kind.endswith("json") or begins[:1] in (b"{", b"["):
        answer = parsed_apart(body)
        if isinstance(answer, dict) and _word_of(answer) == "FAILED":
            raise failed(answer)
        outputs = outputs_of(answer, base)
    elif kind.startswith("image/"):
        outputs = (Output(data=body),)
    elif (inside := INSIDE.search(body, 0, LONGEST_HEAD)) is not None:
        return (Output(data=body[inside.start() :]),)
    else:
        outputs = outputs_of(body.decode("utf-8", "replace"))
    if all(output.data is not None and is_text(output.data) for output in outputs):
        raise Unreadable(f"the answer ({kind or 'of no type'}) holds no picture")
    return outputs


def credits_left(body: bytes) -> float:
    """The account's credits, paid and free. Raises Unreadable."""
    answer = object_of(body)
    amounts = [number(answer.get(key)) for key in ("credits", "free-credits")]
    if amounts[0] is None:
        raise Unreadable("the answer has no credits")
    return sum(number for number in amounts if number is not None)


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
