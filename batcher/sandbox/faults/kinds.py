"""Which faults there are, and when one strikes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any


class FaultsError(ValueError):
    """A script of faults that cannot be followed; the message says where and what to do."""


class Route(StrEnum):
    """The kinds of call that the sandbox tells apart."""

    SUBMIT = "submit"
    STATUS = "status"
    RESULT = "result"
    SYNC = "sync"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    CREDITS = "credits"
    HISTORY = "history"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: where it may happen, where it does unless told, and its settings with defaults."""

    routes: frozenset[Route]
    settings: Mapping[str, Any] = field(default_factory=dict)
    default: frozenset[Route] = frozenset()
    """Empty: the route has to be named."""


_ANY = frozenset(Route)
_JOB = frozenset({Route.SUBMIT, Route.SYNC})
_SUBMIT = frozenset({Route.SUBMIT})
_RESULT = frozenset({Route.RESULT})
_DOWNLOAD = frozenset({Route.DOWNLOAD})
_BYTES = frozenset({Route.DOWNLOAD, Route.SYNC})

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "throttle": Kind(_ANY, {"reset_in": 7.0, "retry_after": None}),
        "status": Kind(_ANY, {"code": 503, "page": False, "message": None}),
        "html": Kind(_ANY, {"code": 200}),
        "not_json": Kind(_ANY),
        "half_json": Kind(_ANY),
        "cut": Kind(_ANY, {"accepted": False}),
        "hang": Kind(_ANY, {"accepted": True}),
        "down": Kind(_ANY, default=_ANY),
        "slow": Kind(_ANY, {"delay": 5.0}),
        "redirect": Kind(_ANY, {"to": ""}),
        "failed": Kind(_JOB, {"error": "CUDA out of memory"}, default=_SUBMIT),
        "stuck": Kind(_JOB, {"state": "PROCESSING"}, default=_SUBMIT),
        "hidden": Kind(_SUBMIT, {"delay": 2.0}, default=_SUBMIT),
        "dead_link": Kind(_RESULT, default=_RESULT),
        "truncated": Kind(_BYTES, default=_DOWNLOAD),
        "short": Kind(_BYTES, default=_DOWNLOAD),
        "empty": Kind(_BYTES, default=_DOWNLOAD),
        "not_an_image": Kind(_BYTES, default=_DOWNLOAD),
        "slow_body": Kind(_BYTES, {"delay": 10.0}, default=_DOWNLOAD),
    }
)


@dataclass(frozen=True, slots=True)
class When:
    """At which calls of a route a fault strikes; what is given must all hold."""

    calls: frozenset[int] | None = None
    first: int | None = None
    every: int | None = None
    rate: float | None = None
    since: float | None = None
    until: float | None = None

    def strikes(self, call: int, elapsed: float, chance: random.Random) -> bool:
        """Whether it strikes the `call`-th call (from 1), `elapsed` seconds after the start."""
        return (
            (self.calls is None or call in self.calls)
            and (self.first is None or call <= self.first)
            and (self.every is None or call % self.every == 0)
            and (self.since is None or elapsed >= self.since)
            and (self.until is None or elapsed < self.until)
            and (self.rate is None or chance.random() < self.rate)
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of a script. `settings` holds every setting of its kind."""

    kind: str
    routes: frozenset[Route]
    when: When = field(default_factory=When)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, kind: str, routes: Iterable[str] | str | None, when: When, settings: Mapping[str, Any]
    ) -> Fault:
        """A fault whose routes and settings are checked against its kind.

        Raises:
            FaultsError: the kind, a route or a setting is unknown or does not fit.
        """
        known = KINDS.get(kind)
        if known is None:
            raise FaultsError(f"there is no fault {kind!r}; there are {', '.join(KINDS)}")
        for name in settings:
            if name not in known.settings:
                there = ", ".join(known.settings) or "none"
                raise FaultsError(f"the fault {kind} has no setting {name!r}; it has: {there}")
        merged = {**known.settings, **settings}
        if kind == "redirect" and not merged["to"]:
            raise FaultsError("the fault redirect needs `to`, for example http://127.0.0.1:9000")
        return cls(kind, _routes(kind, known, routes), when, MappingProxyType(merged))


class Faults:
    """A script of faults, followed call by call."""

    def __init__(self, faults: Sequence[Fault] = (), *, seed: int = 0) -> None:
        self._faults = tuple(faults)
        self._seed = seed

    @classmethod
    def load(cls, path: str | Path, *, seed: int = 0) -> Faults:
        """Read a script from a YAML file; its form stands in this package's docstring.

        Raises:
            FaultsError: the file cannot be read or followed; every problem is told, with its line.
        """
        from batcher.sandbox.faults.script import read

        return cls(read(Path(path)), seed=seed)

    def match(self, route: Route, call: int, elapsed: float) -> Fault | None:
        """The fault that happens at the `call`-th call (from 1) of a route, or None."""
        for number, fault in enumerate(self._faults):
            if route in fault.routes:
                chance = random.Random(f"{self._seed}/{number}/{route}/{call}")
                if fault.when.strikes(call, elapsed, chance):
                    return fault
        return None

    def __len__(self) -> int:
        return len(self._faults)

    def __repr__(self) -> str:
        return f"<Faults {', '.join(fault.kind for fault in self._faults) or 'none'}>"


def _routes(kind: str, known: Kind, wanted: Iterable[str] | str | None) -> frozenset[Route]:
    if wanted is None:
        if not known.default:
            raise FaultsError(f"the fault {kind} needs a route: one of {', '.join(Route)}, or all")
        return known.default
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if names == ["all"]:
        return known.routes
    for name in names:
        if name not in known.routes:
            fitting = ", ".join(route for route in Route if route in known.routes)
            raise FaultsError(f"the fault {kind} cannot happen on the route {name!r}; it can on: {fitting}")
    return frozenset(map(Route, names))
