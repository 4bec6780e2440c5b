"""What the gate tells: events for people, its state at a moment, and its lesson for the next run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from batcher.api.pacing.call_queue import CallKind

BELIEVED = 7 * 86_400.0
"""Seconds for which an earlier run's lesson is believed."""

Metered = Literal["submits", "all"]
"""Which calls count against the limit: submits (v1 calls too), or every call to the API."""


@dataclass(frozen=True, slots=True)
class PacingEvent:
    """Something worth telling: `what` happened, and `text`, a sentence for people.

    `paused`: for `seconds`; `exhausted`: nothing passes for longer than the user waits; `rate`: 429s or a
    probe that passed changed it to `per_minute`; `metered`: a 429 on a status or result call proved that
    every call counts (once); `shared`: a run beside has a lower limit, which holds for both.
    `learned`: what the next run should know of it, as `Pacing.snapshot()` (None: nothing new).
    """

    what: Literal["paused", "exhausted", "rate", "metered", "shared"]
    text: str
    seconds: float = 0.0
    per_minute: float | None = None
    learned: Mapping[str, Any] | None = None


def used_up(until: float, seconds: float) -> PacingEvent:
    """Nothing passes before the wall time `until`, so many seconds away."""
    text = f"the API's limit is used up until {_utc(until)}: run again then"
    return PacingEvent("exhausted", text, seconds=seconds)


def _utc(moment: float) -> str:
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return "a day that no calendar has"


@dataclass(frozen=True, slots=True)
class PacingStatistics:
    """The gate at one moment. Rates are per minute, None where nothing is paced."""

    rate: float | None
    configured: float | None
    metered: Metered
    waiting: Mapping[CallKind, int]
    granted: Mapping[CallKind, int]
    throttled: int
    resets: int


@dataclass(frozen=True, slots=True)
class LearnedRate:
    """What 429s taught. `per_minute` is None where none came; `counted` says by which calls it was judged;
    `found_out` that a 429 proved every call to count."""

    per_minute: float | None = None
    counted: Metered = "submits"
    found_out: bool = False

    @classmethod
    def read(cls, snapshot: Mapping[str, Any] | None, now: float) -> LearnedRate:
        """From an earlier run's `written`; an empty lesson where it is old, or cannot be read."""
        if snapshot is None or abs(now - (_positive(snapshot.get("at")) or 0.0)) > BELIEVED:
            return cls()
        return cls(
            per_minute=_positive(snapshot.get("per_minute")),
            counted="all" if snapshot.get("counted") == "all" else "submits",
            found_out=snapshot.get("found_out") is True,
        )

    def written(self, now: float) -> dict[str, Any]:
        """As plain JSON, with the wall time `at` which it was learned."""
        return {
            "per_minute": self.per_minute,
            "counted": self.counted,
            "found_out": self.found_out,
            "at": now,
        }


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else None
