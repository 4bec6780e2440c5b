"""A row: one line of a source, with where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

IMAGE_COLUMNS = ("image", "stem", "name", "suffix", "folder")
"""The columns that every row of a picture has."""
SIZE_COLUMNS = ("width", "height")
"""Columns that a picture gets when a template names them and nothing else has them."""
PLAN_VARIABLES = ("repeat", "seed")
"""What the plan itself provides; no axis or companion may take these names."""


class Row(NamedTuple):
    """One row: `columns` hold only what JSON can.

    `file` and `line` (from 1; 0 = none) say where it stands, `number` which row it is, for messages.
    `folder` (absolute) is what relative paths in its cells start from. `text` names the columns whose
    values are text by nature of their file (CSV), whatever they mean. A row joined from several
    sources has them as `parts`.
    """

    columns: Mapping[str, Any]
    file: str = ""
    line: int = 0
    number: int = 0
    folder: str = ""
    text: frozenset[str] = frozenset()
    parts: tuple[Row, ...] = ()

    def part(self, column: str) -> Row:
        """The row that brought this column."""
        return next((part.part(column) for part in self.parts if column in part.columns), self)

    @property
    def origin(self) -> str:
        """Where it came from, for a person: `prompts.csv row 3`, `photos/cat.jpg`."""
        if self.parts:
            return " with ".join(part.origin for part in self.parts)
        return f"{self.file} row {self.number}" if self.number else self.file


def join(rows: tuple[Row, ...]) -> Row:
    """One row of several sources, their columns side by side."""
    if len(rows) == 1:
        return rows[0]
    columns = {name: value for row in rows for name, value in row.columns.items()}
    first = rows[0]
    return Row(
        columns,
        first.file,
        first.line,
        first.number,
        first.folder,
        _EMPTY.union(*(row.text for row in rows)),
        rows,
    )


_EMPTY: frozenset[str] = frozenset()
