"""Durations as people write them, `500ms 2s 5m 1h 7d`, and as seconds."""

from __future__ import annotations

import re

PATTERN = r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)"
_DURATION = re.compile(PATTERN)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: object) -> float:
    """A duration in seconds. Raises ValueError with a sentence."""
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        unit = f"; write the unit, as {text}s" if isinstance(text, int | float) and text is not True else ""
        raise ValueError(f"{text!r} is not a duration such as 500ms, 2s, 5m, 1h or 7d{unit}")
    return float(match[1]) * _UNITS[match[2]]


def positive_seconds(text: object) -> float:
    """A duration above zero, in seconds. Raises ValueError with a sentence."""
    value = seconds(text)
    if value <= 0:
        raise ValueError(f"{text!r} is no time at all; it must be above zero")
    return value


def spelled(value: float) -> str:
    """Seconds as a manifest says them: in the largest unit of which they are a whole number."""
    for unit in ("d", "h", "m"):
        count, rest = divmod(value, _UNITS[unit])
        if count and not rest:
            return f"{count:.0f}{unit}"
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"
