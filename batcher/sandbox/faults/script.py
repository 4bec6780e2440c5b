"""A script of faults: read from plain data, followed call by call."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batcher.sandbox.faults import answer_faults as answers
from batcher.sandbox.faults import history_faults as history
from batcher.sandbox.faults import job_faults as jobs
from batcher.sandbox.faults import picture_faults as pictures
from batcher.sandbox.faults.fault import Fault, Route

KINDS: Mapping[str, type[Fault]] = MappingProxyType(
    {
        kind.kind(): kind
        for kind in (
            answers.Throttle,
            answers.Status,
            answers.StorageFull,
            answers.Html,
            answers.NotJson,
            answers.HalfJson,
            answers.Cut,
            answers.Hang,
            answers.Down,
            answers.Slow,
            answers.Redirect,
            answers.DeadLink,
            answers.Truncated,
            answers.Short,
            answers.Empty,
            answers.NotAnImage,
            answers.SlowBody,
            jobs.Failed,
            jobs.Stuck,
            jobs.Hidden,
            pictures.BlackPicture,
            pictures.RepeatedPicture,
            pictures.UnchangedPicture,
            pictures.WrongSize,
            history.LateRows,
            history.TeammateRows,
            history.NoiseRows,
            history.SkewedStamps,
            history.RequestBodies,
            history.ModelTitles,
            history.PageCap,
            history.NonsenseRows,
        )
    }
)
"""Every kind of fault by its name in a script."""

Location = tuple[str | int, ...]
"""Where in the data: the number of the entry from 0, then keys and numbers within it."""


class FaultsError(ValueError):
    """A script of faults that cannot be followed: every problem as its location and what is wrong there."""

    def __init__(self, problems: Sequence[tuple[Location, str]]) -> None:
        super().__init__("\n".join(f"{'.'.join(map(str, place))}: {what}" for place, what in problems))
        self.problems = tuple(problems)


class Faults:
    """A script of faults. It decides by the route, the number of the call and the time since the start."""

    def __init__(self, faults: Sequence[Fault] = (), *, seed: int = 0) -> None:
        self._faults = tuple(faults)
        self._seed = seed

    @classmethod
    def load(cls, entries: object, *, seed: int = 0) -> Faults:
        """The script that a list of mappings tells, as YAML or JSON gives them.

        Raises:
            FaultsError: it is none.
        """
        if not isinstance(entries, list):
            example = "- {fault: cut, route: submit, calls: [1]}"
            raise FaultsError([((), f"must be a list of faults, such as `{example}`")])
        faults, problems = list[Fault](), list[tuple[Location, str]]()
        for number, entry in enumerate(entries):
            try:
                faults.append(_fault(entry))
            except FaultsError as error:
                problems += [((number, *location), message) for location, message in error.problems]
        if problems:
            raise FaultsError(problems)
        return cls(faults, seed=seed)

    def match(self, route: Route, call: int, elapsed: float) -> list[Fault]:
        """The faults that happen at the `call`-th call (from 1) of a route, in the order of the script."""
        happening, families = list[Fault](), set[type[Fault]]()
        for number, fault in enumerate(self._faults):
            chance = random.Random(f"{self._seed}/{number}/{route}/{call}")
            taken = fault.exclusive and _family(fault) in families
            if not taken and fault.strikes(route, call, elapsed, chance):
                happening.append(fault)
                families.add(_family(fault))
        return happening

    def __len__(self) -> int:
        return len(self._faults)

    def __repr__(self) -> str:
        return f"<Faults {', '.join(fault.kind() for fault in self._faults) or 'none'}>"


def _family(fault: Fault) -> type[Fault]:
    kinds = type(fault).__mro__
    return kinds[kinds.index(Fault) - 1]


def _fault(entry: object) -> Fault:
    if not isinstance(entry, dict) or not isinstance(entry.get("fault"), str):
        raise FaultsError([((), "an entry must be a mapping with the key `fault`")])
    name = entry["fault"]
    if name not in KINDS:
        raise FaultsError([(("fault",), f"there is no fault {name!r}{_nearest(name, KINDS)}")])
    kind = KINDS[name]
    try:
        return kind.model_validate({key: value for key, value in entry.items() if key != "fault"})
    except ValidationError as error:
        problems = [(details["loc"], _message(kind, details)) for details in error.errors()]
        raise FaultsError(problems) from error


def _message(kind: type[Fault], details: ErrorDetails) -> str:
    key = str(details["loc"][0])
    if details["type"] == "extra_forbidden":
        keys = [_in_script(name) for name in kind.model_fields]
        return f"the fault {kind.kind()} has no key {key!r}{_nearest(key, keys)}"
    if details["type"] == "missing":
        return f"the fault {kind.kind()} needs `{key}`"
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    return f"{details['msg'].removeprefix('Input ')}, not {details['input']!r}"


def _in_script(field: str) -> str:
    return "from" if field == "since" else field


def _nearest(word: str, names: Any) -> str:
    near = get_close_matches(word, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
