"""The manifest's grammar: every key, its type and its default, and below each key what it says to people.

Rule: it says what a manifest may say, and nothing of where a manifest lies: that is `manifest`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, create_model, model_validator

from batcher.job.catalog.model_file import Slug
from batcher.job.manifest.field_types import (
    VARIABLE,
    Axis,
    Count,
    FilterText,
    Folder,
    InFlight,
    JobName,
    MostCredits,
    Number,
    PositiveSeconds,
    Rate,
    Strings,
    VariableName,
)
from batcher.job.sources import KINDS
from batcher.job.sources.source_kind import SourceKind
from batcher.job.validation import MOST_CREDITS, OneOrMore, Section


class SourceOptions(Section):
    """Which rows of a source, and what lies beside them. `SourceSpec` has a key for each kind of source too:
    exactly one of them is given."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind.KEY]} for kind in KINDS]})

    filter: FilterText | None = None
    """Keeps the rows for which this is true."""
    sample: Count | None = None
    """So many rows, drawn by the job's seed: the same rows every time."""
    order: Strings = ()
    """Columns to sort by; a - in front sorts downwards."""
    limit: Count | None = None
    """At most so many rows, after filter, sample and order."""
    companions: dict[VariableName, StrictStr] = Field(
        default_factory=dict, examples=[{"mask": "../masks/{{ stem }}.png"}]
    )
    """Files beside each row, as columns: the path of a picture, the text of a .txt."""
    missing: Literal["error", "skip", "empty"] = "error"
    """What a missing companion is: wrong, a row that is left out, or an empty value (so it is for labels)."""
    only: Literal["new"] | None = None
    """new: rows whose picture has a delivered result are left alone, also when the manifest is edited."""
    empty: Literal["error", "allow"] = "error"
    """Whether the source may have no rows, as a nightly inbox may."""

    @model_validator(mode="after")
    def _one_kind(self) -> SourceOptions:
        keys = [kind.KEY for kind in KINDS]
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) != 1:
            found = f"it has {' and '.join(given)}" if given else "it has none of them"
            raise ValueError(f"a source is one of {', '.join(keys[:-1])} and {keys[-1]}; {found}")
        if "missing" in self.model_fields_set and not self.companions:
            raise ValueError("`missing` says what to do without a companion; this source has no `companions`")
        return self

    @property
    def kind(self) -> SourceKind:
        """What it is."""
        return next(kind for kind in KINDS if getattr(self, kind.KEY) is not None)

    @property
    def value(self) -> Any:
        """What it says at the key of its kind."""
        return getattr(self, self.kind.KEY)


if TYPE_CHECKING:

    class SourceSpec(SourceOptions):
        """Where rows come from."""

else:
    # A field for each kind, so that a new kind is no change here.
    SourceSpec = create_model(
        "SourceSpec",
        __base__=SourceOptions,
        **{kind.KEY: (kind.TYPE | None, Field(None, description=kind.DESCRIPTION)) for kind in KINDS},
    )


class Matrix(BaseModel):
    """Axes, and what to add to or leave out of their product, in GitHub Actions' meaning."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        json_schema_extra={
            "propertyNames": VARIABLE,
            "additionalProperties": {"type": "array", "minItems": 1},
        },
    )
    __pydantic_extra__: dict[str, Axis]

    include: tuple[dict[VariableName, Any], ...] = ()
    """Extends the combinations that it does not change, or stands as one of its own."""
    exclude: tuple[Annotated[dict[StrictStr, Any], Field(min_length=1)], ...] = ()
    """Combinations to leave out, by axes and columns."""

    @property
    def axes(self) -> Mapping[str, tuple[Any, ...]]:
        """The axes in the manifest's order."""
        return self.__pydantic_extra__


class OutputSettings(Section):
    """Where pictures go: `dir` is absolute once loaded, `name` None for the default name."""

    dir: Folder
    """Where pictures go, from the manifest's folder; default out/<name>."""
    name: Annotated[StrictStr, Field(min_length=1, examples=["{{ stem }}-{{ season }}"])] | None = None
    """The name of each picture, without suffix; default: the stem and every axis."""
    mask_outside: Annotated[int, Field(strict=True, ge=0, le=65_535, examples=[255])] | None = None
    """What exported masks say where the source does not lie; default: 255 where the mask has it for no class,
    else 0."""


CheckAction = Literal["reject", "warn", "off"]


class Checks(Section):
    """What is looked at in each delivered picture: reject sets it aside, warn marks its line, off does not
    look."""

    blank: CheckAction = "warn"
    """Nearly one colour, as a safety filter leaves it."""
    size: CheckAction = "warn"
    """Not the size that the parameters ask for."""
    unchanged: CheckAction = "off"
    """The source again: nothing is new around it, or under the mask, or anywhere."""
    duplicate: CheckAction = "warn"
    """The same picture, or nearly, as an earlier result of the job."""
    command: Literal["off"] | Annotated[tuple[StrictStr, ...], Field(min_length=1)] = Field(
        default="off", examples=[["python", "judge.py"]]
    )
    """A program of yours: gets the file as its last argument and its metadata line on stdin; exit code 0
    keeps it, 1 rejects it (the first line it prints says why), any other is an error."""

    @property
    def can_reject(self) -> bool:
        """Whether any of them sets pictures aside."""
        return self.command != "off" or "reject" in (self.blank, self.size, self.unchanged, self.duplicate)


class MaxCostPer(Section):
    """Credits that all jobs of the account on this machine may spend together, by UTC day and month."""

    day: MostCredits = None
    """Credits of one day (UTC); none: no bound."""
    month: MostCredits = None
    """Credits of one month (UTC); none: no bound."""


