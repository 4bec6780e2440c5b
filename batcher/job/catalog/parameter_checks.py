"""Is this value one that the model takes?

Rule: types are exact. A boolean is no number, 25.0 is no integer, "25" is text; only a table cell,
which is text by nature, is converted, and only by `convert`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from batcher.job.catalog.model import Model, Parameter, Type
from batcher.job.wording import nearest, shown

TYPE_WORDS: Mapping[Type, str] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}

USUAL: Mapping[Type, type] = {"string": str, "integer": int, "number": int, "boolean": bool}
"""What a value of that type mostly is, and then surely fits: no more is asked."""


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """One thing about one parameter; a `warning` does not stop the manifest."""

    parameter: str
    message: str
    warning: bool = False


def check(model: Model, params: Mapping[str, Any], unchecked: Collection[str] = ()) -> list[ParameterProblem]:
    """Everything that speaks against sending `params` to `model`; names in `unchecked` pass as they are.

    Called once per task: a few microseconds when nothing is wrong.
    """
    tests, required = _compiled(model)
    problems = []
    for name, value in params.items():
        test = tests.get(name)
        if test is None:
            if name not in unchecked:
                problems.append(ParameterProblem(name, _unknown(model, name)))
        elif (problem := test(value)) and name not in unchecked:
            problems.append(problem)
    if not required <= params.keys():
        problems += [
            ParameterProblem(name, f"is missing: {model.slug} requires it{_hint(model, name)}")
            for name in model.required
            if name not in params and name not in unchecked
        ]
    return problems


def convert(parameter: Parameter, cell: str) -> str | int | float | bool:
    """The text of a table cell as the parameter's type.

    A whole number may be written 25.0, as spreadsheets do; a boolean as true/false, yes/no or 1/0.
    Whether the model takes the value is for `check` to say.

    Raises ValueError, with a sentence, when the text is not of that type.
    """
    if parameter.type == "string":
        return cell
    text = cell.strip()
    if not text:
        raise ValueError(f"the cell is empty; {parameter.name} takes {TYPE_WORDS[parameter.type]}")
    value: int | float | bool | None
    if parameter.type == "boolean":
        value = _BOOLEANS.get(text.casefold())
    elif whole := _INTEGER.fullmatch(text):
        value = int(whole[1])
    elif parameter.type == "number" and _NUMBER.fullmatch(text):
        value = float(text) if math.isfinite(float(text)) else None
    else:
        value = None
    if value is None:
        raise ValueError(f"{shown(cell)} is not {TYPE_WORDS[parameter.type]}, which {parameter.name} takes")
    if parameter.type == "number" and "." in text:
        return float(value)
    return value


# ASCII digits only, and few enough for a float to hold: foreign text, and int() of a huge one is slow.
_INTEGER = re.compile(r"([+-]?[0-9]{1,300})(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_Test = Callable[[Any], ParameterProblem | None]


@lru_cache(maxsize=64)
def _compiled(model: Model) -> tuple[Mapping[str, _Test], frozenset[str]]:
    tests = {
        name: _list_test(parameter) if parameter.is_list else _value_test(parameter)
        for name, parameter in model.parameters.items()
    }
    return tests, frozenset(model.required)


def _value_test(parameter: Parameter) -> _Test:
    """The parameter's check as one closure: the good case costs a type check and a comparison or two."""
    usual, right_type = USUAL[parameter.type], _right_type(parameter.type)
    low = -math.inf if parameter.minimum is None else parameter.minimum
    high = math.inf if parameter.maximum is None else parameter.maximum
    ranged = parameter.minimum is not None or parameter.maximum is not None
    allowed = frozenset(parameter.allowed)
    media = parameter.media

    def test(value: Any) -> ParameterProblem | None:
        if type(value) is not usual and not right_type(value):
            return ParameterProblem(parameter.name, _wrong_type(parameter, value))
        if ranged and not low <= value <= high:
            return ParameterProblem(parameter.name, _out_of_range(parameter, value))
        if allowed and value not in allowed:
            return ParameterProblem(
                parameter.name, _not_allowed(parameter, value), warning=not parameter.complete
            )
        if media and not value:
            return ParameterProblem(parameter.name, f"is empty; it takes the path or URL of {_a(media)}")
        return None

    return test


def _list_test(parameter: Parameter) -> _Test:
    """The check of a list: of each of its items."""
    of_one = _value_test(parameter)

    def test(value: Any) -> ParameterProblem | None:
        if not isinstance(value, list | tuple):
            return ParameterProblem(parameter.name, f"{shown(value)} is one value; it takes a list")
        if parameter.required and not value:
            return ParameterProblem(parameter.name, "is an empty list; it takes at least one value")
        for number, one in enumerate(value):
            if problem := of_one(one):
                return ParameterProblem(parameter.name, f"item {number}: {problem.message}", problem.warning)
        return None

    return test


def _right_type(type_: Type) -> Callable[[Any], bool]:
    if type_ == "string":
        return lambda value: isinstance(value, str)
    if type_ == "boolean":
        return lambda value: isinstance(value, bool)
    if type_ == "integer":
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    # value - value is nan for nan and the infinities, 0 for the rest.
    return lambda value: (
        (isinstance(value, float) and value - value == 0)
        or (isinstance(value, int) and not isinstance(value, bool))
    )


def _unknown(model: Model, name: str) -> str:
    meant = nearest(name, model.parameters)
    guess = f"did you mean {meant}?" if meant else "`batcher models " + model.slug + "` lists them."
    return f"is not a parameter of {model.slug}; {guess} (Under `unchecked` it passes as it is.)"


def _hint(model: Model, name: str) -> str:
    parameter = model.parameters[name]
    return f" ({parameter.description})" if parameter.description else ""


def _wrong_type(parameter: Parameter, value: Any) -> str:
    wanted = TYPE_WORDS[parameter.type]
    if value is None:
        return f"is empty (null); it takes {wanted}. Leave the key out to get the model's own default"
    if isinstance(value, bool):
        kind = "a boolean"
    elif isinstance(value, str):
        kind = "text"
    elif isinstance(value, int):
        kind = "a number"
    elif isinstance(value, float):
        kind = "a number with a decimal point" if math.isfinite(value) else "not a finite number"
    else:
        kind = {"list": "a list", "tuple": "a list", "dict": "a mapping"}.get(
            type(value).__name__, f"a {type(value).__name__}"
        )
    return f"{shown(value)} is {kind}; it takes {wanted}"


def _out_of_range(parameter: Parameter, value: Any) -> str:
    if parameter.minimum is None:
        span = f"at most {parameter.maximum}"
    elif parameter.maximum is None:
        span = f"at least {parameter.minimum}"
    else:
        span = f"{parameter.minimum} to {parameter.maximum}"
    return f"{shown(value)} is out of range; it takes {span}"


def _not_allowed(parameter: Parameter, value: Any) -> str:
    meant = nearest(value, [str(one) for one in parameter.allowed]) if isinstance(value, str) else None
    guess = f"; did you mean {meant}?" if meant else ""
    values = ", ".join(str(one) for one in parameter.allowed)
    if parameter.complete:
        return f"{shown(value)} is not one of its values: {values}{guess}"
    known = f"{len(parameter.allowed)} known of {parameter.allowed_total} values"
    return f"{shown(value)} is not among the {known} ({values}){guess or '; sent as it is'}"


def _a(media: str) -> str:
    return f"an {media}" if media[0] in "aeiou" else f"a {media}"
