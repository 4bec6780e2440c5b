"""How many jobs in flight use the rate up: `limits.in_flight: auto`.

Rule: Little's law. A rate r is used up by r x t jobs in flight, where t runs from a POST to the notice of its
end: queue, service, travel and polling delay. What is above that waits for its turn to call, which costs
nothing; what is below loses rate. So t is taken long, and before its end is seen, what waits now tells it.
"""

from __future__ import annotations

import math
from typing import Literal

Metered = Literal["submits", "all"]
"""Which calls count."""
MOST = 2_000
"""What memory bears: about 15 kB a task."""
MOST_WITH_BYTES = 256
"""The same where results come as bytes inside answers, each whole in memory."""
FIRST = 64
"""Where no rate is told, so many begin."""
MARGIN = 1.25
SPARE = 8
"""So many beyond the need stand ready for the next turns to call."""
CALLS_PER_JOB = 3.0
"""Where every call counts: a submit, a result, and about one status call."""
FEWEST_METERED = 64
"""Where every call counts, what is in flight is asked about rarely, and many must wait side by side."""
MOST_AHEAD = 256
"""Tasks whose pictures are uploaded before their turn, whatever the rate needs."""


def most_of(configured: int | None, api: str) -> int:
    """The bound that no rate moves: the manifest's number, or for auto (None) what memory bears."""
    if configured is not None:
        return configured
    return MOST_WITH_BYTES if api == "v1" else MOST


def needed(
    rate: float | None,
    metered: Metered,
    *,
    seconds: float,
    age: float,
    finished: float,
    service: float,
) -> int:
    """So many jobs in flight use up `rate` (calls per minute; None: none is told), of which `metered` calls
    count.

    `seconds` is how long nearly all were in flight from their POST to the notice of their end, `age` twice
    the median age of those in flight now: what they will have taken, should they end at about this age. Where
    no rate is told, what really ends takes its place: `finished` jobs per second, each at work for `service`
    seconds, queues not counted, which more in flight would only lengthen.
    """
    if rate is None:
        return FIRST + math.ceil(MARGIN * finished * service)
    if metered == "all":
        submits = rate / 60 / CALLS_PER_JOB
        return max(FEWEST_METERED, math.ceil(MARGIN * submits * max(seconds, age)) + SPARE)
    return math.ceil(MARGIN * rate / 60 * max(seconds, age)) + SPARE


def ahead_of_turn(rate: float | None, seconds: float) -> int:
    """So many tasks may upload their pictures before there is room for them in flight, where one takes
    `seconds`: Little's law again. None does where nothing is uploaded (0.0)."""
    if not seconds:
        return 0
    need = MOST_AHEAD if rate is None else math.ceil(MARGIN * rate / 60 * seconds) + SPARE
    return min(MOST_AHEAD, need)
