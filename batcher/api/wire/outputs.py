"""The pictures in an answer, wherever they are.

Rule: never assume a fixed key set.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urljoin

from batcher.api.wire.json_values import DEEPEST, is_url
from batcher.api.wire.long_texts import DecodedText


@dataclass(frozen=True, slots=True)
class Output:
    """One picture of a result: a URL, or the bytes themselves."""

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)


PICTURE = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8|RIFF.{4}WEBP|....ftyp(?:avi|hei|hev|mif)|BM.{4}\0\0\0\0"
    rb"|II[*+]\0|MM\0[*+]|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|\0\0\x01\0[\x01-\x40]\0"
    rb"|P[1-6]\s+\d+\s+\d+\s",
    re.DOTALL,
)
"""How the pictures begin that are read here: such bytes are paid for, whatever an answer calls them."""
INSIDE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff[\xdb\xe0\xe1\xe2\xee]|RIFF.{4}WEBPVP8", re.DOTALL)
"""The same where something else comes before, as the head of a part. What follows a picture does no harm."""
LONGEST_HEAD = 16_384
PICTURE_KEYS = (
    ("output", "images"),
    ("images", "image"),
    ("image_urls", "image_url"),
    ("urls", "url"),
    ("data",),
    ("result",),
)
"""Where pictures are looked for, in this order. Keys of one group may tell the same pictures twice: the one
that tells more is taken, for all are paid."""
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
BLANKS = re.compile(r"\s+")
LOCAL = re.compile(
    r"//[^/\s]+/\S+|/\S+|[^\s:]+\.(?:png|jpe?g|webp|gif|avif|bmp|tiff?)(?:\?\S*)?", re.IGNORECASE
)
"""A URL without its scheme, or without its host."""
LONGEST_URL = 4096
BASE64_OF_PICTURES = ("iVBORw0KGgo", "/9j/", "_9j_", "R0lGOD", "UklGR")


def outputs_of(answer: Any, base: str = "") -> tuple[Output, ...]:
    """The pictures of a result: a URL, a list of URLs, `images[]`, base64, lists of base64. `base` is the
    URL that answered: those without a host of their own are taken from there.

    Where none of the PICTURE_KEYS holds any, bytes that are a picture, wherever.
    """
    outputs = tuple(_walk(answer, base, 0))
    if outputs or not isinstance(answer, dict):
        return outputs
    return tuple(_bytes_anywhere(answer, 0))


def _walk(value: Any, base: str, depth: int) -> Iterator[Output]:
    if depth > DEEPEST:
        return
    if isinstance(value, DecodedText):
        yield Output(data=value.data)
    elif isinstance(value, str):
        yield from _outputs_in(value, base, depth)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, base, depth + 1)
    elif isinstance(value, dict):
        for keys in PICTURE_KEYS:
            told = [list(_walk(value.get(key), base, depth + 1)) for key in keys if key in value]
            if outputs := max(told, key=len, default=None):
                yield from outputs
                return


def _outputs_in(text: str, base: str, depth: int) -> Iterator[Output]:
    text = text.strip()
    if text[:1] in ("[", "{", '"'):
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            return
        yield from _walk(inner, base, depth + 1)
    elif (output := _output(text, base)) is not None:
        yield output


def _output(text: str, base: str) -> Output | None:
    if is_url(text):
        return Output(url=text)
    if text[:5].lower() == "data:":
        header, _, encoded = text.partition(",")
        if not header.lower().endswith(";base64"):
            return None
        data = _decoded(unquote(encoded) if "%" in encoded[:100] or "%" in encoded[-9:] else encoded)
        return Output(data=data) if data else None
    if (
        base
        and len(text) <= LONGEST_URL
        and not text.startswith(BASE64_OF_PICTURES)
        and LOCAL.fullmatch(text)
    ):
        return Output(url=urljoin(base, text))
    return _base64(text)


def _base64(text: str) -> Output | None:
    """A picture as base64: in the alphabet of URLs, with line breaks or without its padding all the same.
    A sentence is none: what has blanks within its lines must begin as a picture."""
    compact = BLANKS.sub("", text) if BLANKS.search(text) else text
    if not BASE64.fullmatch(compact):
        return None
    if (" " in text or "\t" in text) and not compact.startswith(BASE64_OF_PICTURES):
        return None
    data = _decoded(compact)
    return Output(data=data) if data else None


def _decoded(encoded: str) -> bytes:
    """The bytes, as far as they go: empty where there are none."""
    encoded = BLANKS.sub("", encoded).rstrip("=").replace("-", "+").replace("_", "/")
    whole = encoded[:-1] if len(encoded) % 4 == 1 else encoded
    try:
        return base64.b64decode(whole + "=" * (-len(whole) % 4))
    except (ValueError, binascii.Error):
        return b""


def _bytes_anywhere(value: Any, depth: int) -> Iterator[Output]:
    """Bytes that begin as a picture, under whatever key."""
    if depth > DEEPEST:
        return
    if isinstance(value, DecodedText):
        if PICTURE.match(value.data):
            yield Output(data=value.data)
    elif isinstance(value, str):
        output = _base64(value) if len(value) >= 64 else None
        if output is not None and output.data is not None and PICTURE.match(output.data):
            yield output
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _bytes_anywhere(item, depth + 1)
