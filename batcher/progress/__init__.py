"""What a run tells while it runs: a handful of events, to whoever listens.

    terminal.py  one live block on a terminal
    lines.py     one line a minute where there is none; JSON lines
    metrics.py   a Prometheus textfile

Law: the engine tells, others print. A listener is a function of one event; it must not block.
"""

from __future__ import annotations

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
    """The run begins: `total` tasks in the plan, `new` of them unknown before."""

    job: str
    model: str
    output: str
    total: int
    new: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A task went from one state to another; `reason` says why it failed or went back."""

    task: str
    key: str
    origin: State
    target: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """Something the user should know; of the levels, `-q` lets error alone pass."""

    text: str
    level: Level = "warning"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run at one moment. Seconds, credits, calls per minute.

    `images` were delivered in the job's life, `delivered` of them since this command began;
    `images_per_minute` is that of the last two minutes.
    `waiting` is a sentence that says what submits wait for, empty while nothing holds them; `rate` is the
    pace that is held (None: unpaced), `told` the manifest's rpm; `left_low` and `left_high` bracket the
    remaining seconds (None: not to be said yet).
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
    told: float | None
    waiting: str = ""
    stopping: str = ""
    left_low: float | None = None
    left_high: float | None = None
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over: its exit code, and the sentences that explain it.

    `slowest` names the tasks that took longest at the provider, in seconds; `audit` is the account's balance
    in credits: opening, spent, closing, difference (None: not known); `left_out` counts the rows that
    the plan left out, `gone` the paid results whose files nobody has any more.
    """

    exit_code: int
    causes: tuple[str, ...]
    snapshot: Snapshot
    slowest: Mapping[str, float] = field(default_factory=dict)
    audit: Mapping[str, float] | None = None
    left_out: int = 0
    gone: int = 0


Event = Planning | Started | Moved | Noted | Snapshot | Finished
Listener = Callable[[Event], None]


def both(first: Listener, second: Listener) -> Listener:
    """Two listeners as one."""

    def heard(event: Event) -> None:
        first(event)
        second(event)

    return heard


def silent(event: Event) -> None:
    """Listens to nothing."""
