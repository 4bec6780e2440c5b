"""Where a cell stands: the line of a row's file, and the column of it, for the caret under a problem."""

from __future__ import annotations

import csv
import json
import os
from itertools import islice

from batcher import stores
from batcher.manifest import Manifest
from batcher.plan import Row, is_stored
from batcher.sources.opening import as_text, opened

LONGEST = 200
"""Characters of a line that a screen shows."""
MOST = 50
"""Lines that are looked up in one reading: finding one costs reading up to it."""


class Pointer:
    """Finds cells of the rows of a manifest, a few of them: problems are told by the dozen, not more."""

    def __init__(self, manifest: Manifest) -> None:
        self._folder = str(manifest.folder)
        self._left = MOST

    def __call__(self, row: Row, column: str) -> tuple[int, str]:
        """The column (from 1; 0 = unknown) at which the row's cell of that name stands, and its line."""
        if not row.line or not self._left:
            return 0, ""
        self._left -= 1
        whole = row.file if os.path.isabs(row.file) or is_stored(row.file) else f"{self._folder}/{row.file}"
        text = excerpt_of("-" if row.file == "standard input" else whole, row.line)
        return (_of_cell(text, row, column), text) if text else (0, "")


def excerpt_of(path: str, line: int) -> str:
    """A line of a file; nothing for one that no screen shows."""
    try:
        with opened(path) as file, as_text(file) as lines:
            text = next(islice(lines, line - 1, None), "").rstrip("\r\n").replace("\t", " ")
    except (OSError, ValueError, stores.MissingExtra):
        return ""
    return text if len(text) <= LONGEST and text.isprintable() else ""


def _of_cell(text: str, row: Row, column: str) -> int:
    if column not in row.text:
        names = (text.find(json.dumps(column)), text.find(column))
        return next((found + 1 for found in names if found >= 0), 1)
    starts = _starts(text)
    at = list(row.columns).index(column)
    return starts[at] if at < len(starts) else 1


def _starts(text: str) -> list[int]:
    """Where the cells of a CSV line begin, whichever separator it uses (a tab is a blank here)."""
    best: list[int] = [1]
    for separator in ",; ":
        try:
            cells = next(csv.reader([text], delimiter=separator), [])
        except csv.Error:
            continue
        if len(cells) <= len(best):
            continue
        best, quoted = [1], False
        for at, one in enumerate(text, 1):
            quoted ^= one == '"'
            if one == separator and not quoted:
                best.append(at + 1)
    return best
