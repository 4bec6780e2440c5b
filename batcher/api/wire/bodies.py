"""Request bodies as the history tells them: read in every form it has, and compared by value.

Rule: what cannot be read is None, and is compared with nothing. Source: the tests of the official SDK 1.3.0
have Python's repr of a dict as text; other rows have JSON.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from typing import Any

MAX_BODY_CHARS = 1 << 20
"""Characters of a body told as text; a longer one is not read."""


def parsed_body(value: object) -> Mapping[str, Any] | None:
    """A body told as a mapping, as JSON text or as Python's repr of a dict; None: it cannot be read."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str) or len(value) > MAX_BODY_CHARS:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            parsed_value = read(value)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return parsed_value if isinstance(parsed_value, dict) else None
    return None


def same_value(one: object, other: object) -> bool:
    """Whether two JSON values are the same, whatever their spelling: 1 is 1.0, but True is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or math.isclose(one, other, rel_tol=1e-12)
    return type(one) is type(other) and one == other
