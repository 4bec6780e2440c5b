"""How long a job will take, and how much of it side by side, as far as is known before its first task."""

from __future__ import annotations

from typing import NamedTuple

from batcher.api.polling import PollTiming
from batcher.engine.admission import in_flight_need
from batcher.job.catalog import Model
from batcher.job.manifest import Manifest

CALLS_PER_TASK = {"v1": 1, "v2": 4}
"""v2: submit, result and, as learned polling does it, about two status calls."""


class Estimate(NamedTuple):
    """Calls, seconds until all is delivered, and tasks in flight at a time."""

    calls: int
    seconds: float
    in_flight: int


def estimate(manifest: Manifest, model: Model | None, api: str, tasks: int) -> Estimate:
    """What so many tasks take."""
    polling = PollTiming(typical=model.seconds if model else None)
    typical, per_minute = polling.typical, manifest.limits.rpm
    calls = tasks * CALLS_PER_TASK[api]
    metered = calls if manifest.limits.metered == "all" else tasks
    by_rate = 60 * metered / per_minute if per_minute else 0.0
    in_flight = min(_in_flight(manifest, polling, api), tasks)
    seconds = max(by_rate, typical * tasks / in_flight) + typical if in_flight else 0.0
    return Estimate(calls, seconds, in_flight)


def _in_flight(manifest: Manifest, polling: PollTiming, api: str) -> int:
    """The manifest's number, or what `auto` begins to reckon with."""
    limits = manifest.limits
    if limits.in_flight is not None:
        return limits.in_flight
    need = in_flight_need.needed(
        limits.rpm,
        "all" if limits.metered == "all" else "submits",
        seconds=polling.mean + (manifest.poll.every or manifest.poll.delay or 0.0),
        age=0.0,
        finished=0.0,
        service=0.0,
    )
    return min(need, in_flight_need.most_of(None, api))
