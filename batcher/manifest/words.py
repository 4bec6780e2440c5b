"""What pydantic found, in plain words: what stands there, what may stand there, the nearest key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from batcher.catalog import nearest
from batcher.errors import Problem
from batcher.manifest import grammar
from batcher.manifest.reading import Document

_SECTIONS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): grammar.Manifest,
    ("inputs",): grammar.Source,
    ("output",): grammar.Output,
    ("limits",): grammar.Limits,
    ("retry",): grammar.Retry,
    ("retry", "backoff"): grammar.Backoff,
    ("poll",): grammar.Poll,
}
_OURS = ("path", "folder", "store")
_KINDS = {
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


def problem(document: Document, error: ErrorDetails) -> Problem:
    """One pydantic error as a Problem at its place in the manifest."""
    path = [part for part in error["loc"] if part != "[key]"]
    if error["type"] == "extra_forbidden":
        return document.problem(path, _unknown_key(path), at_key=True)
    if error["type"] == "missing":
        return document.problem(path, f"is missing{_why(path)}")
    return document.problem(path, _message(error), at_key="[key]" in error["loc"])


def _unknown_key(path: Sequence[str | int]) -> str:
    section = tuple(part for part in path[:-1] if isinstance(part, str))
    known = [name for name in _SECTIONS[section].model_fields if name not in _OURS]
    meant = nearest(str(path[-1]), known)
    return f"unknown key; did you mean `{meant}`?" if meant else f"unknown key; known are {', '.join(known)}"


def _why(path: Sequence[str | int]) -> str:
    return ": the slug of the model to run, as `model: sd1.5-outpaint`" if list(path) == ["model"] else ""


def _message(error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return one_of(value, context["expected"].replace("'", "").replace(" or ", ", ").split(", "))
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{shown(value)} is out of range; it must be {word} {context[key]:g}"
    if kind in ("too_short", "string_too_short"):
        return "is empty; leave the key out, or give it a value"
    wanted = next((words for name, words in _KINDS.items() if kind.startswith(f"{name}_")), None)
    if wanted is None:
        return f"{shown(value)}: {error['msg']}"
    return f"must be {wanted}, not {described(value)}"


_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def one_of(value: Any, words: Sequence[str]) -> str:
    """`value` is none of `words`; the one that was probably meant."""
    meant = nearest(value, words) if isinstance(value, str) else None
    guess = f"; did you mean {meant}?" if meant else ""
    return f"{shown(value)} is not one of {', '.join(words)}{guess}"


def described(value: Any) -> str:
    """A value and what it is, for a person."""
    if value is None:
        return "nothing (the key is empty)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, int | float):
        return f"the number {shown(value)}"
    return "a list" if isinstance(value, list | tuple) else "`key: value` lines"


def shown(value: Any) -> str:
    """The value, cut to what a line holds."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
