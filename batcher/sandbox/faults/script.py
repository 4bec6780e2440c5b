"""A script of faults from YAML: every problem is told at once, with the line of its entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from batcher.sandbox.durations import seconds
from batcher.sandbox.faults.kinds import KINDS, Fault, FaultsError, When

LIMIT = 1_000_000
"""Bytes of the longest script that is read."""


def read(path: Path) -> tuple[Fault, ...]:
    """The faults of a YAML file.

    Raises:
        FaultsError: the file cannot be read or followed.
    """
    try:
        text = path.read_bytes()[: LIMIT + 1].decode("utf-8")
        if len(text) > LIMIT:
            raise FaultsError(f"{path}: longer than {LIMIT} bytes")
        entries, lines = yaml.safe_load(text), _lines(text)
    except OSError as problem:
        raise FaultsError(f"{path}: cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise FaultsError(f"{path}: is not UTF-8 text") from problem
    except yaml.YAMLError as problem:
        raise FaultsError(f"{path}: is not YAML: {' '.join(str(problem).split())}") from problem
    if not isinstance(entries, list):
        raise FaultsError(
            f"{path}: must be a list of faults, such as `- {{fault: cut, route: submit, calls: [1]}}`"
        )
    faults, problems = [], []
    for line, entry in zip(lines, entries, strict=True):
        try:
            faults.append(_fault(entry))
        except FaultsError as problem:
            problems.append(f"{path}:{line}: {problem}")
    if problems:
        raise FaultsError("\n".join(problems))
    return tuple(faults)


def _fault(entry: Any) -> Fault:
    if not isinstance(entry, dict) or not isinstance(entry.get("fault"), str):
        raise FaultsError("an entry must be a mapping with the key `fault`")
    kind = entry["fault"]
    if kind not in KINDS:
        raise FaultsError(f"there is no fault {kind!r}{_nearest(kind, KINDS)}")
    settings = {}
    selectors = {}
    for key, value in entry.items():
        if key in KINDS[kind].settings:
            settings[key] = _checked(key, value, _SETTINGS[key])
        elif key in _SELECTORS:
            name, check = _SELECTORS[key]
            selectors[name] = _checked(key, value, check)
        elif key not in ("fault", "route"):
            known = ("fault", "route", *_SELECTORS, *KINDS[kind].settings)
            raise FaultsError(f"the fault {kind} has no key {key!r}{_nearest(str(key), known)}")
    return Fault.of(kind, _route(entry.get("route")), When(**selectors), settings)


def _checked(key: str, value: Any, check: Callable[[Any], Any]) -> Any:
    try:
        return check(value)
    except (TypeError, ValueError) as problem:
        raise FaultsError(f"{key}: {problem}") from problem


def _route(value: Any) -> str | list[str] | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    raise FaultsError(f"route: {value!r} is neither a route nor a list of routes")


def _lines(text: str) -> list[int]:
    """The line, from 1, of every entry of the list."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    nodes = root.value if isinstance(root, yaml.SequenceNode) else []
    return [node.start_mark.line + 1 for node in nodes]


def _nearest(word: str, known: Any) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is not a whole number from 1 on")
    return value


def _calls(value: Any) -> frozenset[int]:
    return frozenset(map(_count, value if isinstance(value, list) else [value]))


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is not a share between 0 and 1")
    return float(value)


def _code(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise ValueError(f"{value!r} is not an HTTP status from 200 to 599")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _text(value: Any) -> str:
    if isinstance(value, (dict, list, bool)) or value is None:
        raise ValueError(f"{value!r} is not a text")
    return str(value)


def _state(value: Any) -> str:
    if value not in ("QUEUED", "PROCESSING"):
        raise ValueError(f"{value!r} is neither QUEUED nor PROCESSING")
    return str(value)


def _origin(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise ValueError(f"{value!r} is not the origin of a URL, such as http://127.0.0.1:9000")
    return value


_SELECTORS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "calls": ("calls", _calls),
    "first": ("first", _count),
    "every": ("every", _count),
    "rate": ("rate", _share),
    "from": ("since", seconds),
    "until": ("until", seconds),
}

_SETTINGS: Mapping[str, Callable[[Any], Any]] = {
    "reset_in": lambda value: None if value is None else seconds(value),
    "retry_after": _text,
    "code": _code,
    "page": _flag,
    "message": _text,
    "accepted": _flag,
    "delay": seconds,
    "to": _origin,
    "error": _text,
    "state": _state,
}
