"""The pictures in an answer, wherever they are.

Law: never assume a fixed key set.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from batcher.wire.reading import DEEPEST, is_url


@dataclass(frozen=True, slots=True)
class Output:
    """One picture of a result: a URL, or the bytes themselves."""

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)


PICTURE_KEYS = ("output", "images", "image", "image_url", "image_urls", "url", "urls", "data", "result")
BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{64,}={0,2}\s*")


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
    if is_url(text):
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
