"""Reading with care: JSON that may be anything, numbers that may be none.

Rule: what cannot be read raises Unreadable, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

DEEPEST = 6
"""Levels of nesting that are looked into."""


class Unreadable(ValueError):
    """An answer that does not say what it must."""


class CutOff(Unreadable):
    """JSON that ends before its end: a line's fault, not a language that is not known."""


LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parsed(body: bytes) -> Any:
    """Foreign JSON in any of Unicode's encodings, whose every text can be stored. Raises Unreadable."""
    try:
        decoded = body.decode(json.detect_encoding(body))
        answer = json.loads(decoded)
        if LONE_SURROGATE.search(body):
            # Half a pair is JSON all the same, but no database and no file takes it.
            answer = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        begun = error.doc.lstrip()[:1] in ("{", "[")
        if begun and (error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")):
            raise CutOff("the answer breaks off") from error
        raise Unreadable("the answer is not whole JSON") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable("the answer is not whole JSON") from error
    return answer


def object_of(body: bytes) -> dict[str, Any]:
    """An answer that is a JSON object. Raises Unreadable."""
    answer = parsed(body)
    if not isinstance(answer, dict):
        raise Unreadable("the answer is not a JSON object")
    return answer


def metrics_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `metrics` of an answer; empty where it has none."""
    metrics = answer.get("metrics")
    return metrics if isinstance(metrics, dict) else {}


def total_time(metrics: Mapping[str, Any]) -> float | None:
    """Seconds from submission to result, as the provider measured them: said, or the sum of its parts."""
    total = number(metrics.get("total_time"))
    if total is not None:
        return total
    parts = [number(metrics.get("queue_time")), number(metrics.get("inference_time"))]
    return None if parts[1] is None else sum(part for part in parts if part is not None)


def number(value: Any) -> float | None:
    """A finite number that is not negative, from JSON or from a header's text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 1e12 else None


def absolute(url: Any, base: str) -> str:
    """A URL of an answer, which may be relative to the API."""
    if not isinstance(url, str) or not url:
        raise Unreadable("the submit's answer has no status_url or response_url")
    if url.startswith(f"{base}/v2/"):
        return url
    try:
        joined = urljoin(base + "/", url)
        host = urlsplit(joined).hostname
    except ValueError as error:
        raise Unreadable("the submit's answer has a URL that is none") from error
    if not host or not is_url(joined):
        raise Unreadable("the submit's answer has a URL that is none")
    return joined


def header(headers: Mapping[str, str], name: str) -> str | None:
    """A header's text; bytes that are no UTF-8, which stand in it as half surrogates, become `?`."""
    return text(headers.get(name, "").encode("utf-8", "replace").decode())


def text(value: Any) -> str | None:
    """A text that is not empty; None for anything else."""
    return value if isinstance(value, str) and value else None


def excerpt(body: bytes) -> str:
    """The beginning of a body, on one line, for a sentence."""
    return " ".join(body[:200].decode("utf-8", "replace").split())


def is_text(data: bytes) -> bool:
    """Whether bytes begin as a text does, or are none."""
    head = data[:256]
    try:
        told = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        told = head[: error.start].decode()  # cut off within a letter
    return all(letter.isprintable() or letter.isspace() for letter in told)


def is_url(text: str) -> bool:
    """Whether a text begins as an HTTP URL does."""
    return text[:8].lower().startswith(("http://", "https://"))
