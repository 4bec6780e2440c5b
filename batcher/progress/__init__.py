"""What a run tells while it runs: a handful of events, to whoever listens.

    summary.py       a run in words: the figures of a moment
    closing_text.py  its end in words, with what to do next
    terminal.py      one live block on a terminal
    notebook.py      the same block in a notebook's cell
    lines.py         one line a minute where there is none; `--log-json`, and .batcher/log.jsonl
    metrics.py       a Prometheus textfile
    printable.py     foreign text, for people and for programs

Rule: the engine tells, others print. A listener is a function of one event; it must not block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from batcher.task import State

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Planning:
    """The plan is being made; `tasks` so far."""

    tasks: int


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins: `total` tasks in the plan, `new` of them with nothing under way or made for them, as
    `plan` counts. `submits`: so many of the new ones are to be sent this time (None: all)."""

    job: str
    model: str
    output: str
    total: int
    new: int
    done: int = 0
    in_flight: int = 0
    rejected: int = 0
    failed: int = 0
    submits: int | None = None


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A task went from one state to another; `reason` says why it failed, was rejected or went back."""

    task: str
    key: str
    origin: State
    target: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Something the user should know; of the levels, `-q` lets error alone pass."""

    text: str
    level: Level = "warning"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run at one moment. Seconds, credits, calls per minute.

    `images` came in the job's life, rejected ones too, `delivered` of them since this command began;
    `images_per_minute` is that of the last two minutes.
    `in_flight` jobs were submitted and are not known to have ended, of at most `in_flight_limit` now;
    `in_flight_configured` is the manifest's number (None: auto).
    `waiting` is a sentence that says what submits wait for, empty while nothing holds them; `rate` is the
    pace that is held (None: unpaced), `rpm_configured` the manifest's rpm; `eta_low` and `eta_high` bracket
    the remaining seconds (None: not to be said yet). `unsure` counts the images behind the doubtful and lost
    credits, whose value may not be known; `paused`: `batcher pause` holds the submits. `warned`
    counts the delivered pictures that a check marks, as of some seconds ago; `other_jobs` of the
    account share the limit. `this_time` are the counts of the tasks that a run with `--limit` or `--sample`
    is about; empty: all there are.
    """

    job: str
    model: str
    elapsed: float
    total: int
    counts: Mapping[State, int]
    images: int
    delivered: int
    in_flight: int
    fetching: int
    cost: Mapping[str, float]
    projected: float | None
    calls: Mapping[str, int]
    images_per_minute: float
    rate: float | None
    rpm_configured: float | None
    waiting: str = ""
    stopping: str = ""
    eta_low: float | None = None
    eta_high: float | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    rejections: Mapping[str, int] = field(default_factory=dict)
    unsure: Mapping[str, int] = field(default_factory=dict)
    paused: bool = False
    in_flight_limit: int = 0
    in_flight_configured: int | None = None
    warned: int = 0
    other_jobs: int = 0
    this_time: Mapping[State, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over: its exit code, and the sentences that explain it.

    `slowest` names the tasks of this start that took longest at the provider, in seconds; `balance` is the
    account's, in credits: opening, spent, closing, difference (None: not known); `left_out` counts the rows
    that the plan left out, `reused` the images that were taken over from other folders, `results_gone` the
    paid results whose files nobody has any more; `remedies` say what to do about the causes before the same
    command goes on, where it is known. `news` counts what failed, was left out, is doubtful or was rejected
    in this start alone; `known_failures` an earlier one told of, `acked` what a person has acknowledged.
    `warnings` counts the delivered pictures that a check marks; `not_needed` the planned tasks that no group
    of `accept` needs; `rejected_images` those of the snapshot's images that are set aside; `is_rehearsal`: it
    ran in the embedded sandbox, and nothing was paid for.
    """

    exit_code: int
    causes: tuple[str, ...]
    snapshot: Snapshot
    slowest: Mapping[str, float] = field(default_factory=dict)
    balance: Mapping[str, float] | None = None
    left_out: int = 0
    reused: int = 0
    results_gone: int = 0
    remedies: tuple[str, ...] = ()
    news: Mapping[str, int] = field(default_factory=dict)
    known_failures: int = 0
    acked: int = 0
    warnings: Mapping[str, int] = field(default_factory=dict)
    not_needed: int = 0
    rejected_images: int = 0
    is_rehearsal: bool = False


Event = Planning | Started | StateChanged | Message | Snapshot | Finished
Listener = Callable[[Event], None]


def event_name(kind: type) -> str:
    """The word of an event's class in JSON: `StateChanged` is `state_changed`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def both(first: Listener, second: Listener) -> Listener:
    """Two listeners as one."""

    def heard(event: Event) -> None:
        first(event)
        second(event)

    return heard


def silent(event: Event) -> None:
    """Listens to nothing."""
