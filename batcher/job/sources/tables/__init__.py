"""Tables: files of rows, a format by its suffix.

    table_context.py   one table while it is read
    delimited.py       CSV, TSV
    json_lines.py      JSON Lines
    json_list.py       a JSON list of objects
    text_lines.py      a list of prompts
    parquet_table.py   Parquet, with the extra of that name
    strict_json.py     JSON as the standard has it

A format is a module with the names of `TableFormat`: a new one is that module, and its line in MODULES.

Rule: a table is foreign data. What is wrong with a row is told with the file and the line, and the rest
is read on; nothing is guessed and nothing is left out in silence.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Protocol

from batcher.job.row import Row
from batcher.job.sources.streams import PACKED, STDIN, open_stream
from batcher.job.sources.tables import delimited, json_lines, json_list, parquet_table, text_lines
from batcher.job.sources.tables.table_context import TableContext
from batcher.storage.stores import MissingExtra

__all__ = ["FORMATS", "TableContext", "TableFormat", "table_rows"]


class TableFormat(Protocol):
    """A module of this package, one for each format."""

    SUFFIXES: tuple[str, ...]
    """How its files end, in lower case."""

    def rows(self, file: IO[bytes], table: TableContext) -> Iterator[Row]:
        """The rows of an open file, read as they are asked for. What is wrong with one goes to `table`.

        Raises OSError, MissingExtra; ValueError with the rest of a sentence that begins with the file's name.
        """


MODULES: tuple[TableFormat, ...] = (delimited, json_lines, json_list, parquet_table, text_lines)

FORMATS: Mapping[str, TableFormat] = {
    suffix: table_format for table_format in MODULES for suffix in table_format.SUFFIXES
}


def table_rows(table: TableContext) -> Iterator[Row]:
    """The rows of a table by its absolute path, its address in a store, or `-`, which is JSON Lines."""
    path = table.path
    suffix = ".jsonl" if path == STDIN else _suffix(path)
    named = table.file if path == STDIN else path
    if suffix not in FORMATS:
        table.unreadable(
            f"{suffix or repr(path)} is no table; a table is {', '.join(FORMATS)} (or .gz of it)"
        )
        return
    try:
        with open_stream(path) as file:
            yield from FORMATS[suffix].rows(file, table)
    except MissingExtra as error:
        table.unreadable(str(error))
    except FileNotFoundError:
        table.unreadable(f"there is no file {path}")
    except OSError as error:
        reason = error.strerror or error
        table.unreadable(f"{named} {reason}" if path == STDIN else f"{named} cannot be read: {reason}")
    except (EOFError, zlib.error) as error:
        table.unreadable(f"{named} is damaged, or not whole: {error}")
    except UnicodeDecodeError:
        table.unreadable(f"{named} is not UTF-8 text; save it as UTF-8")
    except ValueError as error:
        table.unreadable(f"{named} {error}")


def _suffix(path: str) -> str:
    """The suffix that says the format, without that of its packing."""
    name = path.lower()
    return os.path.splitext(name.removesuffix(PACKED))[1]
