"""YAML -> plain data, and the place of every key and value: manifests, model files, fault scripts.

    read_yaml(text, "demo.yaml")      a YamlDocument: plain data, and where each value stands
    read_value("16:9")                one value, as `--set` gives it
    read_text(path)                   a file's text, bounded

It is YAML 1.2's core: `no`, `16:9` and `2024-01-01` are text, `1e3` is a number.

Rule: the file is foreign data. It is composed to nodes, never constructed as objects; its length, its
depth and what its aliases unfold to are bounded before anything is built from them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from batcher.errors import ManifestError, Problem

MAX_BYTES = 4_000_000
MAX_DEPTH = 50
MAX_UNFOLDED = 100_000
"""Nodes that aliases may add: a bomb unfolds to billions."""
MAX_DEEP_POSITIONS = 50_000
"""Deep values whose position is kept: beyond, a value is told by the position of what holds it. So a table
that is written into a manifest does not cost more memory as positions than as rows."""
DEEP = 4
"""Keys and indexes that lead to a value whose position is always kept."""

KeyPath = tuple[str | int, ...]
"""The keys and list indexes that lead to a value."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a key and its value begin: (line, column), counted from 1. An item of a list is its own key."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(frozen=True)
class YamlDocument:
    """A file as plain data, with what is needed to say where something stands in it.

    `problems` are those of single keys and values (given twice, not text, an unknown tag); the rest of the
    document can be used, and where a value could not be read stands None.
    """

    file: str
    data: Any
    positions: Mapping[KeyPath, Position] = field(default_factory=dict)
    lines: Sequence[str] = ()
    problems: tuple[Problem, ...] = ()

    def problem(self, path: Sequence[str | int], message: str, *, at_key: bool = False) -> Problem:
        """A problem of the value at `path`, or of its key: at the nearest place above it that is there."""
        key = ".".join(str(part) for part in path)
        position, is_itself = self._nearest(path)
        if position is None:
            return Problem(message, self.file, key=key)
        line, column = position.key if at_key or not is_itself else position.value
        return Problem(message, self.file, line, column, key, self.excerpt(line))

    def excerpt(self, line: int) -> str:
        """The source line for a caret; nothing for a line that no screen shows."""
        text = self.lines[line - 1].replace("\t", " ") if 0 < line <= len(self.lines) else ""
        return printable_line(text)

    def _nearest(self, path: Sequence[str | int]) -> tuple[Position | None, bool]:
        """The position of the value, or of what holds it (False)."""
        here: KeyPath = ()
        for part in path:
            if (*here, part) in self.positions:
                here = (*here, part)
            elif not isinstance(part, int):  # a lone item may stand where a list is meant
                return self.positions.get(here), False
        return self.positions.get(here), True


def printable_line(text: str) -> str:
    """The text where a screen can show it as one line, else nothing."""
    return text if len(text) <= 200 and text.isprintable() else ""


SUFFIXES = (".yaml", ".yml")


def read_text(path: Path, what: str = "manifest") -> str:
    """The text of a file; `what` names it in problems.

    Raises ManifestError when there is no such file, or no text in it. Of a file that is too large no more is
    read than `read_yaml` refuses.
    """
    content = b""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        problem = Problem(f"there is no such {what}{_with_suffix(path)}", str(path))
    except IsADirectoryError:
        problem = Problem(f"is a folder, not a {what}", str(path))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem("is not UTF-8 text; save it as UTF-8", str(path), line)
    except OSError as error:
        problem = Problem(f"cannot be read: {error.strerror}", str(path))
    raise ManifestError([problem])


def _with_suffix(path: Path) -> str:
    """Of a name without its suffix: the file that is meant."""
    for suffix in SUFFIXES:
        meant = path.with_name(f"{path.name}{suffix}")
        if os.path.isfile(meant):
            return f"; did you mean {meant}?"
    return ""


def read_yaml(
    text: str, file: str, *, when_too_large: str = "", numbers_as_keys: bool = False
) -> YamlDocument:
    """The document that `text` holds; `file` names it in problems, `when_too_large` ends the sentence of one
    that is too large. `numbers_as_keys`: a whole number may stand as a key, and is its text.

    Raises ManifestError where nothing can be read: it is not YAML, too large or too deep.
    """
    if len(text) > MAX_BYTES:
        raise ManifestError([Problem(f"is larger than {MAX_BYTES // 1_000_000} MB{when_too_large}", file)])
    lines = text.splitlines()
    walker = _Walker(file, lines, numbers_as_keys=numbers_as_keys)
    data = walker.walk(_compose(text, file, lines))
    return YamlDocument(file, data, walker.positions, lines, tuple(walker.problems))


def read_value(text: str) -> Any:
    """One YAML value. Raises ManifestError when it is none."""
    document = read_yaml(text, "")
    if document.problems:
        raise ManifestError(document.problems)
    return document.data


