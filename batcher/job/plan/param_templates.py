"""The parameters of a request body that have something to fill in, compiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from batcher.job.catalog import Model, Parameter
from batcher.job.manifest.templates import Values, compile_template

Render = Callable[[Values], Any]


class TemplateFault(Enum):
    """Why a parameter cannot be had."""

    VALUE = "it is not what the parameter takes"
    EMPTY = "it has no value, and must have one"
    MISSING = "there is no such file"
    PICTURE = "the row's picture does not allow it"
    PATH = "it is a path of this machine, and no picture is taken here"


class BadValue(Exception):
    """A parameter that cannot be had for a row; `variable` is the name that is not there, if any."""

    def __init__(
        self,
        param: ParamTemplate,
        message: str,
        variable: str = "",
        *,
        cause: TemplateFault = TemplateFault.VALUE,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.variable = variable
        self.cause = cause


@dataclass(frozen=True)
class ParamTemplate:
    """One parameter of the body that has something to fill in; `lone` where it is but `{{ lone }}`.

    What follows of the model is worked out once: a plan asks for it for every task.
    """

    name: str
    render: Render
    variables: frozenset[str] = frozenset()
    lone: str = ""
    parameter: Parameter | None = None
    nested: bool = False
    picks: bool = False

    @cached_property
    def media(self) -> bool:
        """Whether the model says that it holds a picture."""
        return bool(self.parameter and self.parameter.media)

    @cached_property
    def composed(self) -> bool:
        """Whether it puts together what it is, as `photos/{{ file }}` does."""
        return bool(self.variables or self.picks) and not self.lone

    @cached_property
    def converts(self) -> bool:
        """Whether a table's text has to become something else here."""
        return bool(self.lone and self.parameter and self.parameter.type != "string")

    @cached_property
    def optional(self) -> bool:
        """Whether the model is known to do without it."""
        return self.parameter is not None and not self.parameter.required

    @cached_property
    def takes_empty_text(self) -> bool:
        """Whether an empty text is a value here: not for a picture, a number, or one of a list of words."""
        parameter = self.parameter
        return (
            parameter is None
            or (parameter.type == "string" and not parameter.media and not parameter.allowed)
            or "" in parameter.allowed
        )


def compiled(name: str, value: Any, model: Model | None) -> ParamTemplate | None:
    """The parameter, compiled; None where it is constant (a local file is not: its content counts)."""
    parameter = model.parameters.get(name) if model else None
    render, variables, lone, picks = _compiled(value)
    if render is None:
        if not (parameter and parameter.media):
            return None
        return ParamTemplate(name, lambda values: value, parameter=parameter)
    return ParamTemplate(
        name, render, variables, lone, parameter, nested=not isinstance(value, str), picks=picks
    )


def _compiled(value: Any) -> tuple[Render | None, frozenset[str], str, bool]:
    """How to render a value of `params`, lists and mappings with all that is in them (None: constant); the
    variables it reads; the one it is, if it is but that; whether it draws."""
    if isinstance(value, str):
        template = compile_template(value)
        render = None if template.constant else template.render
        return render, template.variables, template.lone or "", template.picks
    if not isinstance(value, dict | list):
        return None, frozenset(), "", False
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    inner = [(key, value[key], *_compiled(value[key])) for key in keys]
    variables = frozenset().union(*(names for _, _, _, names, _, _ in inner))
    picks = any(one for *_, one in inner)
    if not any(render for _, _, render, *_ in inner):
        return None, variables, "", False

    def render_mapping(values: Values) -> Any:
        return {key: render(values) if render else constant for key, constant, render, *_ in inner}

    def render_list(values: Values) -> Any:
        return [render(values) if render else constant for _, constant, render, *_ in inner]

    return (render_mapping if isinstance(value, dict) else render_list), variables, "", picks


def may_be_file(param: ParamTemplate) -> bool:
    """A model that the catalogue does not know may take a picture anywhere."""
    return param.parameter is None and (bool(param.lone) or param.nested)


def as_json(value: Any) -> str:
    """One ASCII text per JSON value, whatever the order of its keys."""
    if type(value) is str:
        return encode_basestring_ascii(value)
    if type(value) is int or (type(value) is float and isfinite(value)):
        return repr(value)
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
