"""The text of a manifest -> plain data, and the place of every key.

Rule: the file is foreign data. It is composed to nodes, never constructed as objects; its length, its
depth and what its aliases unfold to are bounded before anything is built from them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from batcher.errors import ManifestError, Problem

MAX_BYTES = 4_000_000
MAX_DEPTH = 50
MAX_UNFOLDED = 100_000
"""Nodes that aliases may add: a bomb unfolds to billions."""

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key and its value begin; lines and columns count from 1."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(frozen=True)
class Document:
    """A manifest as plain data, with what is needed to say where something stands in it.

    `problems` are those of its keys (given twice, not text) and overrides; the rest of it reads on.
    """

    file: str
    data: Any
    places: Mapping[KeyPath, Place] = field(default_factory=dict)
    lines: Sequence[str] = ()
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def problem(self, path: Sequence[str | int], message: str, *, at_key: bool = False) -> Problem:
        """A problem at a key of this document: the nearest place above it that is written down."""
        key = ".".join(str(part) for part in path)
        named = self._named(path)
        for length in range(len(named), 0, -1):
            if (override := self.overrides.get(named[:length])) is not None:
                own = length == len(named) and not at_key
                return _in_override(override, message, override.index("=") + 2 if own else 1, key)
        if named not in self.places:
            # What the file does not say, and an override says something inside of, is the override's.
            for inside, override in self.overrides.items():
                if named and inside[: len(named)] == named:
                    return _in_override(override, message, key=key)
        place, whole = self._nearest(path)
        if place is None:
            return Problem(message, self.file, key=key)
        line, column = place.key if at_key or not whole else place.value
        return Problem(message, self.file, line, column, key, self.excerpt(line))

    def excerpt(self, line: int) -> str:
        """The source line for a caret; nothing for a line that no screen shows."""
        text = self.lines[line - 1].replace("\t", " ") if 0 < line <= len(self.lines) else ""
        return text if len(text) <= 200 and text.isprintable() else ""

    def _named(self, path: Sequence[str | int]) -> KeyPath:
        """The path as an override says it: a lone item that stands where a list is meant has no index."""
        here, named = self.data, list[str | int]()
        for part in path:
            if isinstance(part, int) and not isinstance(here, list):
                continue
            named.append(part)
            if isinstance(here, dict):
                here = here.get(str(part))
            elif isinstance(here, list) and isinstance(part, int) and part < len(here):
                here = here[part]
            else:
                here = None
        return tuple(named)

    def _nearest(self, path: Sequence[str | int]) -> tuple[Place | None, bool]:
        here: KeyPath = ()
        for part in path:
            if (*here, part) in self.places:
                here = (*here, part)
            elif not isinstance(part, int):  # a lone item may stand where a list is meant
                return self.places.get(here), False
        return self.places.get(here), True


def _in_override(override: str, message: str, column: int = 1, key: str = "") -> Problem:
    """A problem of one `--set`, at a column of it."""
    shown = len(override) <= 200 and override.isprintable()
    return Problem(message, f"--set {override}", 0, column, key, override if shown else "")


def read(text: str, file: str, overrides: Sequence[str] = ()) -> Document:
    """The document that `text` holds, with `overrides` (`dotted.key=YAML value`) laid over it.

    Raises ManifestError where nothing can be read: not YAML, too large or deep, not a mapping.
    """
    if len(text) > MAX_BYTES:
        raise ManifestError([Problem(_TOO_LARGE, file)])
    lines = text.splitlines()
    walker = _Walker(file, lines)
    data = walker.walk(_compose(text, file, lines))
    if not isinstance(data, Mapping):
        message = (
            "is empty; a manifest needs at least `model`"
            if data is None
            else "must be `key: value` lines, as `model: sd1.5-outpaint`"
        )
        raise ManifestError([*walker.problems, Problem(message, file)])
    document = Document(file, data, walker.places, lines)
    problems = walker.problems
    for override in overrides:
        document = _overridden(document, override, problems)
    return replace(document, problems=tuple(problems))


_TOO_LARGE = (
    f"is larger than {MAX_BYTES // 1_000_000} MB; put long lists of rows into a `table:` of their own"
)


_TOO_DEEP = "nested too deeply"


def _compose(text: str, file: str, lines: Sequence[str]) -> yaml.Node | None:
    try:
        _refuse_depth(text)
        return yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        if "nesting depth" in what:  # libyaml's own limit, which its scanner may meet first
            what = _TOO_DEEP
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        excerpt = Document(file, None, lines=lines).excerpt(line)
        hint = _syntax_hint(excerpt, str(what))
        problem = Problem(f"is not YAML: {what}{hint}", file, line, column, "", excerpt)
        raise ManifestError([problem]) from None


def _syntax_hint(excerpt: str, what: str) -> str:
    if "{{" in excerpt:
        return '. A value with {{ }} goes in quotes: "{{ image }}"'
    if "character '\\t'" in what or "that cannot start any token" in what:
        return ". Indent with spaces, and put text that begins with a special sign in quotes"
    return ""


def _refuse_depth(text: str) -> None:
    """Composing recurses, in C beyond the end of the stack; parsing does not."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=mark)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen at run time
    """YAML 1.2's plain scalars: `no` is text, 16:9 is text, 2024-01-01 is text, 1e3 is a number."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's shape


_TAG = "tag:yaml.org,2002:"
_DIGITS = list("-+0123456789")
_Loader.add_implicit_resolver(
    f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), _DIGITS)
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z"),
    [*_DIGITS, "."],
)
_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])


class _Walker:
    """Turns nodes into plain data and notes where each key stands."""

    def __init__(self, file: str, lines: Sequence[str]) -> None:
        self.places: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self._document = Document(file, None, lines=lines)
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._unfolded = 0

    def walk(self, node: yaml.Node | None, path: KeyPath = ()) -> Any:
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._problem(path, "contains itself through an alias", node)
            return None
        if id(node) in self._seen:
            self._unfolded += len(node.value)
            if self._unfolded > MAX_UNFOLDED:
                self._problem(path, f"aliases unfold to more than {MAX_UNFOLDED} values", node)
                raise ManifestError(self.problems)
        self._seen.add(id(node))
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._item(child, (*path, index)) for index, child in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _item(self, node: yaml.Node, path: KeyPath) -> Any:
        self._place(path, node, node)
        return self.walk(node, path)

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, child in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged |= self._merged(child, path)
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != f"{_TAG}str":
                self._problem(path, _bad_key(key_node), key_node)
                continue
            key = str(key_node.value)
            inside = (*path, key)
            if key in found:
                line = self.places[inside].key[0] if inside in self.places else 0
                first = f", first in line {line}" if line else ""
                self._problem(inside, f"is given twice{first}; keep one", key_node)
                continue
            self._place(inside, key_node, child)
            found[key] = self.walk(child, inside)
        return {**merged, **found} if merged else found

    def _merged(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """`<<: *base`: keys of the base that the mapping does not give itself; earlier bases win."""
        value = self.walk(node, path)
        bases = value if isinstance(value, list) else [value]
        if not all(isinstance(base, dict) for base in bases):
            self._problem(path, "`<<` takes a mapping, or a list of mappings", node)
            return {}
        return {key: inner for base in reversed(bases) for key, inner in base.items()}

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text = str(node.value)
        read = _SCALARS.get(node.tag)
        if read is None:
            self._problem(
                path, f"the tag {node.tag.replace(_TAG, '!!')} is not known here; leave it out", node
            )
            return None
        try:
            value = read(text)
        except (ValueError, KeyError):
            kind = node.tag.removeprefix(_TAG)
            self._problem(path, f"{text[:60]!r} cannot be read as {kind}; put text in quotes", node)
            return None
        if isinstance(value, str) and HALF_CHARACTER.search(value):
            self._problem(path, "holds half a character (a lone surrogate)", node)
            return None
        return value

    def _place(self, path: KeyPath, key: yaml.Node, value: yaml.Node) -> None:
        # A table written into the manifest has a place for every row, but not for every cell.
        if not (len(path) > 4 and path[0] == "inputs"):
            self.places[path] = Place(_start(key), _start(value))

    def _problem(self, path: KeyPath, message: str, node: yaml.Node) -> None:
        line, column = _start(node)
        key = ".".join(str(part) for part in path)
        self.problems.append(
            Problem(message, self._document.file, line, column, key, self._document.excerpt(line))
        )


def _bad_key(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return f"the key `{node.value}` is not text; put it in quotes"
    return 'a mapping stands where a key is meant; a template goes in quotes, as "{{ image }}"'


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_SCALARS: Mapping[Hashable, Callable[[str], Any]] = {
    f"{_TAG}str": str,
    f"{_TAG}int": _int,
    f"{_TAG}float": _finite,
    f"{_TAG}bool": lambda text: {"true": True, "false": False}[text.lower()],
    f"{_TAG}null": lambda text: None,
    f"{_TAG}merge": str,
}


def _overridden(document: Document, override: str, problems: list[Problem]) -> Document:
    """The document with one `--set dotted.key=value` laid over it; list items by their index."""

    def wrong(message: str, column: int = 1) -> Document:
        problems.append(_in_override(override, message, column))
        return document

    dotted, equals, text = override.partition("=")
    parts = dotted.strip().split(".")
    if not equals or not all(parts):
        return wrong("is not `key=value`, as in `--set limits.rpm=120`")
    try:
        value = read_value(text)
    except ManifestError as error:
        first = error.problems[0]
        return wrong(first.message, len(dotted) + 1 + max(first.column, 1))
    path: list[str | int] = []
    data = target = copied(document.data)
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if path == ["inputs"] and isinstance(target, dict) and part == "0" and not last:
            continue  # a source without a list around it is the first one, as problems call it
        if isinstance(target, list):
            if not part.isdecimal() or int(part) >= len(target):
                return wrong(
                    f"`{'.'.join(parts[:position])}` is a list of {len(target)}; name one by its index"
                )
            step: str | int = int(part)
        elif isinstance(target, dict):
            step = part
        else:
            return wrong(f"`{'.'.join(parts[:position])}` holds one value; it has no key `{part}`")
        path.append(step)
        if last:
            target[step] = value
        else:
            target = target.setdefault(step, {}) if isinstance(target, dict) else target[int(step)]
    return replace(document, data=data, overrides={**document.overrides, tuple(path): override})


def read_value(text: str) -> Any:
    """One YAML value, as `--set` gives it. Raises ManifestError when it is none."""
    walker = _Walker("", text.splitlines())
    value = walker.walk(_compose(text, "", text.splitlines()))
    if walker.problems:
        raise ManifestError(walker.problems)
    return value


def copied(value: Any) -> Any:
    """Plain data anew, so that changing it changes nothing else."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, list) else value
