"""The manifest's grammar: every key, its type and its default.

Rule: a Manifest is whole and frozen. Durations are seconds, rates are per minute, money is credits.
"""

from __future__ import annotations

import hashlib
import json
import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    StrictInt,
    StrictStr,
    model_validator,
)

from batcher.errors import Problem
from batcher.manifest.reading import Document, copied

RESERVED = ("repeat", "seed")
"""Variables that the plan itself provides; no axis or companion may take their names."""


def seconds(text: object) -> float:
    """A duration, `500ms 2s 5m 1h 7d`, in seconds. Raises ValueError with a sentence."""
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        unit = f"; write the unit, as {text}s" if isinstance(text, int | float) and text is not True else ""
        raise ValueError(f"{text!r} is not a duration such as 500ms, 2s, 5m, 1h or 7d{unit}")
    return float(match[1]) * _UNITS[match[2]]


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)")


def _positive_seconds(text: object) -> float:
    value = seconds(text)
    if value <= 0:
        raise ValueError(f"{text!r} is no time at all; it must be above zero")
    return value


def _rate(value: object) -> object:
    if value == "none":
        return None
    if value is None:
        raise ValueError("is empty; give calls per minute, or none for an unpaced endpoint")
    return value


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str | dict) else value


def _slug(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError(f"{value!r} is not a model's slug: letters, digits, '.', '_' and '-'")
    return value


def _job_name(value: str) -> str:
    if not re.fullmatch(r"[^/\\\x00-\x1f]{1,100}", value) or value.strip(". ") != value:
        raise ValueError(
            f"{value!r} cannot name a job: it names a folder too, so no / and no dot at its ends"
        )
    return value


def _variable(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"`{name}` is what the plan itself provides; choose another name")
    if not name.isidentifier():
        raise ValueError(f"`{name}` cannot be a variable: letters, digits and _ only, no digit first")
    return name


Seconds = Annotated[float, BeforeValidator(seconds)]
PositiveSeconds = Annotated[float, BeforeValidator(_positive_seconds)]
Number = Annotated[float, Strict()]
Count = Annotated[StrictInt, Field(ge=1)]
Name = Annotated[StrictStr, AfterValidator(_variable)]
Strings = Annotated[tuple[StrictStr, ...], BeforeValidator(_as_tuple)]
Axis = Annotated[tuple[Any, ...], Field(min_length=1)]


class Part(BaseModel):
    """A frozen section of the manifest that knows its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(Part):
    """Where rows come from: exactly one of `images`, `table`, `dataset` and `rows`; and which of them."""

    images: Strings | None = None
    table: StrictStr | None = None
    dataset: StrictStr | None = None
    rows: tuple[dict[StrictStr, Any], ...] | None = None
    filter: StrictStr | None = None
    sample: Count | None = None
    order: Strings = ()
    limit: Count | None = None
    companions: dict[Name, StrictStr] = {}
    missing: Literal["error", "skip"] = "error"
    empty: Literal["error", "allow"] = "error"

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        given = [kind for kind in SOURCE_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = f"it has {' and '.join(given)}" if given else "it has none of them"
            raise ValueError(f"a source is one of images, table, dataset and rows; {found}")
        if "missing" in self.model_fields_set and not self.companions:
            raise ValueError("`missing` says what to do without a companion; this source has no `companions`")
        return self

    @property
    def kind(self) -> str:
        """The one of SOURCE_KINDS that it is."""
        return next(kind for kind in SOURCE_KINDS if getattr(self, kind) is not None)


SOURCE_KINDS = ("images", "table", "dataset", "rows")


class Matrix(BaseModel):
    """Axes, and what to add to or leave out of their product, in GitHub Actions' meaning."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Axis]

    include: tuple[dict[Name, Any], ...] = ()
    exclude: tuple[Annotated[dict[StrictStr, Any], Field(min_length=1)], ...] = ()

    @property
    def axes(self) -> Mapping[str, tuple[Any, ...]]:
        """The axes in the manifest's order."""
        return self.__pydantic_extra__


class Output(Part):
    """Where pictures go: `dir` is absolute once loaded, `name` None for the default name."""

    dir: Path
    name: Annotated[StrictStr, Field(min_length=1)] | None = None


class Limits(Part):
    """What a run may use: calls per minute (None: unpaced), numbers in flight, credits, seconds."""

    rpm: Annotated[Annotated[Number, Field(gt=0)] | None, BeforeValidator(_rate)] = 60.0
    metered: Literal["submits", "all", "auto"] = "auto"
    in_flight: Annotated[Count, Field(le=100_000)] = 64
    downloads: Annotated[Count, Field(le=1_000)] = 8
    max_cost: Annotated[Number, Field(gt=0)] | None = None
    max_duration: PositiveSeconds | None = None


class Backoff(Part):
    """Waits between attempts, in seconds: the first and the longest."""

    first: PositiveSeconds = 1.0
    max: PositiveSeconds = 60.0

    @model_validator(mode="after")
    def _growing(self) -> Backoff:
        if self.first > self.max:
            raise ValueError(f"first ({self.first:g}s) is longer than max ({self.max:g}s)")
        return self


class Retry(Part):
    """When a task is submitted again."""

    attempts: Count = 5
    statuses: tuple[Annotated[StrictInt, Field(ge=400, le=599)], ...] = (429, 502, 503, 504)
    backoff: Backoff = Backoff()
    failed: Annotated[StrictInt, Field(ge=0)] = 0
    doubtful: Literal["resubmit", "hold", "reconcile"] = "resubmit"
    expired: Literal["resubmit", "fail"] = "resubmit"


class Poll(Part):
    """How to ask: a wanted mean delay, or a fixed interval; seconds, exactly one of them set."""

    delay: PositiveSeconds | None = None
    every: PositiveSeconds | None = None

    @model_validator(mode="before")
    @classmethod
    def _one(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if data.get("delay") is not None and data.get("every") is not None:
            raise ValueError("takes delay (a wanted mean) or every (a fixed interval), not both")
        return (
            data
            if data.get("every") is not None or data.get("delay") is not None
            else {**data, "delay": "1s"}
        )


class Manifest(Part):
    """One job, as its manifest says it. `path` is the file, `folder` (absolute) what its paths start from.

    Where the manifest's `output.dir` names a folder of an object store, `store` is that URL, and `output.dir`
    the folder of this machine where the job's ledger lies.
    """

    name: Annotated[StrictStr, AfterValidator(_job_name)]
    model: Annotated[StrictStr, AfterValidator(_slug)]
    api: Literal["v1", "v2"] | None = None
    inputs: Annotated[tuple[Source, ...], BeforeValidator(_as_tuple)] = ()
    combine: Literal["product", "zip"] = "product"
    matrix: Matrix = Matrix.model_validate({})
    repeat: Annotated[Count, Field(le=1_000_000)] = 1
    seed: StrictInt | None = None
    params: dict[StrictStr, Any] = {}
    output: Output
    limits: Limits = Limits()
    retry: Retry = Retry()
    poll: Poll = Poll.model_validate({})
    result_ttl: PositiveSeconds = 3600.0
    uploads: Literal["storage", "inline"] = "storage"
    price: Annotated[Number, Field(ge=0)] | None = None
    unchecked: Strings = ()
    path: Path
    folder: Path
    store: StrictStr | None = None

    _document: Document | None = PrivateAttr(default=None)

    def problem(self, key: Sequence[str | int], message: str) -> Problem:
        """A Problem at a key of the manifest's file, with its line where it is known."""
        if self._document is None:
            return Problem(message, str(self.path), key=".".join(str(part) for part in key))
        return self._document.problem(key, message)

    def with_output(self, folder: Path) -> Manifest:
        """The same job with another output folder (absolute)."""
        return self.model_copy(update={"output": Output(dir=folder, name=self.output.name)})

    def resolved(self) -> dict[str, Any]:
        """The manifest as plain data, every default spelled out and every path absolute; it loads again."""
        data = self.model_dump(mode="json", exclude={"path", "folder", "store"}, exclude_none=True)
        _spell_durations(data)
        if self.limits.rpm is None:
            data["limits"]["rpm"] = "none"
        if self.store is not None:
            data["output"]["dir"] = self.store
        # As they are: nulls in them are values.
        data["params"] = copied(self.params)
        data["matrix"] = {name: list(values) for name, values in self.matrix}
        data["inputs"] = [self._resolved(source) for source in self.inputs]
        return data

    def _resolved(self, source: Source) -> dict[str, Any]:
        data = source.model_dump(mode="json", exclude_defaults=True)
        if source.images is not None:
            data["images"] = [self.resolve(one) for one in source.images]
        for kind in ("table", "dataset"):
            if data.get(kind) is not None:
                data[kind] = self.resolve(data[kind])
        if source.companions:
            data["companions"] = {name: self.resolve(text) for name, text in source.companions.items()}
        return data

    @property
    def pairs(self) -> bool:
        """Whether rows of several sources go side by side."""
        return self.combine == "zip" and len(self.inputs) > 1

    def resolve(self, path: str) -> str:
        """A path of the manifest as an absolute one; URLs and `-` pass unchanged."""
        if path == "-" or "://" in path:
            return path
        return absolute(str(self.folder), path)

    def fingerprint(self) -> str:
        """A hash (hex) of everything in the manifest that the plan depends on."""
        keep = {"model", "inputs", "combine", "matrix", "repeat", "seed", "params", "unchecked", "folder"}
        data = self.model_dump(mode="json", include=keep)
        data["name"] = self.output.name
        return hashlib.sha256(json.dumps(data, ensure_ascii=True).encode()).hexdigest()


def absolute(folder: str, path: str) -> str:
    """`path` from `folder`, absolute, without `.` and `..`; `~` is the home folder."""
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))


def _spell_durations(data: dict[str, Any]) -> None:
    for section, key in _durations(data):
        if isinstance(section.get(key), float):
            section[key] = f"{section[key]:.9f}".rstrip("0").rstrip(".") + "s"


def _durations(data: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    yield data, "result_ttl"
    yield data["limits"], "max_duration"
    yield from ((data["retry"]["backoff"], key) for key in ("first", "max"))
    yield from ((data["poll"], key) for key in ("delay", "every"))
