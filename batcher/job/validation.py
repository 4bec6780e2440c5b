"""What pydantic finds wrong with a file, as problems at their place and in plain words.

    class Limits(Section): ...              a mapping of a file that knows its keys
    problems(document, Manifest, error)     after Manifest.model_validate(document.data)

Rule: a mistake is told once: a value that the YAML reader could not read is not also one of a wrong type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails
from pydantic_core.core_schema import no_info_before_validator_function

from batcher.errors import Problem
from batcher.job.wording import described, nearest, none_of, shown
from batcher.job.yaml_document import YamlDocument

MOST_CREDITS = 1e9
"""No account holds more; the ledger counts in millionths, and in whole numbers of 64 bits."""


class Section(BaseModel):
    """A frozen mapping of a file that knows its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OneOrMore:
    """Of a tuple: a lone item stands for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(_in_tuple, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        items = handler(schema)
        return {"anyOf": [items["items"], items]}


def _in_tuple(value: object) -> object:
    return (value,) if isinstance(value, str | dict) else value


class WrongKey(ValueError):
    """A validator's complaint about one key of the section that it looks at."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def problems(
    document: YamlDocument,
    grammar: type[Section],
    error: ValidationError,
    missing: Mapping[str, str] | None = None,
) -> list[Problem]:
    """Pydantic's errors as problems of the document; `missing` says what a key is for
    that has to be there."""
    unread = {problem.key for problem in document.problems}
    problems = []
    for one in error.errors(include_url=False):
        problem = _problem(document, grammar, one, missing or {})
        if one["input"] is not None or problem.key not in unread:
            problems.append(problem)
    return problems


def _problem(
    document: YamlDocument, grammar: type[Section], error: ErrorDetails, missing: Mapping[str, str]
) -> Problem:
    path = [part for part in error["loc"] if part != "[key]"]
    if error["type"] == "extra_forbidden":
        return document.problem(path, _unknown_key(path, grammar), at_key=True)
    if error["type"] == "missing":
        purpose = missing.get(str(path[-1]))
        return document.problem(path, f"is missing: {purpose}" if purpose else "is missing")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, WrongKey):
        return document.problem([*path, cause.key], str(cause))
    return document.problem(path, _message(error), at_key="[key]" in error["loc"])


def _unknown_key(path: Sequence[str | int], grammar: type[Section]) -> str:
    fields = _section_at(path[:-1], grammar).model_fields
    keys = [field.alias or name for name, field in fields.items()]
    meant = nearest(str(path[-1]), keys)
    return f"unknown key; did you mean `{meant}`?" if meant else f"unknown key; known are {', '.join(keys)}"


def _section_at(path: Iterable[str | int], grammar: type[Section]) -> type[Section]:
    """The section that stands at a path of the file."""
    section = grammar
    for part in path:
        # What is no key of it is an index, or one of the names that a mapping of sections has.
        if isinstance(part, str) and part in section.model_fields:
            section = next(_sections_in(section.model_fields[part].annotation), section)
    return section


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


_TYPE_WORDS = {
    "string": "text",
    "path": "the path of a folder",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "`key: value` lines",
    "model": "`key: value` lines",
}
"""What may stand there, by the beginning of the error's type: `int_type`, `int_parsing`."""


def _message(error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return none_of(value, context["expected"].replace("'", "").replace(" or ", ", ").split(", "))
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{shown(value)} is out of range; it must be {word} {context[key]:g}"
    if kind in ("too_short", "string_too_short"):
        return "is empty; leave the key out, or give it a value"
    wanted = next((words for name, words in _TYPE_WORDS.items() if kind.startswith(f"{name}_")), None)
    if wanted is None:
        return f"{shown(value)}: {error['msg']}"
    return f"must be {wanted}, not {described(value)}"


_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
