"""What every fault has: the routes on which it happens, and the calls that it strikes."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
)

from batcher.sandbox.durations import seconds


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
    MODELS = "models"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


Count = Annotated[int, Field(ge=1, strict=True)]
Calls = Annotated[Sequence[Count], BeforeValidator(_listed)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
DURATION = WithJsonSchema({"type": "string", "format": "duration"})
Seconds = Annotated[float, BeforeValidator(seconds), DURATION]
"""`500ms`, `2s`, `5m`, `1h`, `7d`, or a number."""


class Fault(BaseModel):
    """One entry of a script. It strikes when all that is given of `calls` to `until` holds; none: always.

    A kind of fault is a class with its settings, their defaults, and a `play` that does it. Its name in a
    script is that of its class in snake case. It belongs to the family whose class it extends.

    Raises:
        ValueError: a route, a setting or a value does not fit (pydantic's ValidationError).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    possible: ClassVar[frozenset[Route]] = frozenset(Route)
    """The routes on which it can happen."""
    usual: ClassVar[frozenset[Route]] = frozenset()
    """Those on which it does where none is named; empty: one has to be."""

    exclusive: ClassVar[bool] = True
    """Whether it happens alone of its family: the first of the script that strikes."""

    route: str | Sequence[str] | None = Field(default=None, validate_default=True)
    """One route, a list of them, or `all` that are possible."""
    calls: Calls | None = None
    """Numbers of the calls of its route, from 1."""
    first: Count | None = None
    """The first so many calls of its route."""
    every: Count | None = None
    """Every so-manieth call of its route."""
    rate: Share | None = None
    """The share of the calls that it strikes, from 0 to 1; the seed decides which."""
    since: Seconds | None = Field(default=None, validation_alias=AliasChoices("from", "since"))
    """Seconds since the start of the sandbox; `from` in a script."""
    until: Seconds | None = None

    @classmethod
    def kind(cls) -> str:
        """Its name in a script."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @field_validator("route")
    @classmethod
    def _fits(cls, route: str | Sequence[str] | None) -> str | Sequence[str] | None:
        if route is None:
            if not cls.usual:
                raise ValueError(f"{cls.kind()} needs a route: one of {', '.join(Route)}, or all")
            return None
        for name in [route] if isinstance(route, str) else route:
            if name != "all" and name not in cls.possible:
                fitting = ", ".join(route for route in Route if route in cls.possible)
                raise ValueError(f"{cls.kind()} cannot happen on {name!r}; it can on: {fitting}")
        return route

    @cached_property
    def routes(self) -> frozenset[Route]:
        """The routes on which it happens."""
        if self.route is None:
            return self.usual
        names = [self.route] if isinstance(self.route, str) else self.route
        return self.possible if "all" in names else frozenset(map(Route, names))

    def strikes(self, route: Route, call: int, elapsed: float, chance: random.Random) -> bool:
        """Whether it strikes the `call`-th call (from 1) of a route, `elapsed` seconds after the start."""
        return (
            route in self.routes
            and (self.calls is None or call in self.calls)
            and (self.first is None or call <= self.first)
            and (self.every is None or call % self.every == 0)
            and (self.since is None or elapsed >= self.since)
            and (self.until is None or elapsed < self.until)
            and (self.rate is None or chance.random() < self.rate)
        )
