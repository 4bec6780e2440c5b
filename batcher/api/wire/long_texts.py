"""Pictures as base64 inside JSON are decoded where they lie.

Rule: an answer of hundreds of MB is not held as bytes, as text, as a value and as a picture all at once:
beside its bytes there is only the picture.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

from batcher.api.wire.json_values import DEEPEST, parsed

LONG = re.compile(rb'"(?:data:[^",\\]{0,100};base64,)?([A-Za-z0-9+/_-]{65536,}={0,2})"', re.IGNORECASE)
URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
MARK = "\0base64:"


class DecodedText(str):
    """Stands for a long text of base64; `data` is what that holds."""

    data: bytes


def parsed_apart(body: bytes) -> Any:
    """As `parsed`, with a `DecodedText` in place of each long text that is base64. Raises Unreadable."""
    if len(body) < 65536:
        return parsed(body)
    skeleton, end = bytearray(), 0
    decoded: list[bytes] = []
    for found in LONG.finditer(body):
        data = _decoded(body, *found.span(1))
        if data:
            skeleton += body[end : found.start()] + b'"\\u0000base64:%d"' % len(decoded)
            decoded.append(data)
            end = found.end()
    if not decoded:
        return parsed(body)
    skeleton += memoryview(body)[end:]
    return _restored(parsed(bytes(skeleton)), decoded, 0)


def _decoded(body: bytes, start: int, end: int) -> bytes:
    """Without a copy of the text where it is in the usual alphabet, and padded."""
    text: bytes | memoryview = memoryview(body)[start:end]
    if body.find(b"-", start, end) >= 0 or body.find(b"_", start, end) >= 0:
        text = body[start:end].translate(URL_ALPHABET)
    try:
        if len(text) % 4 == 0:
            return binascii.a2b_base64(text)
        plain = bytes(text).rstrip(b"=")
        whole = plain[:-1] if len(plain) % 4 == 1 else plain
        return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))
    except binascii.Error:
        return b""


def _restored(value: Any, decoded: list[bytes], depth: int) -> Any:
    """A value with what its marks stand for."""
    if isinstance(value, str) and value.startswith(MARK):
        number = value.removeprefix(MARK)
        if number.isdecimal() and int(number) < len(decoded):
            text = DecodedText(value)
            text.data = decoded[int(number)]
            return text
    if depth > DEEPEST:
        return value
    if isinstance(value, list):
        return [_restored(item, decoded, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _restored(item, decoded, depth + 1) for key, item in value.items()}
    return value
