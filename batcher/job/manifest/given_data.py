"""A manifest, and rows, as Python gives them: mappings, DataFrames, PIL images, made plain data.

    plain({"model": "seg-beyond", ...}, "the mapping")     a YamlDocument without lines
    plain_rows(frame, "the mapping")                       its rows; pictures stay what they are

Rule: pandas, numpy and Pillow are known by what their values offer, and imported by nobody here. What no
request can hold is a problem with its key, or its row and column.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batcher.errors import ManifestError, Problem
from batcher.job.wording import shown
from batcher.job.yaml_document import LONE_SURROGATE, MAX_DEPTH, KeyPath, YamlDocument

MOST_PROBLEMS = 20


@dataclass(frozen=True)
class GivenRows:
    """Rows that were handed to `load`: plain values, and PIL images where a cell is one. `index` is their
    place among the manifest's `inputs`."""

    rows: tuple[Mapping[str, Any], ...]
    index: int = 0

    def without_pictures(self) -> list[dict[str, Any]]:
        """The rows as a manifest can say them."""
        return [
            {name: "(a picture)" if is_picture(value) else value for name, value in row.items()}
            for row in self.rows
        ]

    @property
    def has_pictures(self) -> bool:
        """Whether any cell is a PIL image."""
        return any(is_picture(value) for row in self.rows for value in row.values())


def is_picture(value: Any) -> bool:
    """Whether it is a PIL image."""
    return hasattr(value, "tobytes") and hasattr(value, "getbands") and hasattr(value, "size")


def plain(mapping: Mapping[Any, Any], file: str) -> YamlDocument:
    """A mapping as a document, whose problems name its keys."""
    reader = _Reader(file)
    return YamlDocument(file, reader.value(mapping, ()), problems=tuple(reader.problems))


def plain_rows(rows: Any, file: str) -> GivenRows:
    """The rows of an iterable of mappings, or of a pandas DataFrame. Raises ManifestError."""
    reader = _Reader(file, pictures=True)
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        rows = rows.to_dict("records")
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        message = f"must be a list of mappings or a DataFrame, not {shown(rows)}"
        raise ManifestError([Problem(message, file, key="rows")])
    made = []
    for number, row in enumerate(rows, 1):
        if isinstance(row, Mapping):
            made.append(reader.value(row, ("rows", f"row {number}")))
        else:
            message = f"must be a mapping of columns, not {shown(row)}"
            reader.problems.append(Problem(message, file, key=f"rows.row {number}"))
        if len(reader.problems) >= MOST_PROBLEMS:
            break
    if reader.problems:
        raise ManifestError(reader.problems)
    return GivenRows(tuple(made))


@dataclass
class _Reader:
    """Makes values plain and notes what cannot be."""

    file: str
    pictures: bool = False
    problems: list[Problem] = field(default_factory=list)

    def value(self, value: Any, path: KeyPath) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(str(value), path)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return self._number(float(value), path)
        if self.pictures and is_picture(value):
            return value
        if len(path) > MAX_DEPTH:
            return self._problem(path, "is nested too deeply")
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
            return [self.value(inner, (*path, index)) for index, inner in enumerate(value)]
        return self._foreign(value, path)

    def _mapping(self, mapping: Mapping[Any, Any], path: KeyPath) -> dict[str, Any]:
        values = {}
        for key, inner in mapping.items():
            if isinstance(key, str):
                values[str(key)] = self.value(inner, (*path, key))
            else:
                self._problem(path, f"the key {shown(key)} is not text")
        return values

    def _foreign(self, value: Any, path: KeyPath) -> Any:
        """What pandas, numpy, pathlib and datetime have."""
        if isinstance(value, os.PathLike):
            return self._text(os.fsdecode(value), path)
        if type(value).__name__ in ("NAType", "NaTType"):
            return None
        if callable(getattr(value, "isoformat", None)):
            return str(value.isoformat())
        if callable(getattr(value, "tolist", None)):  # numpy: a scalar or an array
            return self.value(value.tolist(), path)
        if is_picture(value):
            return self._problem(path, "is a picture; pictures go into a column of `rows`")
        return self._problem(path, f"{shown(value)} is nothing that a job can hold")

    def _text(self, text: str, path: KeyPath) -> Any:
        if not LONE_SURROGATE.search(text):
            return text
        return self._problem(path, "holds half a character (a lone surrogate)")

    def _number(self, number: float, path: KeyPath) -> Any:
        """A DataFrame's empty cell is NaN."""
        if math.isnan(number):
            return None
        return number if math.isfinite(number) else self._problem(path, "is infinite")

    def _problem(self, path: KeyPath, message: str) -> Any:
        """Notes what is wrong; None stands in its place."""
        if len(self.problems) < MOST_PROBLEMS:
            key = ".".join(str(part) for part in path)
            self.problems.append(Problem(message, self.file, key=key))
        return None
