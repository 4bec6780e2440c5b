"""What the provider knows of a model: its page (`catalog/*.yaml`, read as data) and what it refuses.

Rule: parameters are judged when the job runs, as the provider does: bad input is a FAILED job and not a 400.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import yaml

MOCK = "mock-inference"
"""The slug of the provider's own tests: `{"sleep": seconds}`, no media; `{"fail": text}` makes it FAILED."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@dataclass(frozen=True, slots=True)
class PageParameter:
    """One parameter as the model's page gives it."""

    name: str
    type: str = "string"
    required: bool = False
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Any, ...] = ()
    open: bool = False
    """The page spells out only some of the allowed values, so others pass."""
    media: str | None = None
    """`image` or `mask` where the value is a URL of one."""
    role: str | None = None
    description: str = ""

    def problem(self, value: Any) -> str | None:
        """The provider's complaint about a value, or None."""
        kinds = _TYPES.get(self.type)
        if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and self.type != "boolean")):
            return f"Invalid type for parameter '{self.name}': expected {self.type}, got {_type_name(value)}"
        wrong = f"Invalid value for parameter '{self.name}': {value}"
        if self.minimum is not None and value < self.minimum:
            return f"{wrong} is less than the minimum of {self.minimum}"
        if self.maximum is not None and value > self.maximum:
            return f"{wrong} is greater than the maximum of {self.maximum}"
        if self.allowed and not self.open and value not in self.allowed:
            return f"{wrong} is not one of {', '.join(map(str, self.allowed))}"
        return None


@dataclass(frozen=True, slots=True)
class ModelPage:
    """One model: its parameters, its typical time, its price."""

    slug: str
    title: str = ""
    description: str = ""
    parameters: Mapping[str, PageParameter] = field(default_factory=dict)
    seconds: float | None = None
    price: float | None = None
    example: Mapping[str, Any] = field(default_factory=dict)

    def problem(self, body: Mapping[str, Any]) -> str | None:
        """Why the model would not run this body: the first reason, as the provider puts it; or None."""
        if self.slug == MOCK:
            return _problem_of_mock(body)
        for name in body:
            if name not in self.parameters:
                return f"Unexpected parameter '{name}'"
        for name, parameter in self.parameters.items():
            if body.get(name) is None:
                if parameter.required:
                    return f"Missing required parameter '{name}'"
            elif complaint := parameter.problem(body[name]):
                return complaint
        return None

    def value(self, body: Mapping[str, Any], name: str) -> Any:
        """A parameter as the model takes it: from the body, else the page's default."""
        given = body.get(name)
        if given is not None:
            return given
        parameter = self.parameters.get(name)
        return parameter.default if parameter else None

    def defaults(self) -> dict[str, Any]:
        """The page's default of each parameter that has one."""
        return {
            name: parameter.default
            for name, parameter in self.parameters.items()
            if parameter.default is not None
        }

    def media(self, body: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """The media inputs of a body: parameter name -> (kind, URL)."""
        return {
            name: (parameter.media, body[name])
            for name, parameter in self.parameters.items()
            if parameter.media and body.get(name) is not None
        }

    def images(self, body: Mapping[str, Any]) -> int:
        """How many pictures one job of this body gives."""
        for name, parameter in self.parameters.items():
            if parameter.role == "count" and parameter.problem(self.value(body, name)) is None:
                return int(self.value(body, name))
        return 1

    def seed(self, body: Mapping[str, Any]) -> int | None:
        """The seed that was asked for; None: the model picks one."""
        names = [name for name, parameter in self.parameters.items() if parameter.role == "seed"]
        wanted = self.value(body, names[0]) if names else None
        return wanted if isinstance(wanted, int) and wanted >= 0 else None


@functools.cache
def model_pages() -> Mapping[str, ModelPage]:
    """Every model that is served: the catalogue's, and `mock-inference`."""
    served = {MOCK: ModelPage(MOCK)}
    # Not `files("batcher.job.catalog")`: that would import the catalogue's code.
    for file in (resources.files("batcher") / "job" / "catalog").iterdir():
        if file.name.endswith(".yaml"):
            page = yaml.safe_load(file.read_text(encoding="utf-8"))
            model = _model(page, slug=file.name.removesuffix(".yaml"))
            served[model.slug] = model
    return served


def model_list() -> dict[str, Any]:
    """The public list of models. The form of `parameters_schema` is unproven: JSON Schema's is given."""
    pages = [page for page in model_pages().values() if page.slug != MOCK]
    return {
        "Inference Segmind Model Information List With Details": [
            {
                "slug": page.slug,
                "title": page.title,
                "description": page.description,
                "is_depreciated": False,
                "parameters_schema": _schema(page),
            }
            for page in pages
        ]
    }


def _schema(page: ModelPage) -> dict[str, Any]:
    required = [name for name, parameter in page.parameters.items() if parameter.required]
    properties = {name: _property(parameter) for name, parameter in page.parameters.items()}
    return {"type": "object", "required": required, "properties": properties}


def _property(parameter: PageParameter) -> dict[str, Any]:
    keys = {
        "type": parameter.type,
        "description": parameter.description or None,
        "default": parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "enum": list(parameter.allowed) if parameter.allowed and not parameter.open else None,
    }
    return {name: value for name, value in keys.items() if value is not None}


def _model(page: Mapping[str, Any], slug: str) -> ModelPage:
    parameters = {name: _parameter(name, entry) for name, entry in page["parameters"].items()}
    return ModelPage(
        slug=page.get("slug", slug),
        title=page.get("title", slug),
        description=page.get("description", ""),
        parameters=parameters,
        seconds=page.get("seconds"),
        price=page.get("price"),
        example=page.get("example", {}),
    )


def _parameter(name: str, entry: Mapping[str, Any]) -> PageParameter:
    allowed = tuple(entry.get("allowed", ()))
    return PageParameter(
        name=name,
        type=entry.get("type", "string"),
        required=entry.get("required", False),
        default=entry.get("default"),
        minimum=entry.get("minimum"),
        maximum=entry.get("maximum"),
        allowed=allowed,
        open=entry.get("allowed_total", len(allowed)) > len(allowed),
        media=entry.get("media"),
        role=entry.get("role"),
        description=entry.get("description", ""),
    )


def _problem_of_mock(body: Mapping[str, Any]) -> str | None:
    sleep = body.get("sleep", 0)
    if isinstance(sleep, bool) or not isinstance(sleep, (int, float)) or not 0 <= sleep < 86400:
        return f"Invalid value for parameter 'sleep': {sleep!r}"
    failure = body.get("fail")
    return str(failure) if failure else None


def _type_name(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")
