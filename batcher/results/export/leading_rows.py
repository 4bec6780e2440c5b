"""The row that a split begins with, for readers who learn every column's type from the first few.

Rule: a reader that sees `[]` or null first believes that nothing else follows. Where rows are not alike, one
that shows as much as any stands first, alone in a file of its own; what it does not show is text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from batcher.results.export.columns import tells

EARLY = 2
"""Rows, and as many originals: readers look at five, and null beside a value is that value's type."""


@dataclass(slots=True)
class _Split:
    """What is known of one: the columns that its first EARLY rows show, and those of its fullest row; whether
    some row has a value that shows no type."""

    early: frozenset[str]
    fullest: frozenset[str]
    name: str
    rows: int = 0
    ragged: bool = False


class LeadingRows:
    """Learns from every row in a first reading."""

    def __init__(self) -> None:
        self._splits: dict[str, _Split] = {}
        self._seen: set[str] = set()

    def meet(self, split: str, name: str, values: Mapping[str, Any]) -> None:
        """One more row, of the picture `name`."""
        there = {column: value for column, value in values.items() if value is not None}
        shown = frozenset(column for column, value in there.items() if tells(value))
        self._seen |= there.keys()
        known = self._splits.get(split)
        if known is None:
            known = self._splits[split] = _Split(shown, shown, name)
        elif len(shown) > len(known.fullest):
            known.fullest, known.name = shown, name
        if known.rows < EARLY:
            known.early |= shown
        known.rows += 1
        known.ragged = known.ragged or len(shown) < len(there)

    def rows(self) -> set[str]:
        """The pictures that go first, one of each split in which rows are not alike."""
        return {
            split.name for split in self._splits.values() if split.ragged or not self._seen <= split.early
        }

    def as_text(self, columns: Collection[str]) -> list[str]:
        """Those of these columns that some split's first row does not show."""
        if not self.rows():
            return []
        shown = frozenset.intersection(*(split.fullest for split in self._splits.values()))
        return [column for column in columns if column not in shown]
