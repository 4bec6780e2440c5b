"""Moments of made-up runs, for whoever shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from batcher.progress import Finished, Snapshot, Started
from batcher.task import State

COMMAND = "batcher run jobs/streets.yaml"
STARTED = Started(job="streets", model="sd1.5-outpaint", output="out/streets", total=1000, new=1000)


def counts(**numbers: int) -> dict[State, int]:
    """Every state, 0 where none is told."""
    return {state: numbers.get(state.value, 0) for state in State}


MIDDLE = Snapshot(
    job="streets",
    model="sd1.5-outpaint",
    elapsed=641.3,
    total=1000,
    counts=counts(planned=324, submitting=2, submitted=46, ready=12, done=608, failed=8),
    images=608,
    delivered=608,
    in_flight=48,
    fetching=12,
    cost={"spent": 15.2, "reserved": 1.2, "doubtful": 0.05, "lost": 0.0},
    projected=24.85,
    calls={
        "submit": 668,
        "status": 620,
        "result": 620,
        "sync": 0,
        "upload": 12,
        "download": 609,
        "throttled": 2,
    },
    images_per_minute=57.31,
    rate=60.0,
    rpm_configured=60.0,
    in_flight_limit=83,
    waiting="at the limit of 60 a minute",
    eta_low=330.0,
    eta_high=425.0,
    failures={
        "FAILED: CUDA out of memory": 5,
        "FAILED: the prompt was blocked by the content rules of this model, see the usage policy": 1,
        "REJECTED: guidance_scale must be at most 25": 1,
        "NOT_AN_IMAGE: photos/notes.jpg is not a picture that any decoder reads": 1,
    },
)


def ended(exit_code: int, *causes: str, remedies: tuple[str, ...] = (), **changes: Any) -> Finished:
    """The end of a run of a thousand tasks; without changes, of one in which all went well."""
    whole = replace(
        MIDDLE,
        elapsed=1063.0,
        counts=counts(done=1000),
        images=1000,
        delivered=1000,
        in_flight=0,
        fetching=0,
        cost={"spent": 25.0, "reserved": 0.0, "doubtful": 0.0, "lost": 0.0},
        projected=25.0,
        waiting="",
        eta_low=0.0,
        eta_high=0.0,
        failures={},
    )
    snapshot = replace(whole, **changes)
    return Finished(exit_code=exit_code, causes=causes, snapshot=snapshot, remedies=remedies)


def course(steps: int = 40) -> Iterator[Snapshot]:
    """A run from its first moment to its last."""
    for step in range(steps + 1):
        finished = 1000 * step // steps
        flying = min(48, 1000 - finished)
        failed = finished // 200
        yield replace(
            MIDDLE,
            elapsed=step * 26.5,
            counts=counts(
                planned=1000 - finished - flying, submitted=flying, done=finished - failed, failed=failed
            ),
            images=finished - failed,
            failures={"FAILED: CUDA out of memory": failed} if failed else {},
        )