class Accept(Section):
    """How many accepted pictures are enough: `count` of each group that the columns `per` make."""

    count: Count
    """So many pictures that are delivered and not rejected; no more are submitted than can be needed."""
    per: Strings = ()
    """Columns and axes whose values make the groups; none: all pictures are one group."""


class Limits(Section):
    """What a run may use: calls per minute (None: unpaced), numbers in flight (None: auto), credits,
    seconds."""

    rpm: Rate = 60.0
    """Calls per minute that the account allows; none: unpaced (dedicated endpoints)."""
    metered: Literal["submits", "all", "auto"] = "auto"
    """What your account's rate limit counts: `submits` alone, or `all` calls (asking and fetching too). auto
    begins with submits, and learns from the API's refusals when it counts all."""
    in_flight: InFlight = Field(default=None, json_schema_extra={"default": "auto"})
    """Tasks in flight at a time; auto: as many as the rate needs."""
    downloads: Annotated[Count, Field(le=1_000)] = 8
    """Downloads at a time."""
    max_cost: MostCredits = None
    """Credits that a run may spend, from its first start until nothing is left, resumes included; it stops
    before. none: no bound."""
    max_cost_per: MaxCostPer = MaxCostPer()
    """Credits that all jobs of the account on this machine may spend in a day or a month (UTC); the run stops
    before, and says when it goes on."""
    max_duration: PositiveSeconds | None = None
    """Stops submitting in time to be done after so long."""
    patience: PositiveSeconds = 3600.0
    """How long the API's limit is waited for; then the run ends, and says when to come back."""


class Backoff(Section):
    """Waits between attempts, in seconds: the first and the longest."""

    first: PositiveSeconds = 1.0
    """The first wait."""
    max: PositiveSeconds = 60.0
    """The longest wait."""

    @model_validator(mode="after")
    def _growing(self) -> Backoff:
        if self.first > self.max:
            raise ValueError(f"first ({self.first:g}s) is longer than max ({self.max:g}s)")
        return self


class Retry(Section):
    """When a task is submitted again."""

    attempts: Count = 5
    """Submits of one task."""
    statuses: tuple[Annotated[StrictInt, Field(ge=400, le=599)], ...] = (429, 502, 503, 504)
    """Answers to a submit after which it is tried again."""
    backoff: Backoff = Backoff()
    """The waits between attempts, which grow."""
    failed: Annotated[StrictInt, Field(ge=0)] = 0
    """How often a task that ran and FAILED is submitted again."""
    doubtful: Literal["resubmit", "hold", "reconcile"] = "resubmit"
    """What to do when the answer to a submit was lost."""
    expired: Literal["resubmit", "fail"] = "resubmit"
    """What to do when a result was gone before it could be fetched."""


class Poll(Section):
    """How to ask: a wanted mean delay, or a fixed interval; seconds, exactly one of them set."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["delay", "every"]}})

    delay: PositiveSeconds | None = Field(None, json_schema_extra={"default": "1s"})
    """Wanted mean delay between a result and noticing it."""
    every: PositiveSeconds | None = None
    """A fixed interval instead."""

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


class ManifestFile(Section):
    """The keys of a manifest."""

    name: JobName
    """The job's name; default: the file's."""
    model: Slug
    """The slug of the model to run; one that the catalogue does not know runs unchecked."""
    api: Literal["v1", "v2"] | None = None
    """The API's version; default: the catalogue's, else v2."""
    inputs: Annotated[tuple[SourceSpec, ...], OneOrMore()] = ()
    """Where rows come from: one source, or a list of them."""
    combine: Literal["product", "zip"] = "product"
    """How several sources meet: every row with every row, or side by side."""
    matrix: Matrix = Matrix.model_validate({})
    """Axes, as in GitHub Actions: every combination of their values."""
    repeat: Annotated[Count, Field(le=1_000_000)] = 1
    """Variants of each; the column repeat is 0, 1, ..."""
    seed: StrictInt | None = None
    """Makes {{ seed }}, choice(...), uniform(a, b), randint(a, b) stable per task."""
    params: dict[StrictStr, Any] = Field(default_factory=dict)
    """The request body. Text in {{ }} is filled in; a lone {{ x }} keeps its type."""
    checks: Checks = Checks()
    """What is looked at in each delivered picture."""
    redo: Annotated[StrictInt, Field(ge=0, le=100)] = 0
    """So many replacements for a picture that a check rejects, one after the other, each with other
    draws."""
    accept: Accept | None = None
    """So many accepted pictures are enough; default: all that is planned is made."""
    output: OutputSettings
    """Where pictures go, and their names."""
    reuse: Strings = ()
    """Output folders whose pictures of the same tasks are taken over instead of paid for."""
    limits: Limits = Limits()
    """What a run may use."""
    retry: Retry = Retry()
    """When a task is submitted again."""
    poll: Poll = Poll.model_validate({})
    """How often a task in flight is asked about."""
    result_ttl: PositiveSeconds = 3600.0
    """How long the provider keeps a result, from submission."""
    uploads: Literal["storage", "inline"] = "storage"
    """Local pictures are uploaded once per content, or sent inside the request."""
    price: Annotated[Number, Field(ge=0, le=MOST_CREDITS)] | None = None
    """Credits per image, for estimates until bills are known; max_cost reserves no less. Default: the average
    that the catalogue has as published."""
    unchecked: Strings = ()
    """Parameters of a known model to pass without a check."""
