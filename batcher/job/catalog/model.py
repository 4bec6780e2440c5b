"""A model and its parameters, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from batcher.job.geometry import Geometry

Type = Literal["string", "integer", "number", "boolean"]
Media = Literal["image", "mask"]
Role = Literal["seed", "count"]
Api = Literal["v1", "v2"]
SIDES = ("left", "top", "right", "bottom")
"""The keys of a geometry's `margins`, in its order."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key of a request body.

    `default` is what the model takes when the key is absent (None: not documented). The range
    includes both ends. `allowed` is empty where any value passes; `allowed_total` is how many there are in
    all, where the page spells out only some. `media` marks an input picture, `role` the seed and the
    parameter that counts the images of one request; `is_list`: it takes a list of such values.
    """

    name: str
    type: Type
    required: bool = False
    default: str | int | float | bool | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    allowed: tuple[str | int | float, ...] = ()
    allowed_total: int | None = None
    media: Media | None = None
    role: Role | None = None
    description: str = ""
    is_list: bool = False

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, Any]) -> Parameter:
        """The parameter that an entry of a model file describes; the entry is sound."""
        fields = {"is_list" if key == "list" else key: value for key, value in data.items()}
        fields["allowed"] = tuple(fields.get("allowed", ()))
        fields["description"] = _one_line(fields, "description")
        return cls(name=name, **fields)

    @property
    def complete(self) -> bool:
        """Whether `allowed` has every value that the model takes."""
        return self.allowed_total is None or self.allowed_total == len(self.allowed)


@dataclass(frozen=True)
class Model:
    """One model of the catalogue.

    `api` is the endpoint version to submit to, `seconds` the typical time of one request, `price` the
    average credits of one image (None: not known), as `price_source` published it at `price_as_of`;
    `source` is the page's address, `example` the page's example request. `geometry` says where the source
    lies in the output (None: not known).
    """

    slug: str
    title: str = field(default="", hash=False)
    api: Api = field(default="v2", hash=False)
    seconds: float | None = field(default=None, hash=False)
    price: float | None = field(default=None, hash=False)
    price_as_of: str = field(default="", hash=False)
    price_source: str = field(default="", hash=False)
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)
    description: str = field(default="", hash=False)
    source: str = field(default="", hash=False)
    example: Mapping[str, Any] = field(default_factory=dict, hash=False)
    geometry: Geometry | None = field(default=None, hash=False)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Model:
        """The model that a model file describes, as plain data; the file is sound (see `model_file`)."""
        parameters = {name: Parameter.from_data(name, entry) for name, entry in data["parameters"].items()}
        geometry = data.get("geometry")
        return cls(
            slug=data["slug"],
            title=_one_line(data, "title") or data["slug"],
            api=data.get("api", "v2"),
            seconds=_float(data, "seconds"),
            price=_float(data, "price"),
            price_as_of=_one_line(data, "price_as_of"),
            price_source=_one_line(data, "price_source"),
            parameters=parameters,
            description=_one_line(data, "description"),
            source=_one_line(data, "source"),
            example=data.get("example", {}),
            geometry=None if geometry is None else _geometry(geometry, parameters),
        )

    @property
    def media(self) -> tuple[str, ...]:
        """Names of the parameters that hold an input picture."""
        return tuple(p.name for p in self.parameters.values() if p.media)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that no request may lack."""
        return tuple(p.name for p in self.parameters.values() if p.required)

    @property
    def seed(self) -> str | None:
        """Name of the parameter that makes the result repeatable."""
        return self._in_role("seed")

    @property
    def count(self) -> str | None:
        """Name of the parameter that says how many images one request gives."""
        return self._in_role("count")

    def _in_role(self, role: Role) -> str | None:
        return next((p.name for p in self.parameters.values() if p.role == role), None)


def _one_line(data: Mapping[str, Any], key: str) -> str:
    return " ".join(data.get(key, "").split())


def _float(data: Mapping[str, Any], key: str) -> float | None:
    value = data.get(key)
    return None if value is None else float(value)


def _geometry(data: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Geometry:
    """The rule, with the defaults of the parameters that it names; its input is else the first picture."""
    pictures = (parameter.name for parameter in parameters.values() if parameter.media == "image")
    margins = data.get("margins", {})
    rule = Geometry(
        **{
            **data,
            "input": data.get("input") or next(pictures, ""),
            "canvas": tuple(data.get("canvas", ())),
            "margins": tuple(margins[side] for side in SIDES) if margins else (),
        }
    )
    named = ((name, parameters[name].default) for name in rule.parameters if name in parameters)
    return replace(rule, defaults={name: default for name, default in named if default is not None})


def values_text(parameter: Parameter) -> str:
    """What a parameter may be, in words: its allowed values or its range; empty where any value passes."""
    if parameter.allowed:
        listed = ", ".join(str(value) for value in parameter.allowed)
        if parameter.complete:
            return listed
        unnamed = (parameter.allowed_total or 0) - len(parameter.allowed)
        return f"{listed} and {unnamed} that the page does not name"
    low, high = (
        f"{one:g}" if isinstance(one, float) else "" if one is None else str(one)
        for one in (parameter.minimum, parameter.maximum)
    )
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else ""


SAMPLES, MOST_SAMPLES = "samples", 16
"""The provider's usual name for how many images one request gives; a larger number means something else."""


def count(model: Model | None, params: Mapping[str, Any]) -> int:
    """How many images one request with these parameters gives; 1 where nobody can tell. Of a model that the
    catalogue does not have, the provider's usual parameter says it."""
    if model is None:
        asked = params.get(SAMPLES)
        return asked if type(asked) is int and 0 < asked <= MOST_SAMPLES else 1
    name = model.count
    if name is None:
        return 1
    value = params.get(name, model.parameters[name].default)
    return value if isinstance(value, int) and value > 0 else 1
