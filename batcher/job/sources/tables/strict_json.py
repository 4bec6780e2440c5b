"""JSON as the standard has it: no NaN, no infinities, no half characters; and no key twice in an object, for
of two values one would be lost in silence."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

NOT_AN_OBJECT = 'is not an object such as {"prompt": "..."}'


def loads(text: str) -> Any:
    """Raises ValueError, RecursionError; `reason` says why in words."""
    value = _DECODER.decode(text)
    if "\\u" in text or "\\U" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def reason(error: Exception) -> str:
    """Why a text is no JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.colno}"
    if isinstance(error, UnicodeEncodeError):
        return "it holds half a character (a lone surrogate)"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:30]} is too large a number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"it has the key {name[:60]!r} twice")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
