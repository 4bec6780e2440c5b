"""The format CSV: comma, semicolon or tab between the cells. Every cell is text.

Rule: a quote that is opened and not closed where a cell ends (a typographic ” for a ", as word processors
make it) must not swallow the rows behind it. The row that opens it is wrong; the lines after it are read
again, as rows of their own. Lines in which nothing stands, and Excel's `sep=;`, are no header.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TextIO

from batcher.job.row import Row
from batcher.job.sources.streams import as_text
from batcher.job.sources.tables.table_context import TableContext
from batcher.progress.summary import several
from batcher.storage.pictures import has_picture_suffix

SUFFIXES: tuple[str, ...] = (".csv", ".tsv")

LONGEST_CELL = 16_000_000
"""Characters. Python's own limit (128 KB, for the whole process) is too little for a picture in a cell."""
MOST_LINES = 200
"""Lines of one row: a cell of more is a quote that was never closed."""
FEW_LINES = 5
"""Lines of one row that need no word."""
MOST_UNCLOSED = 20
"""Quotes that run over MOST_LINES, each of which costs reading so many lines twice."""

csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))


def rows(file: IO[bytes], table: TableContext) -> Iterator[Row]:
    """The first row names the columns; the separator is the one that it uses most."""
    with as_text(file, newline="") as lines:
        yield from _rows(_Records(lines), table)


class Unclosed(csv.Error):
    """A quote that runs over more lines than a row has."""


@dataclass
class _Record:
    """One row as it stands in the file, from `line` (from 1) on: its cells, or why it has none."""

    line: int
    text: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    error: csv.Error | None = None


class _Records:
    """The records of a file, with the lines that they stand in; `read_again` gives lines back."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._waiting: deque[str] = deque()
        self._line = 0
        self._taken: list[str] = []
        said, first = "", lines.readline()
        while first and (not first.strip(' ,;\t\r\n"') or _SEPARATOR.fullmatch(first)):
            separator = _SEPARATOR.fullmatch(first)
            said = separator[1] if separator else said
            self._line += 1
            first = lines.readline()
        self._waiting.append(first)
        self.delimiter = said or _delimiter(first)
        self._reader = self._new_reader()

    def __iter__(self) -> Iterator[_Record]:
        while True:
            self._taken = []
            record = _Record(self._line + 1)
            try:
                record.cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                record.error = error
            record.text = self._taken
            yield record

    def read_again(self, record: _Record) -> None:
        """All lines of a record but the first are records of their own."""
        self._waiting.extendleft(reversed(record.text[1:]))
        self._line -= len(record.text) - 1
        self._reader = self._new_reader()  # the file may have ended for the one that read them

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self.delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        while line := self._waiting.popleft() if self._waiting else self._lines.readline():
            self._taken.append(line)
            self._line += 1
            yield line
            if len(self._taken) >= MOST_LINES:
                raise Unclosed(f"its quote is not closed within {MOST_LINES} lines")


def _rows(records: _Records, table: TableContext) -> Iterator[Row]:
    reading = iter(records)
    first = next(reading, _Record(1))
    if first.error is not None:
        table.error(first.line, f"is not CSV: {first.error}")
        return
    header = [name.strip() for name in first.cells]
    if not _good_header(header, first.line, table):
        return
    names, width, number, unclosed = frozenset(header), len(header), 0, 0
    long, first_long = 0, ""
    for record in reading:
        if record.error is None and not any(cell and not cell.isspace() for cell in record.cells):
            continue  # a row without any value is no row
        number += 1
        last = record.line + len(record.text) - 1
        if (why := _unclosed(record, width, records.delimiter)) is not None:
            table.row(record.line, f"row {number} {why}; the lines after it are read as rows of their own")
            records.read_again(record)
            unclosed += isinstance(record.error, Unclosed)
            if unclosed >= MOST_UNCLOSED:
                table.error(record.line, f"has {unclosed} quotes that are never closed: is it CSV?")
                return
        elif record.error is not None:
            table.row(record.line, f"row {number} is not CSV: {record.error}")
        elif len(record.cells) != width:
            table.row(record.line, f"row {number} has {len(record.cells)} cells, the header {width}")
        else:
            if len(record.text) > FEW_LINES:
                long += 1
                first_long = first_long or f"row {number}, from line {record.line} to {last}"
            columns = dict(zip(header, record.cells, strict=True))
            yield Row(columns, table.file, record.line, number, table.folder, names)
    if long:
        rows = several(long, "row runs", "rows run")
        table.diagnostics.warn(
            f"{table.file}: {rows} over more than {FEW_LINES} lines (first: {first_long}); where that is not "
            "meant, a quote is not closed"
        )


def _unclosed(record: _Record, width: int, delimiter: str) -> str | None:
    """Why the quote that makes a record run over several lines is a mistake, in words; None: it is none."""
    lines = record.text
    if len(lines) < 2:
        return None
    if record.error is not None:
        return f"opens a quote that is not closed where its cell ends ({record.error})"
    if len(record.cells) != width:
        made = f"and makes {len(record.cells)} cells of them, not {width}"
        return f"opens a quote that takes in {len(lines)} lines {made}"
    separator = re.escape(delimiter)
    closed = re.search(rf'(?:^|{separator})"[^"“”„]*([“”])\s*(?:{separator}|$)', lines[0])
    if closed is not None:
        return f'opens a quote with " and closes it with {closed[1]}'
    if _are_rows([line.rstrip("\r\n").split(delimiter) for line in lines], width):
        return f"opens a quote that takes in {len(lines)} lines, each of which is a row by itself"
    return None


def _are_rows(lines: Sequence[Sequence[str]], width: int) -> bool:
    """Whether all lines are rows by themselves: of that many cells, and with numbers or pictures in one
    column. A text of several lines may well have a comma in each, but not that."""
    return all(len(cells) == width for cells in lines) and any(
        all(_NUMBER.fullmatch(cell.strip()) or has_picture_suffix(cell) for cell in column)
        for column in zip(*lines, strict=True)
    )


_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


_SEPARATOR = re.compile(r'"?sep=(.)"?[\s,;]*', re.IGNORECASE)


def _delimiter(line: str) -> str:
    """What separates the first line's names, looked for outside quotes."""
    outside = "".join(line.split('"')[::2])
    return max(",;\t", key=lambda one: (outside.count(one), one == ","))


def _good_header(header: Sequence[str], line: int, table: TableContext) -> bool:
    if not header:
        table.error(line, "is empty; the first line names the columns")
    for name, times in sorted(Counter(header).items()):
        if name and times > 1:
            table.error(line, f"{'two' if times == 2 else times} columns are named `{name}`; rename one")
    nameless = [number for number, name in enumerate(header, 1) if not name]
    ways = "; name it, or leave it out" + (" (pandas: `to_csv(index=False)`)" if 1 in nameless else "")
    if len(nameless) == 1:
        table.error(line, f"column {nameless[0]} has no name{ways}")
    elif nameless:
        table.error(line, f"{len(nameless):,} columns have no name, the first of them column {nameless[0]}")
    return bool(header) and all(header) and len(set(header)) == len(header)
