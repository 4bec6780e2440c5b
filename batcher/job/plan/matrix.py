"""The matrix: GitHub Actions' meaning of axes, exclude and include.

Rule: exclude comes first; then each include entry extends every combination whose axis values it does
not change, or, where there is none, stands as a combination of its own. A name that is a source column
is a condition on the row.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batcher.job.manifest import Matrix
from batcher.job.row import Row

Combination = Mapping[str, Any]

HELD = 10_000
"""Combinations held in memory; a larger matrix is made anew for every row."""


class Combinations:
    """The combinations of a matrix for each row."""

    def __init__(self, matrix: Matrix) -> None:
        self.axes = dict(matrix.axes)
        self.unproven = {name for entry in matrix.exclude for name in entry} - self.axes.keys()
        """Names in excludes that no axis has: a column of some row must."""
        self._exclude = matrix.exclude
        self._include = matrix.include
        named = {name for entry in (*matrix.exclude, *matrix.include) for name in entry}
        self._conditions = tuple(sorted(named - self.axes.keys()))
        self._size = 1
        for values in self.axes.values():
            self._size *= len(values)
        self._held: dict[str, list[Combination]] = {}

    @property
    def names(self) -> set[str]:
        """Every variable that some combination has."""
        return set(self.axes).union(*self._include)

    def of(self, row: Row) -> Iterable[Combination]:
        """The combinations for this row, in the manifest's order, the last axis fastest."""
        if self._size > HELD:
            return self._combinations(row)
        key = ""
        if self._conditions:
            key = json.dumps([(n, row.columns[n]) for n in self._conditions if n in row.columns])
        held = self._held.get(key)
        if held is None:
            if len(self._held) * self._size >= HELD:
                self._held.clear()
            held = self._held[key] = list(self._combinations(row))
        return held

    def _combinations(self, row: Row) -> Iterator[Combination]:
        includes = [
            {name: value for name, value in entry.items() if name not in row.columns}
            for entry in self._include
            if _holds(entry, row)
        ]
        includes = [entry for entry in includes if entry]
        excludes = [
            {name: value for name, value in entry.items() if name in self.axes}
            for entry in self._exclude
            if _holds(entry, row) and all(name in self.axes or name in row.columns for name in entry)
        ]
        if not self.axes:
            yield from includes or ([] if excludes else [{}])
            return
        used = [False] * len(includes)
        for values in itertools.product(*self.axes.values()):
            combination = dict(zip(self.axes, values, strict=True))
            if any(_within(entry, combination) for entry in excludes):
                continue
            added: dict[str, Any] = {}
            for index, entry in enumerate(includes):
                if _within({name: entry[name] for name in entry if name in self.axes}, combination):
                    added |= entry
                    used[index] = True
            yield {**combination, **added}
        yield from (entry for entry, extended in zip(includes, used, strict=True) if not extended)


def _holds(entry: Mapping[str, Any], row: Row) -> bool:
    """Whether the entry's conditions on columns hold for the row."""
    return all(
        same(row.columns[name], value, name in row.text)
        for name, value in entry.items()
        if name in row.columns
    )


def _within(entry: Mapping[str, Any], combination: Mapping[str, Any]) -> bool:
    return all(same(combination[name], value) for name, value in entry.items())


def same(found: Any, wanted: Any, text: bool = False) -> bool:
    """Whether two values are one: true is not 1, and a table's cell is compared as the text it is."""
    if text and isinstance(found, str) and not isinstance(wanted, str):
        return found.strip() == json.dumps(wanted)
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)
