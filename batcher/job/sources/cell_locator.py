"""Where a cell stands: the line of a row's file, and the column of it, for the caret under a problem."""

from __future__ import annotations

import csv
import json
import os
import zlib
from itertools import islice

from batcher.job.row import Row
from batcher.job.sources.streams import STDIN, as_text, open_stream
from batcher.storage import stores
from batcher.storage.addresses import is_stored

MAX_EXCERPT_CHARS = 200
"""Characters of a line that a screen shows."""
MOST = 50
"""Lines that are looked up in one reading: finding one costs reading up to it."""


class CellLocator:
    """Finds cells of rows, a few of them: problems are told by the dozen, not more. `folder` is the
    manifest's."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._left = MOST

    def __call__(self, row: Row, column: str) -> tuple[int, str]:
        """The column (from 1; 0 = unknown) at which the row's cell of that name stands, and its line."""
        if not row.line or not self._left:
            return 0, ""
        self._left -= 1
        whole = row.file if os.path.isabs(row.file) or is_stored(row.file) else f"{self._folder}/{row.file}"
        line = line_of(STDIN if row.file == "standard input" else whole, row.line)
        return (_column(line, row, column), line) if line else (0, "")


def line_of(path: str, number: int) -> str:
    """A line of a file; nothing for one that no screen shows."""
    try:
        with open_stream(path) as file, as_text(file) as lines:
            line = next(islice(lines, number - 1, None), "").rstrip("\r\n").replace("\t", " ")
    except (OSError, ValueError, EOFError, zlib.error, stores.MissingExtra):
        return ""
    return line if len(line) <= MAX_EXCERPT_CHARS and line.isprintable() else ""


def _column(line: str, row: Row, name: str) -> int:
    if name not in row.text:
        places = (line.find(json.dumps(name)), line.find(name))
        return next((place + 1 for place in places if place >= 0), 1)
    starts = _cell_starts(line)
    index = list(row.columns).index(name)
    return starts[index] if index < len(starts) else 1


def _cell_starts(line: str) -> list[int]:
    """Where the cells of a CSV line begin, whichever separator it uses (a tab is a blank here)."""
    best: list[int] = [1]
    for separator in ",; ":
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            continue
        if len(cells) <= len(best):
            continue
        best, quoted = [1], False
        for place, character in enumerate(line, 1):
            quoted ^= character == '"'
            if character == separator and not quoted:
                best.append(place + 1)
    return best
