"""The grammar of a model file, and everything that is wrong with one, at its place.

    read(text, "mine.yaml")       the model, of a file that somebody wrote

Rule: a file that is wrong is never half used. What each key may be is the grammar's; how keys go together
(a range and its default, an example and its parameters) is checked here by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    Strict,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from batcher.errors import ManifestError, Problem
from batcher.job import validation
from batcher.job.catalog.model import SIDES, Api, Media, Model, Parameter, Role, Type
from batcher.job.catalog.parameter_checks import check
from batcher.job.geometry.placement import Fit
from batcher.job.validation import Section, WrongKey
from batcher.job.wording import described
from batcher.job.yaml_document import KeyPath, read_yaml

MISSING = {"type": f"one of {', '.join(get_args(Type))}"}
"""What to say of a key that must be there."""


def read(text: str, file: str) -> Model:
    """The model that `text` describes; `file` names it in problems.

    Raises ManifestError with every problem found.
    """
    document = read_yaml(text, file, when_too_large=": no model file is")
    if not isinstance(document.data, dict):
        raise ManifestError([Problem("must be `key: value` lines, with `slug` and `parameters`", file)])
    problems = list(document.problems)
    try:
        ModelFile.model_validate(document.data)
    except ValidationError as error:
        problems += validation.problems(document, ModelFile, error, MISSING)
    if not problems:
        model = Model.from_data(document.data)
        problems = [document.problem(path, message) for path, message in _inconsistencies(model)]
    if problems:
        raise ManifestError(sorted(problems, key=lambda one: (one.line, one.column)))
    return model


SLUG = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def _slug(value: str) -> str:
    if not re.fullmatch(SLUG, value):
        raise ValueError(f"{value!r} is not a model's slug: letters, digits, '.', '_' and '-'")
    return value


def _parameter_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", value):
        raise ValueError(f"{value!r} is not a parameter name")
    return value


def _number(value: Any) -> Any:
    """As it is: 1 stays a whole number, for people to read."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {described(value)}")
    return value


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"must be text, a number, or true or false, not {described(value)}")
    return value


def _margins(value: dict[str, str]) -> dict[str, str]:
    if value.keys() != set(SIDES):
        raise ValueError(f"`margins` has {', '.join(SIDES)}, each the name of a parameter")
    return value


def _canvas(value: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(value) <= 2:
        raise ValueError("`canvas` has one or two names of parameters")
    return value


Slug = Annotated[StrictStr, AfterValidator(_slug)]
ParameterName = Annotated[StrictStr, AfterValidator(_parameter_name)]
Number = Annotated[Any, PlainValidator(_number)]
Scalar = Annotated[Any, PlainValidator(_scalar)]
NotNegative = Annotated[float, Strict(), Field(ge=0)]


class ParameterEntry(Section):
    """One parameter of the model's page."""

    type: Type
    required: StrictBool = False
    default: Scalar = None
    minimum: Number = None
    maximum: Number = None
    allowed: Annotated[tuple[Scalar, ...], Field(min_length=1)] = ()
    allowed_total: StrictInt | None = None
    is_list: Annotated[StrictBool, Field(alias="list")] = False
    media: Media | None = None
    role: Role | None = None
    description: StrictStr = ""

    @model_validator(mode="after")
    def _consistent(self) -> ParameterEntry:
        for key, message in self._inconsistencies():
            raise WrongKey(key, message)
        return self

    def _inconsistencies(self) -> Iterator[tuple[str, str]]:
        """What each key may be by itself is known; this is how they go together: key and sentence."""
        if self.type not in ("integer", "number"):
            for key in ("minimum", "maximum"):
                if getattr(self, key) is not None:
                    yield key, f"a {self.type} has no {key}"
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            yield "maximum", f"{self.maximum} is below the minimum, {self.minimum}"
        if self.media and self.type != "string":
            yield "media", "a media input is a string (a path or a URL)"
        if self.role and self.type != "integer":
            yield "role", f"the {self.role} is an integer"
        if self.is_list and (self.role or self.default is not None):
            yield "list", "a list has no role and no default"
        if self.allowed_total is not None and self.allowed_total < len(self.allowed):
            yield "allowed_total", f"{len(self.allowed)} values are listed already"
        parameter = Parameter.from_data("it", self.model_dump(by_alias=True, exclude_unset=True))
        for key in ("allowed", "default"):
            values = self.allowed if key == "allowed" else () if self.default is None else (self.default,)
            for value in values:
                if reason := _misfit(parameter, value):
                    yield key, reason


def _misfit(parameter: Parameter, value: Any) -> str | None:
    model = Model(slug="a", parameters={parameter.name: parameter})
    whole = [value] if parameter.is_list else value
    problem = next(iter(check(model, {parameter.name: whole})), None)
    return None if problem is None or problem.warning else problem.message


class GeometryEntry(Section):
    """Where the source lies in the output; all but `fit` and the numbers names a parameter."""

    input: StrictStr = ""
    fit: Fit = "stretch"
    canvas: Annotated[tuple[StrictStr, ...], AfterValidator(_canvas)] = ()
    square: Number = None
    scale: StrictStr = ""
    sides: StrictStr = ""
    share: Number = 0.0
    margins: Annotated[dict[StrictStr, StrictStr], AfterValidator(_margins)] = Field(default_factory=dict)
    x: StrictStr = ""
    y: StrictStr = ""


class ModelFile(Section):
    """What a model's page says."""

    slug: Slug
    title: StrictStr = ""
    description: StrictStr = ""
    source: StrictStr = ""
    api: Api = "v2"
    seconds: NotNegative | None = None
    price: Annotated[NotNegative, Field(le=validation.MOST_CREDITS)] | None = None
    price_as_of: StrictStr = ""
    price_source: StrictStr = ""
    parameters: dict[ParameterName, ParameterEntry]
    example: dict[StrictStr, Scalar] = Field(default_factory=dict)
    geometry: GeometryEntry | None = None


def _inconsistencies(model: Model) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong between the parts of a file that are right by themselves."""
    for role in get_args(Role):
        names = [parameter.name for parameter in model.parameters.values() if parameter.role == role]
        if len(names) > 1:
            yield ("parameters",), f"only one can be the {role}: {', '.join(names)}"
    if model.geometry is not None:
        for name in (model.geometry.input, *model.geometry.parameters):
            if name not in model.parameters:
                yield ("geometry",), f"{name or 'input'!r} is not a parameter of the model"
    for problem in check(model, model.example) if model.example else ():
        if not problem.warning:
            yield ("example", problem.parameter), problem.message
