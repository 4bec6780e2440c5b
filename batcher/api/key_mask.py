"""The key in an answer: some services repeat the one that they refuse, and answers are written down.

Rule: no answer goes further than the client before it was masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from multidict import CIMultiDict, CIMultiDictProxy

HIDDEN = b"(the key)"
"""Stands in an answer where it had the key itself."""


class KeyMask:
    """Hides one key in what comes back."""

    def __init__(self, key: str) -> None:
        self._key = key
        escaped = "".join(rf"(?:{re.escape(letter)}|\\u(?i:{ord(letter):04x}))" for letter in key)
        self._escaped_key = re.compile(escaped.encode())

    def body(self, body: bytes) -> bytes:
        """The bytes of an answer without the key: as it is, with JSON's escapes, or in UTF-16."""
        body = in_utf8(body).replace(self._key.encode(), HIDDEN)
        if b"\\u00" in body:
            body = self._escaped_key.sub(HIDDEN, body)
        return body

    def headers(self, headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
        """The headers of an answer without the key."""
        if not any(self._key in value for value in headers.values()):
            return headers
        hidden = HIDDEN.decode()
        return CIMultiDict((name, value.replace(self._key, hidden)) for name, value in headers.items())


def in_utf8(body: bytes) -> bytes:
    """JSON in another of Unicode's encodings, in this one; whatever else it is stays as it is."""
    encoding = json.detect_encoding(body[:4])
    if encoding.startswith("utf-8"):
        return body
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        return body
    return text.encode("utf-8", "replace") if text.lstrip("\ufeff \r\n\t")[:1] in ("{", "[", '"') else body
