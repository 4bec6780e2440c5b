"""Rows of a `table:` source: CSV, JSON Lines, JSON, Parquet, and lists of lines.

    reading.py   one table while it is read
    text.py      CSV, JSON Lines, JSON, lines
    parquet.py   Parquet, with the extra of that name

Rule: a table is foreign data. What is wrong with a row is told with the file and the line, and the rest
is read on; nothing is guessed and nothing is left out in silence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TextIO

from batcher.manifest import Manifest
from batcher.plan import Row, is_stored
from batcher.sources.opening import STDIN, as_text, opened
from batcher.sources.problems import Problems
from batcher.sources.tables import text
from batcher.sources.tables.parquet import parquet
from batcher.sources.tables.reading import Table
from batcher.stores import MissingExtra

Note = Callable[[str], None]


def table(manifest: Manifest, index: int, problems: Problems, note: Note) -> Iterator[Row]:
    """The rows of a table, read as they are asked for."""
    given = manifest.inputs[index].table or ""
    path = manifest.resolve(given)
    if given == STDIN:
        shown, folder = "standard input", str(manifest.folder)
    else:
        whole = os.path.isabs(os.path.expanduser(given)) or is_stored(given)
        shown = path if whole else os.path.relpath(path, manifest.folder)
        folder = os.path.dirname(path)

    def refused(message: str) -> None:
        problems.at(("inputs", index, "table"), message)

    yield from rows_of(path, Table(shown, path, folder, problems, refused, note))


def rows_of(path: str, table: Table) -> Iterator[Row]:
    """The rows of one table by its absolute path, its address in a store, or `-`."""
    kind = ".jsonl" if path == STDIN else os.path.splitext(path)[1].lower()
    named = table.file if path == STDIN else path
    if kind not in KINDS:
        table.unreadable(f"{kind or repr(path)} is no table; a table is {', '.join(KINDS)}")
        return
    try:
        with opened(path) as file:
            yield from KINDS[kind](file, table)
    except MissingExtra as error:
        table.unreadable(str(error))
    except FileNotFoundError:
        table.unreadable(f"there is no file {path}")
    except OSError as error:
        reason = error.strerror or error
        table.unreadable(f"{named} {reason}" if path == STDIN else f"{named} cannot be read: {reason}")
    except UnicodeDecodeError:
        table.unreadable(f"{named} is not UTF-8 text; save it as UTF-8")
    except ValueError as error:
        table.unreadable(f"{named} {error}")


Reader = Callable[[IO[bytes], Table], Iterator[Row]]


def _text(read: Callable[[TextIO, Table], Iterator[Row]], *, newline: str | None = None) -> Reader:
    def reader(file: IO[bytes], table: Table) -> Iterator[Row]:
        with as_text(file, newline=newline) as lines:
            yield from read(lines, table)

    return reader


KINDS: Mapping[str, Reader] = {
    ".csv": _text(text.delimited, newline=""),
    ".tsv": _text(text.delimited, newline=""),
    ".jsonl": _text(text.json_lines),
    ".ndjson": _text(text.json_lines),
    ".json": _text(text.json_list),
    ".parquet": parquet,
    ".txt": _text(text.lines),
}
