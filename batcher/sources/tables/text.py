"""Tables that are text: CSV, JSON Lines, JSON, and plain lines.

Rule: what is wrong with a row is told with its line, and the rest is read on; nothing is guessed.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from batcher.plan import Row
from batcher.sources.tables.reading import Table

MAX_LINE = 16_000_000
"""Characters of one line of JSON Lines."""
MAX_JSON = 256_000_000
"""Characters of a JSON table, which has to be held whole; JSON Lines streams."""
LINE = "text"
"""The column of a list of lines."""


def delimited(file: TextIO, table: Table) -> Iterator[Row]:
    """The first row names the columns; the separator is the comma, semicolon or tab it uses most."""
    reader = csv.reader(file, delimiter=_delimiter(file), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        table.refused(reader.line_num, f"is not CSV: {error}")
        return
    if not _good_header(header, table):
        return
    names, width, number = frozenset(header), len(header), 0
    while True:
        try:
            for cells in reader:
                if not cells:
                    continue
                number += 1
                if len(cells) != width:
                    table.wrong(reader.line_num, f"row {number} has {len(cells)} cells, the header {width}")
                    continue
                columns = dict(zip(header, cells, strict=True))
                yield Row(columns, table.file, reader.line_num, number, table.folder, names)
            return
        except csv.Error as error:
            number += 1
            table.wrong(reader.line_num, f"row {number} is not CSV: {error}")


def _delimiter(file: TextIO) -> str:
    """What separates the first line's names, looked for outside quotes."""
    start = file.tell()
    line = file.readline(1_000_000)
    file.seek(start)
    outside = "".join(line.split('"')[::2])
    return max(",;\t", key=lambda one: (outside.count(one), one == ","))


def _good_header(header: Sequence[str], table: Table) -> bool:
    if not header:
        table.refused(1, "is empty; the first line names the columns")
    for name in sorted({name for name in header if header.count(name) > 1 and name}):
        table.refused(1, f"two columns are named `{name}`; rename one")
    for number, name in enumerate(header, 1):
        if not name:
            table.refused(1, f"column {number} has no name")
    return bool(header) and all(header) and len(set(header)) == len(header)


def json_lines(file: TextIO, table: Table) -> Iterator[Row]:
    """One object a line, read as they are asked for."""
    number = line_number = 0
    while line := file.readline(MAX_LINE):
        line_number += 1
        if len(line) >= MAX_LINE:
            raise ValueError(f"has a line of more than {MAX_LINE} characters")
        if not line.strip():
            continue
        number += 1
        columns = _object(line, number, line_number, table)
        if columns is not None:
            yield Row(columns, table.file, line_number, number, table.folder)


def _object(line: str, number: int, line_number: int, table: Table) -> dict[str, Any] | None:
    try:
        value = _loads(line)
    except (ValueError, RecursionError) as error:
        table.wrong(line_number, f"row {number} is not JSON: {_reason(error)}", getattr(error, "colno", 1))
        return None
    if isinstance(value, dict) and value:
        return value
    table.wrong(line_number, f'row {number} is not an object such as {{"prompt": "..."}}')
    return None


def json_list(file: TextIO, table: Table) -> Iterator[Row]:
    """A list of objects. It has no lines of its own, so its rows go by number."""
    text = file.read(MAX_JSON + 1)
    if len(text) > MAX_JSON:
        raise ValueError(f"is larger than {MAX_JSON // 1_000_000} MB; make it .jsonl, which streams")
    try:
        values = _loads(text)
    except (ValueError, RecursionError) as error:
        table.refused(getattr(error, "lineno", 0), f"is not JSON: {_reason(error)}")
        return
    if not isinstance(values, list):
        table.refused(1, "is not a list of objects")
        return
    for number, value in enumerate(values, 1):
        if isinstance(value, dict) and value:
            yield Row(value, table.file, 0, number, table.folder)
        else:
            table.wrong(0, f'row {number} is not an object such as {{"prompt": "..."}}')


def lines(file: TextIO, table: Table) -> Iterator[Row]:
    """A list of prompts: each line that is not blank is a row with the column `text`."""
    number = line_number = 0
    while line := file.readline(MAX_LINE):
        line_number += 1
        if len(line) >= MAX_LINE:
            raise ValueError(f"has a line of more than {MAX_LINE} characters")
        if text := line.strip():
            number += 1
            yield Row({LINE: text}, table.file, line_number, number, table.folder, frozenset({LINE}))


def _loads(text: str) -> Any:
    """JSON as the standard has it: no NaN, no infinities, no half characters."""
    value = _DECODER.decode(text)
    if "\\u" in text or "\\U" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:30]} is too large a number")
    return value


_DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_float)


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    if isinstance(error, UnicodeEncodeError):
        return "it holds half a character (a lone surrogate)"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
