"""The types of a manifest's values: how one is read, how it is written, and its JSON Schema.

Rule: what takes no number takes none: "5" is text, true is no count, a duration has its unit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    Strict,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from batcher.job.manifest import durations
from batcher.job.row import PLAN_VARIABLES
from batcher.job.validation import MOST_CREDITS, OneOrMore

Json = dict[str, Any]
DURATION: Json = {
    "type": "string",
    "pattern": rf"^\s*{durations.PATTERN}\s*$",
    "examples": ["500ms", "2s", "5m", "1h", "7d"],
}
FILTER: Json = {"type": "string", "pattern": r"^\s*\{\{", "examples": ["{{ width >= 512 }}"]}
VARIABLE: Json = {"pattern": r"^[^\W\d]\w*$", "not": {"enum": list(PLAN_VARIABLES)}}
"""The JSON Schema of a name that templates can name."""


def _rate(value: object) -> object:
    if value == "none":
        return None
    if value is None:
        raise ValueError("is empty; give calls per minute, or none for an unpaced endpoint")
    return value


def _or_none(value: object) -> object:
    return None if value == "none" else value


def _in_flight(value: object) -> object:
    if value == "auto":
        return None
    if value is None:
        raise ValueError("is empty; give a number of tasks, or auto for what the rate needs")
    if isinstance(value, str):
        raise ValueError(f"must be a number of tasks, or auto; not the text {value[:40]!r}")
    return value


def _job_name(value: str) -> str:
    if not re.fullmatch(r"[^/\\\x00-\x1f]{1,100}", value) or value.strip(". ") != value:
        raise ValueError(
            f"{value!r} cannot name a job: it names a folder too, so no / and no dot at its ends"
        )
    return value


def _variable(name: str) -> str:
    if name in PLAN_VARIABLES:
        raise ValueError(f"`{name}` is what the plan itself provides; choose another name")
    if not name.isidentifier():
        raise ValueError(f"`{name}` cannot be a variable: letters, digits and _ only, no digit first")
    return name


def _of_json(**schema: Any) -> WithJsonSchema:
    """The JSON Schema of a type whose validator is a function here."""
    return WithJsonSchema(schema)


PositiveSeconds = Annotated[
    float,
    BeforeValidator(durations.positive_seconds),
    PlainSerializer(durations.spelled, when_used="json"),
    _of_json(**DURATION),
]
Number = Annotated[float, Strict()]
Count = Annotated[StrictInt, Field(ge=1)]
Rate = Annotated[
    Annotated[Number, Field(gt=0)] | None,
    BeforeValidator(_rate),
    _of_json(anyOf=[{"type": "number", "exclusiveMinimum": 0}, {"const": "none"}]),
]
MostCredits = Annotated[
    Annotated[Number, Field(gt=0, le=MOST_CREDITS)] | None,
    BeforeValidator(_or_none),
    _of_json(anyOf=[{"type": "number", "exclusiveMinimum": 0, "maximum": MOST_CREDITS}, {"const": "none"}]),
]
InFlight = Annotated[
    Annotated[Count, Field(le=100_000)] | None,
    BeforeValidator(_in_flight),
    _of_json(anyOf=[{"type": "integer", "minimum": 1, "maximum": 100_000}, {"const": "auto"}]),
]
JobName = Annotated[StrictStr, AfterValidator(_job_name), _of_json(type="string", minLength=1, maxLength=100)]
VariableName = Annotated[StrictStr, AfterValidator(_variable), _of_json(type="string", **VARIABLE)]
Folder = Annotated[Path, _of_json(type="string")]
FilterText = Annotated[StrictStr, _of_json(**FILTER)]
Strings = Annotated[tuple[StrictStr, ...], OneOrMore()]
Axis = Annotated[tuple[Any, ...], Field(min_length=1)]