def deep_copy(value: Any) -> Any:
    """Plain data anew, so that changing it changes nothing else."""
    if isinstance(value, dict):
        return {key: deep_copy(inner) for key, inner in value.items()}
    return [deep_copy(inner) for inner in value] if isinstance(value, list) else value


def texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every text in plain data, and its path from `path` on."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))


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
        excerpt = YamlDocument(file, None, lines=lines).excerpt(line)
        hint = _syntax_hint(lines[line - 1] if 0 < line <= len(lines) else "", str(what))
        problem = Problem(f"is not YAML: {what}{hint}", file, line, column, "", excerpt)
        raise ManifestError([problem]) from None


def _syntax_hint(text: str, what: str) -> str:
    if "{{" in text:
        return '. A value with {{ }} goes in quotes: "{{ image }}"'
    if "\t" in text[: len(text) - len(text.lstrip())]:
        return ". The line is indented with a tab: use spaces"
    if "character '\\t'" in what or "that cannot start any token" in what:
        return ". Indent with spaces, and put text that begins with a special sign in quotes"
    return ""


def _refuse_depth(text: str) -> None:
    """Composing recurses, in C beyond the end of the stack; parsing does not."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            mark: Any = event.start_mark  # the C parser has a class of its own for it
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=mark)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen at run time
    """YAML 1.2's plain scalars: `no` is text, 16:9 is text, 2024-01-01 is text, 1e3 is a number."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's shape


_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = (f"{_TAG}map", f"{_TAG}seq")
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

    def __init__(self, file: str, lines: Sequence[str], *, numbers_as_keys: bool = False) -> None:
        self._keys = {f"{_TAG}str", *([f"{_TAG}int"] if numbers_as_keys else [])}
        self.positions: dict[KeyPath, Position] = {}
        self.problems: list[Problem] = []
        self._document = YamlDocument(file, None, lines=lines)
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._unfolded = 0
        self._deep_positions = 0

    def walk(self, node: yaml.Node | None, path: KeyPath = ()) -> Any:
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in _COLLECTIONS:
            self._problem(path, _unknown_tag(node), node)
            return None
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
        self._keep_position(path, node, node)
        return self.walk(node, path)

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, child in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged |= self._merged(child, path)
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in self._keys:
                self._problem(path, _bad_key(key_node), key_node)
                continue
            key = str(key_node.value)
            if why := _no_text(key):
                self._problem(path, f"a key {why}", key_node)
                continue
            inside = (*path, key)
            if key in values:
                line = self.positions[inside].key[0] if inside in self.positions else 0
                first = f", first in line {line}" if line else ""
                self._problem(inside, f"is given twice{first}; keep one", key_node)
                continue
            self._keep_position(inside, key_node, child)
            values[key] = self.walk(child, inside)
        return {**merged, **values} if merged else values

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
        construct = _SCALARS.get(node.tag)
        if construct is None:
            self._problem(path, _unknown_tag(node), node)
            return None
        try:
            value = construct(text)
        except (ValueError, KeyError):
            kind = node.tag.removeprefix(_TAG)
            self._problem(path, f"{text[:60]!r} cannot be read as {kind}; put text in quotes", node)
            return None
        if isinstance(value, str) and (why := _no_text(value)):
            self._problem(path, why, node)
            return None
        return value

    def _keep_position(self, path: KeyPath, key: yaml.Node, value: yaml.Node) -> None:
        if len(path) > DEEP:
            self._deep_positions += 1
            if self._deep_positions > MAX_DEEP_POSITIONS:
                return
        self.positions[path] = Position(_start(key), _start(value))

    def _problem(self, path: KeyPath, message: str, node: yaml.Node) -> None:
        line, column = _start(node)
        key = ".".join(str(part) for part in path)
        excerpt = self._document.excerpt(line)
        self.problems.append(Problem(message, self._document.file, line, column, key, excerpt))


def _unknown_tag(node: yaml.Node) -> str:
    return f"the tag {node.tag.replace(_TAG, '!!')} is not known here; leave it out"


def _bad_key(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return f"the key `{node.value}` is not text; put it in quotes"
    return 'a mapping stands where a key is meant; a template goes in quotes, as "{{ image }}"'


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _no_text(text: str) -> str:
    """Why no file name, no database and no JSON could hold it; empty where they could."""
    if LONE_SURROGATE.search(text):
        return "holds half a character (a lone surrogate)"
    return "holds a NUL character (U+0000)" if "\0" in text else ""


def _int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(text)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


LONGEST_NUMBER = 1000
"""Digits of a whole number; from a few thousand on Python spells none."""
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character, which no encoding takes."""

_SCALARS: Mapping[Hashable, Callable[[str], Any]] = {
    f"{_TAG}str": str,
    f"{_TAG}int": _int,
    f"{_TAG}float": _finite,
    f"{_TAG}bool": lambda text: {"true": True, "false": False}[text.lower()],
    f"{_TAG}null": lambda text: None,
    f"{_TAG}merge": str,
}
