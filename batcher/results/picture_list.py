"""A file in which a person names pictures.

Rule: a line is an entry, whatever it looks like; who reads them tells those that name nothing.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from batcher import errors

FILE_NAME = "file_name"
KEYS = (FILE_NAME, "key", "name")
"""The columns that name a picture."""
LARGEST = 256 << 20
"""Bytes of such a file."""


def read(path: Path, option: str) -> list[str]:
    """One entry a line: a task's name or key, a file name with or without its folder; or JSON Lines,
    a JSON list, or CSV, with `file_name`, `key` or `name`. Raises UsageError, which begins with the `option`
    that gave the file."""
    try:
        if path.stat().st_size > LARGEST:
            raise errors.UsageError(f"{option}: {path} is larger than {LARGEST >> 20} MB")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise errors.UsageError(f"{option}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise errors.UsageError(f"{option}: {path} is not UTF-8 text") from error
    table = _of_table(text)
    if table is not None:
        return table
    listed = _of_list(text)
    if listed is not None:
        return [_named(path, option, number, one) for number, one in enumerate(listed, 1)]
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [_entry(path, option, number, line) for number, line in lines if line]


def _of_table(text: str) -> list[str] | None:
    """The entries of a CSV (or TSV) file, whose first line names a column by one of KEYS beside others, or
    FILE_NAME alone; None: it is no such file."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    for delimiter in (",", ";", "\t"):
        head = [cell.strip().strip('"') for cell in first.split(delimiter)]
        column = next((head.index(key) for key in KEYS if key in head), None)
        if column is not None and (len(head) > 1 or head[0] == FILE_NAME):
            rows = csv.reader(io.StringIO(text[text.index(first) + len(first) :]), delimiter=delimiter)
            cells = (row[column].strip() for row in rows if len(row) > column)
            return [cell for cell in cells if cell]
    return None


def _of_list(text: str) -> list[Any] | None:
    """The entries of a JSON list; None: it is none."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # a name may begin with a bracket
    return value if isinstance(value, list) else None


def _entry(path: Path, option: str, number: int, line: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line  # a name may begin with a brace
    return _named(path, option, number, record)


def _named(path: Path, option: str, number: int, record: Any) -> str:
    """What an entry in JSON names: it is a text, or a mapping with one of KEYS. Raises UsageError."""
    if isinstance(record, str) and record:
        return record
    for key in KEYS:
        if isinstance(record, dict) and isinstance(record.get(key), str):
            return str(record[key])
    raise errors.UsageError(f"{option}: {path}:{number}: has no file_name, key or name")
