"""`--set dotted.key=value`: values that are laid over a manifest, and told by their own text where wrong.

Rule: an override says what the file could say, in YAML too; it goes before what the file says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from batcher.errors import ManifestError, Problem
from batcher.job.yaml_document import KeyPath, YamlDocument, deep_copy, printable_line, read_value


@dataclass(frozen=True)
class ManifestDocument(YamlDocument):
    """A manifest's document, with the text of each override by the path that it sets."""

    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: YamlDocument, overrides: Sequence[str] = ()) -> ManifestDocument:
        """The document with `overrides` (`dotted.key=YAML value`) laid over it in their order."""
        laid = cls(document.file, document.data, document.positions, document.lines, document.problems)
        for override in overrides:
            laid = laid._with(override)
        return laid

    def problem(self, path: Sequence[str | int], message: str, *, at_key: bool = False) -> Problem:
        """As `YamlDocument.problem`; what an override says is told at the override."""
        key = ".".join(str(part) for part in path)
        named = self._named(path)
        for length in range(len(named), 0, -1):
            if (override := self.overrides.get(named[:length])) is not None:
                own = length == len(named) and not at_key
                return _in_override(override, message, override.index("=") + 2 if own else 1, key)
        if named not in self.positions:
            # What the file does not say, and an override says something inside of, is the override's.
            for inside, override in self.overrides.items():
                if named and inside[: len(named)] == named:
                    return _in_override(override, message, key=key)
        return super().problem(path, message, at_key=at_key)

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

    def _with(self, override: str) -> ManifestDocument:
        """The document with one override laid over it, or with what is wrong with that."""
        dotted, equals, text = override.partition("=")
        steps = dotted.strip().split(".")
        if not equals or not all(steps):
            return self._refused(override, "is not `key=value`, as in `--set limits.rpm=120`")
        try:
            value = read_value(text)
        except ManifestError as error:
            first = error.problems[0]
            return self._refused(override, first.message, len(dotted) + 1 + max(first.column, 1))
        data = deep_copy(self.data)
        try:
            path = _lay(data, steps, value)
        except ValueError as error:
            return self._refused(override, str(error))
        return replace(self, data=data, overrides={**self.overrides, path: override})

    def _refused(self, override: str, message: str, column: int = 1) -> ManifestDocument:
        return replace(self, problems=(*self.problems, _in_override(override, message, column)))


def _lay(data: Any, steps: Sequence[str], value: Any) -> KeyPath:
    """Sets the value at the end of the steps (list items by their index); the path that it has.

    Raises ValueError, with a sentence, where a step leads nowhere.
    """
    path: list[str | int] = []
    target = data
    for count, step in enumerate(steps):
        last = count == len(steps) - 1
        if path == ["inputs"] and isinstance(target, dict) and step == "0" and not last:
            continue  # a source without a list around it is the first one, as problems call it
        before = ".".join(steps[:count])
        if isinstance(target, dict):
            path.append(step)
            if last:
                target[step] = value
            else:
                target = target.setdefault(step, {})
        elif isinstance(target, list):
            if not step.isdecimal() or int(step) >= len(target):
                raise ValueError(f"`{before}` is a list of {len(target)}; name one by its index")
            path.append(int(step))
            if last:
                target[int(step)] = value
            else:
                target = target[int(step)]
        else:
            raise ValueError(f"`{before}` holds one value; it has no key `{step}`")
    return tuple(path)


def _in_override(override: str, message: str, column: int = 1, key: str = "") -> Problem:
    """A problem of one `--set`, at a column of it."""
    return Problem(message, f"--set {override}", 0, column, key, printable_line(override))
