"""Durations as people write them: `500ms`, `2s`, `5m`, `1h`, `7d`, or a bare number of seconds."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)")


def seconds(text: str | float) -> float:
    """A duration in seconds.

    Raises:
        ValueError: it is no duration.
    """
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write for example 500ms, 2s, 5m or 1h")
    return float(match[1]) * _UNITS[match[2]]
