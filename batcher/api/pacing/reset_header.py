"""When calls pass again, as an answer's headers tell it, in our own clock.

Rule: headers are foreign data. What cannot be read is None, never an exception, never a guess.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RESET_HEADER = "x-rate-limit-reset-at-utc"

_TOLERATED = 2.0
"""Seconds of clock difference left alone: a Date header has whole seconds, and answers travel."""
_REMEMBERED = 32
"""Date headers looked back upon: enough to meet every fraction of a second, few enough to follow a clock
that is set right in mid-run."""
_STEP, _STEPPED = 60.0, 3
"""Seconds by which an answer's Date may be old, from a cache; so many in a row that are older say that our
clock was set."""
_LONGEST_DELAY = 1e6
"""A bare number of seconds below this (11 days) is a delay; above it, an epoch."""
_LEAST_MILLISECONDS = 1e11
"""An epoch above this (the year 5138 in seconds) is in milliseconds."""


def reset_stamp(headers: Mapping[str, str], now: float, skew: ClockSkew) -> float | None:
    """The wall time (s, our clock) at which calls pass again, or None when the answer does not say.

    `x-rate-limit-reset-at-utc` is read first (ISO 8601, taken as UTC where it names no zone; epoch seconds or
    milliseconds; HTTP date), then `Retry-After` (seconds, decimals too; HTTP date). A delay counts from
    `now`; a moment is the server's, and is corrected by `skew`.
    """
    stamp = _moment(_header(headers, RESET_HEADER), now, skew)
    return stamp if stamp is not None else _moment(_header(headers, "retry-after"), now, skew)


class ClockSkew:
    """How far the server's clock is ahead of ours, learned from Date headers.

    A Date header is cut to whole seconds and is old when it arrives: it can only be behind the server's
    clock, never ahead. So the largest difference among the last answers is the truest.
    """

    def __init__(self) -> None:
        self._differences: deque[float] = deque(maxlen=_REMEMBERED)
        self._last: str | None = None
        self._behind = 0

    def observe(self, headers: Mapping[str, str], now: float) -> None:
        """Learn from one answer that arrived at wall time `now`; without a readable Date it says nothing."""
        date = headers.get("Date") or _header(headers, "date")
        if date == self._last:
            return
        self._last = date
        moment = _http_date(date) if date else None
        if moment is None:
            return
        difference = moment - now
        if difference < max(self._differences, default=difference) - _STEP:
            self._behind += 1
            if self._behind >= _STEPPED:
                self._differences.clear()
        else:
            self._behind = 0
        self._differences.append(difference)

    @property
    def seconds(self) -> float:
        """Server's clock minus ours, 0 while the difference is within what a Date header can blur."""
        difference = max(self._differences, default=0.0)
        return difference if abs(difference) > _TOLERATED else 0.0

    def ours(self, moment: float) -> float:
        """A moment of the server's clock in ours (epoch seconds both)."""
        return moment - self.seconds

    def __repr__(self) -> str:
        return f"<Skew server {self.seconds:+.1f} s, {len(self._differences)} answers>"


def _moment(text: str | None, now: float, skew: ClockSkew) -> float | None:
    if text is None or not (text := text.strip()):
        return None
    number = _number(text)
    if number is not None:
        if not math.isfinite(number):
            return None
        if abs(number) < _LONGEST_DELAY:
            return now + max(0.0, number)
        return skew.ours(number / 1000 if number > _LEAST_MILLISECONDS else number)
    moment = _iso(text)
    if moment is None:
        moment = _http_date(text)
    return None if moment is None else skew.ours(moment)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _iso(text: str) -> float | None:
    try:
        return _timestamp(datetime.fromisoformat(_ZONE.sub("", text)))
    except (ValueError, OverflowError):
        return None


_ZONE = re.compile(r"\s*(UTC|GMT)$")


def _http_date(text: str) -> float | None:
    try:
        return _timestamp(parsedate_to_datetime(text))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _timestamp(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _header(headers: Mapping[str, str], name: str) -> str | None:
    """By name in any case: aiohttp's headers do not mind it, a plain dict does."""
    return next((value for key, value in headers.items() if key.lower() == name), None)
