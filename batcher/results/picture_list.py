"""A file in which a person names pictures.

Rule: a line is an entry, whatever it looks like; who reads them tells those that name nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from batcher import errors

LARGEST = 256 << 20
"""Bytes of such a file."""


def read(path: Path, option: str) -> list[str]:
    """One entry a line: a task's name or key, a file name with or without its folder; or JSON Lines with
    `file_name`, `key` or `name`. Raises UsageError, which begins with the `option` that gave the file."""
    try:
        if path.stat().st_size > LARGEST:
            raise errors.UsageError(f"{option}: {path} is larger than {LARGEST >> 20} MB")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise errors.UsageError(f"{option}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise errors.UsageError(f"{option}: {path} is not UTF-8 text") from error
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [_entry(path, option, number, line) for number, line in lines if line]


def _entry(path: Path, option: str, number: int, line: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line  # a name may begin with a brace
    for key in ("file_name", "key", "name"):
        if isinstance(record, dict) and isinstance(record.get(key), str):
            return str(record[key])
    raise errors.UsageError(f"{option}: {path}:{number}: has no file_name, key or name")
