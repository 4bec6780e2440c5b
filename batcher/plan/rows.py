"""A row: one line of a source, with where it came from."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

PICTURE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".jxl", ".png", ".tif", ".tiff", ".webp"}
)


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
        _EMPTY.union(*(r.text for r in rows)),
        rows,
    )


_EMPTY: frozenset[str] = frozenset()


def is_url(text: str) -> bool:
    """Whether the API reads this itself: http, https or a data URI."""
    return text.startswith(("http://", "https://", "data:", "HTTP://", "HTTPS://"))


def is_stored(text: str) -> bool:
    """Whether it lies in an object store (`s3://bucket/a.jpg`) or a saved dataset, not on this disk."""
    return _SCHEME.match(text) is not None and not is_url(text)


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://")


def placed(folder: str, path: str) -> str:
    """`path` from `folder`, absolute, which may be a folder of an object store; `~` is the home folder."""
    if is_stored(path):
        return path
    if is_stored(folder):
        scheme, _, below = folder.partition("://")
        return f"{scheme}:/{os.path.normpath(os.path.join('/', below, path))}"
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))
