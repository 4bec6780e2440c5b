"""Faults by script: what goes wrong, on which route, at which call.

    fault.py            what every fault has: its routes, and when it strikes
    script.py           a script: read from plain data, followed call by call
    answer_faults.py    of the answer to a call, or of its bytes
    job_faults.py       of the job that a submit makes
    picture_faults.py   of the pictures that a job makes
    history_faults.py   of the rows of the request history

Rule: whether a fault strikes depends on nothing but the route, the number of the call, the time since the
start and the seed. Of the faults of answers the first of the list that strikes happens, and of those of jobs,
and of those of pictures; those of the history all do.

In Python a script reads as a story:

    Faults([
        Throttle(route="submit", calls=[3], reset_in=7),
        Cut(route="submit", accepted=True, rate=0.1),
        Down(since=60, until=120),
        Truncated(first=2),
    ])

As data (`Faults.load`) it is a list of mappings, one per fault: `fault` is the name of its class in snake
case, the keys are the same (but `from` for `since`), durations are `500ms`, `7s`, `2m`:

    - {fault: throttle, route: submit, calls: [3], reset_in: 7s}
    - {fault: cut, route: submit, accepted: true, rate: 0.1}
    - {fault: down, from: 60s, until: 2m}
"""

from __future__ import annotations

from batcher.sandbox.faults.answer_faults import (
    AnswerFault,
    Cut,
    DeadLink,
    Down,
    Empty,
    HalfJson,
    Hang,
    Html,
    NotAnImage,
    NotJson,
    Redirect,
    Short,
    Slow,
    SlowBody,
    Status,
    StorageFull,
    Throttle,
    Truncated,
)
from batcher.sandbox.faults.fault import Fault, Route
from batcher.sandbox.faults.history_faults import (
    HistoryFault,
    LateRows,
    ModelTitles,
    NoiseRows,
    NonsenseRows,
    PageCap,
    RequestBodies,
    SkewedStamps,
    TeammateRows,
)
from batcher.sandbox.faults.job_faults import Failed, Hidden, JobFault, Stuck
from batcher.sandbox.faults.picture_faults import (
    BlackPicture,
    PictureFault,
    RepeatedPicture,
    UnchangedPicture,
    WrongSize,
)
from batcher.sandbox.faults.script import KINDS, Faults, FaultsError

__all__ = [
    "KINDS",
    "AnswerFault",
    "BlackPicture",
    "Cut",
    "DeadLink",
    "Down",
    "Empty",
    "Failed",
    "Fault",
    "Faults",
    "FaultsError",
    "HalfJson",
    "Hang",
    "Hidden",
    "HistoryFault",
    "Html",
    "JobFault",
    "LateRows",
    "ModelTitles",
    "NoiseRows",
    "NonsenseRows",
    "NotAnImage",
    "NotJson",
    "PageCap",
    "PictureFault",
    "Redirect",
    "RepeatedPicture",
    "RequestBodies",
    "Route",
    "Short",
    "SkewedStamps",
    "Slow",
    "SlowBody",
    "Status",
    "StorageFull",
    "Stuck",
    "TeammateRows",
    "Throttle",
    "Truncated",
    "UnchangedPicture",
    "WrongSize",
]
