"""One type for every column, found in a first reading; the readers of datasets want no less.

Rule: nothing is lost. What has no common type becomes text: JSON, where it was not text before.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Word = Literal["null", "bool", "int", "float", "text", "list", "struct"]
WIDEST = 64
"""A mapping with more keys than this is data, not structure: it becomes text."""
DEEPEST = 6
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9].*)?")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column; `inner` of a list's items, `fields` of a mapping's values."""

    word: Word
    inner: ColumnType | None = None
    fields: tuple[tuple[str, ColumnType], ...] = ()


NULL, BOOL, INT, FLOAT, TEXT = (ColumnType(word) for word in ("null", "bool", "int", "float", "text"))
BOXES = ColumnType("list", ColumnType("list", FLOAT))
PLACEMENT = ColumnType("struct", fields=tuple((name, INT) for name in ("x", "y", "width", "height")))
POLYGONS = ColumnType("list", BOXES)
SIZE = ColumnType("list", INT)
RLES = ColumnType("list", ColumnType("struct", fields=(("size", SIZE), ("counts", TEXT))))
KNOWN = {
    **{f"{prefix}boxes": BOXES for prefix in ("", "source_")},
    **{f"{prefix}box_polygons": POLYGONS for prefix in ("", "source_")},
    **{f"{prefix}box_rles": RLES for prefix in ("", "source_")},
    "placement": PLACEMENT,
}


class Columns:
    """The columns of an export, in the order in which they were met."""

    def __init__(self) -> None:
        self._kinds: dict[str, ColumnType] = {}
        self._typed: dict[str, set[str]] = {}
        self._hollow: dict[str, dict[str, ColumnType]] = {}
        self._dated: dict[str, set[str]] = {}
        self._seen: set[str] = set()
        self._splits: set[str] = set()

    def meet(self, split: str, values: Mapping[str, Any]) -> bool:
        """Learns from one row. True where it is the first of its split to show what type some column has."""
        self._splits.add(split)
        news = False
        for name, value in values.items():
            if value is not None:
                self._seen.add(name)
            known = self._kinds.get(name)
            self._kinds[name] = joined(KNOWN.get(name, NULL) if known is None else known, type_of(value))
            typed, dated = self._typed.setdefault(name, set()), self._dated.setdefault(name, set())
            if isinstance(value, str) and _DATE.fullmatch(value):
                dated.add(split)
            elif split not in typed and tells(value):
                typed.add(split)
                news = True
            elif split not in typed:
                hollow = self._hollow.setdefault(name, {})
                hollow[split] = joined(hollow.get(split, NULL), type_of(value))
        return news

    def kinds(self) -> dict[str, ColumnType]:
        """Each column's type; columns without any value are left out."""
        return {name: settled(kind) for name, kind in self._kinds.items() if name in self._seen}

    def untyped(self) -> list[str]:
        """Columns of which some split among several has no value that says their type: none, or empty."""
        if len(self._splits) < 2:
            return []
        return [
            name
            for name in self._kinds
            if name in self._seen and self._met_in(name) != self._splits and not self._hollow_alike(name)
        ]

    def dated(self) -> list[str]:
        """Text columns that have nothing but dates in some splits, and other text in others: readers of JSON
        take dates for times."""
        return [
            name
            for name, typed in self._typed.items()
            if typed and self._dated[name] - typed and self._met_in(name) == self._splits
        ]

    def _hollow_alike(self, name: str) -> bool:
        """Whether no split shows more of the column than another: empty lists in all of them, say."""
        hollow = self._hollow.get(name, {})
        return not self._met_in(name) and hollow.keys() == self._splits and len({*hollow.values()}) == 1

    def _met_in(self, name: str) -> set[str]:
        """The splits in which the column has a value."""
        return self._typed[name] | self._dated[name]


def type_of(value: Any, depth: int = 0) -> ColumnType:
    """The narrowest type of a JSON value."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT if -(2**63) <= value < 2**63 else TEXT
    if isinstance(value, float):
        return FLOAT
    if isinstance(value, str) or depth >= DEEPEST:
        return TEXT
    if isinstance(value, list | tuple):
        inner = NULL
        for item in value:
            inner = joined(inner, type_of(item, depth + 1))
        return ColumnType("list", inner)
    if isinstance(value, dict) and 0 < len(value) <= WIDEST:
        return ColumnType("struct", fields=tuple((str(k), type_of(v, depth + 1)) for k, v in value.items()))
    return TEXT


def joined(one: ColumnType, other: ColumnType) -> ColumnType:
    """The type that holds the values of both."""
    if one == other or other is NULL:
        return one
    if one is NULL:
        return other
    if {one.word, other.word} == {"int", "float"}:
        return FLOAT
    if one.word == other.word == "list" and one.inner and other.inner:
        return ColumnType("list", joined(one.inner, other.inner))
    if one.word == other.word == "struct":
        fields = dict(one.fields)
        for name, kind in other.fields:
            fields[name] = joined(fields.get(name, NULL), kind)
        return ColumnType("struct", fields=tuple(fields.items())) if len(fields) <= WIDEST else TEXT
    return TEXT


def settled(kind: ColumnType) -> ColumnType:
    """The type with nothing left open: what was never told is text."""
    if kind.inner is not None:
        return ColumnType(kind.word, settled(kind.inner))
    if kind.fields:
        return ColumnType(kind.word, fields=tuple((name, settled(inner)) for name, inner in kind.fields))
    return TEXT if kind.word == "null" else kind


def cast(value: Any, kind: ColumnType) -> Any:
    """The value as its column has it; None where there is none."""
    if value is None:
        return None
    if kind.word == "text":
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if kind.word == "float":
        return float(value) if math.isfinite(value) else None
    if kind.inner is not None:
        return [cast(item, kind.inner) for item in value]
    if kind.fields:
        return {name: cast(value.get(name), inner) for name, inner in kind.fields}
    return value


def tells(value: Any) -> bool:
    """Whether a reader can see from this value alone what type its column has."""
    if isinstance(value, list | tuple):
        return any(tells(item) for item in value)
    if isinstance(value, dict):
        return all(tells(item) for item in value.values())
    return value is not None
