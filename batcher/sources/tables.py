"""Rows of a `table:` source: CSV, JSON Lines and JSON.

Rule: a table is foreign data. What is wrong with a row is told with the file and the line, and the rest
is read on; nothing is guessed and nothing is left out.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from batcher.errors import Problem
from batcher.manifest import Manifest
from batcher.plan import Row
from batcher.sources.problems import Problems

MAX_LINE = 16_000_000
"""Characters of one line of JSON Lines."""
MAX_JSON = 256_000_000
"""Bytes of a JSON table, which has to be held whole; JSON Lines streams."""


def table(manifest: Manifest, index: int, problems: Problems) -> Iterator[Row]:
    """The rows of a table, read as they are asked for."""
    given = manifest.inputs[index].table or ""
    key = ("inputs", index, "table")
    scheme, separator, _ = given.partition("://")
    suffix = os.path.splitext(given)[1].lower()
    if separator:
        problems.at(key, f"{scheme}:// cannot be read yet; use a local file")
        return
    read = _READERS.get(suffix)
    if read is None:
        what = (
            "Parquet cannot be read yet" if suffix == ".parquet" else f"{suffix or repr(given)} is no table"
        )
        problems.at(key, f"{what}; a table is .csv, .tsv, .jsonl or .json")
        return
    path = manifest.resolve(given)
    shown = os.path.relpath(path, manifest.folder) if not os.path.isabs(given) else path
    try:
        with open(path, encoding="utf-8-sig", newline="" if suffix in (".csv", ".tsv") else None) as file:
            yield from read(file, Table(shown, os.path.dirname(path), problems))
    except FileNotFoundError:
        problems.at(key, f"there is no file {path}")
    except OSError as error:
        problems.at(key, f"{path} cannot be read: {error.strerror}")
    except ValueError as error:
        reason = (
            "is not UTF-8 text; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        )
        problems.at(key, f"{path} {reason}")


class Table:
    """One table while it is read: how it is called, and where its problems go."""

    def __init__(self, file: str, folder: str, problems: Problems) -> None:
        self.file = file
        self.folder = folder
        self._problems = problems

    def wrong(self, line: int, message: str) -> None:
        """A problem at a line (0: unknown)."""
        self._problems.add(Problem(message, self.file, line))


def _csv(file: TextIO, table: Table) -> Iterator[Row]:
    """The first row names the columns; the separator is the comma, semicolon or tab it uses most."""
    reader = csv.reader(file, delimiter=_delimiter(file), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        table.wrong(reader.line_num, f"is not CSV: {error}")
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
        table.wrong(1, "is empty; the first line names the columns")
    for name in sorted({name for name in header if header.count(name) > 1 and name}):
        table.wrong(1, f"two columns are named `{name}`; rename one")
    for number, name in enumerate(header, 1):
        if not name:
            table.wrong(1, f"column {number} has no name")
    return bool(header) and all(header) and len(set(header)) == len(header)


def _jsonl(file: TextIO, table: Table) -> Iterator[Row]:
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
        table.wrong(line_number, f"row {number} is not JSON: {_reason(error)}")
        return None
    if isinstance(value, dict) and value:
        return value
    table.wrong(line_number, f'row {number} is not an object such as {{"prompt": "..."}}')
    return None


def _json(file: TextIO, table: Table) -> Iterator[Row]:
    """A list of objects. It has no lines of its own, so its rows go by number."""
    if os.fstat(file.fileno()).st_size > MAX_JSON:
        raise ValueError(f"is larger than {MAX_JSON // 1_000_000} MB; make it .jsonl, which streams")
    try:
        values = _loads(file.read())
    except (ValueError, RecursionError) as error:
        table.wrong(getattr(error, "lineno", 0), f"is not JSON: {_reason(error)}")
        return
    if not isinstance(values, list):
        table.wrong(1, "is not a list of objects")
        return
    for number, value in enumerate(values, 1):
        if isinstance(value, dict) and value:
            yield Row(value, table.file, 0, number, table.folder)
        else:
            table.wrong(0, f'row {number} is not an object such as {{"prompt": "..."}}')


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


_READERS = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json}
