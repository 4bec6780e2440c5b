"""Answers that say no, by their meaning: the status is not enough, the words tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batcher import errors
from batcher.api.wire.json_values import DEEPEST, Unreadable, excerpt, parsed, text

CREDITS = re.compile(
    r"credit|\bbalance\b|spend(ing)?[ _-]?limit|\bbudget\b|\bquota\b|top.?up|payment|billing", re.IGNORECASE
)
STORAGE = re.compile(r"\bquota\b|\bstorage\b.{0,40}\b(full|limit|exceed|space|used up)", re.IGNORECASE)
CONTENT = re.compile(
    r"\brai\b|nsfw|safety|moderat|content (policy|filter|block)|inappropriate|(?<![-\w])sensitive",
    re.IGNORECASE,
)


FETCHING = r"fetch|download|retriev|load|open|read|access|reach|get"
DEAD_INPUT = re.compile(
    rf"\b({FETCHING})(ed|ing)?\b.{{0,60}}(https?://|\burls?\b|\bimages?\b|\bfiles?\b|\binputs?\b)"
    r"|(https?://|\b(url|asset|file|image)\b).{0,200}(\b(403|404|410)\b|not found|expired|no longer)",
    re.IGNORECASE | re.DOTALL,
)


REDIRECTS = frozenset({301, 302, 307, 308})
"""Answers that name another place, and should have done nothing else; a 303 tells that it is done."""
NOT_TAKEN = (408, 421, 425)
"""Said of the line, not of the request: it was not taken up, and may be sent again."""


def blames_an_input(message: str) -> bool:
    """Whether these words may mean that a picture could not be had under its URL."""
    return DEAD_INPUT.search(message) is not None


def refusal(status: int, body: bytes, *, call: str, location: str = "") -> errors.ApiError:
    """What an answer that is not 2xx means. `call` is a CallKind: submit, sync, status, result...;
    `location` is where it redirects to.

    A 406 is "Invalid content type", "Insufficient credits", a spend limit or a rejected parameter: the
    text tells. A 404 on a submit is the model, elsewhere the record; one that is a page is no history. 429
    is not decided here: its stamp is in the headers. Only 4xx and 5xx say no; what else is no yes proves
    nothing: of a submit, not even that it was refused.
    """
    message = message_of(body) or f"HTTP {status}"
    paying = call in ("submit", "sync")
    if status == 401:
        return errors.BadKey(message, status=status)
    if call == "upload" and status < 500 and STORAGE.search(message):
        return errors.StorageFull(message, status=status)
    if status == 402 or (status == 406 and CREDITS.search(message)):
        return errors.OutOfCredits(message, status=status)
    if status == 403:
        return errors.Forbidden(message, status=status)
    if status == 407:
        return errors.WrongEndpoint("a proxy wants to know who we are (HTTP 407)", status=status)
    if status in NOT_TAKEN:
        return errors.Unreachable(f"HTTP {status}", status=status)
    if not 400 <= status < 600:
        return _neither(status, message, body, paying=paying, location=location)
    if status in (404, 405, 410) and (gone := _gone(status, message, body, call)) is not None:
        return gone
    if status in (502, 503, 504) or status >= 520:  # 52x, 53x...: a proxy's words for the same
        return errors.Gateway(f"HTTP {status}", status=min(status, 504))
    if status >= 500:
        return errors.ServerError(message, status=status)
    if status == 422 and call == "sync":
        return failed({"error": message})
    return errors.Rejected(
        f"HTTP {status}: {message}" if not message.startswith("HTTP") else message, status=status
    )


def _gone(status: int, message: str, body: bytes, call: str) -> errors.ApiError | None:
    """What is not there: a storage, a history, a model, or one record; None: a method that is not allowed."""
    if call == "upload":
        return errors.Forbidden(f"the storage answers {status} to uploads; is its URL right?", status=status)
    if call == "history" and not _is_json(body):
        return errors.Rejected(f"there is no request history there (HTTP {status})", status=status)
    if status == 405:
        return None
    kind = errors.ModelGone if call in ("submit", "sync") else errors.RecordGone
    return kind(message, status=status)


def _neither(status: int, message: str, body: bytes, *, paying: bool, location: str) -> errors.ApiError:
    """An answer that says neither yes nor no: a redirect of a submit is no proof that it was refused."""
    if status not in REDIRECTS:
        return (
            errors.NotUnderstood(f"HTTP {status}: {message}", status=status, answer=body)
            if paying
            else errors.AnswerLost(f"HTTP {status}", status=status)
        )
    if not paying:
        return errors.WrongEndpoint("the API redirects its calls; is the base URL right?", status=status)
    where = f" to {location[:200]}" if location else ""
    return errors.NotUnderstood(
        f"HTTP {status}: the API redirects its calls{where}; is the base URL right?",
        status=status,
        answer=body,
    )


def failed(answer: Mapping[str, Any]) -> errors.InferenceFailed:
    """FAILED, with the provider's own words; content blocks apart from machine faults."""
    message = words(answer) or "no reason given"
    kind = errors.ContentBlocked if CONTENT.search(message) else errors.InferenceFailed
    return kind(message, status=422, request_id=text(answer.get("request_id")))


def message_of(body: bytes) -> str:
    """The words of an error answer: JSON's error, message or detail; of a page, its title."""
    try:
        answer = parsed(body)
    except Unreadable:
        return _page_title(body)
    return words(answer) or excerpt(body)


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(parsed(body), dict)
    except Unreadable:
        return False


WORD_KEYS = ("error", "message", "detail", "error_message", "msg")


def words(value: Any, depth: int = 0) -> str:
    """What an error's JSON says for people, wherever in it that stands; empty where it says nothing."""
    if isinstance(value, str):
        return value.strip()
    if depth > DEEPEST:
        return ""
    if isinstance(value, dict):
        return next(filter(None, (words(value.get(key), depth + 1) for key in WORD_KEYS)), "")
    if isinstance(value, list):
        return "; ".join(filter(None, (words(item, depth + 1) for item in value[:3])))
    return ""


def _page_title(body: bytes) -> str:
    text = body[:20_000].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title is not None:
        return " ".join(title.group(1).split())[:200]
    return "" if "<" in text else " ".join(text.split())[:200]
