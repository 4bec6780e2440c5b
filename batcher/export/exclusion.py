"""The pictures that a person has rejected: a file of names, keys or file names.

Law: an entry that names no picture is told; nobody finds out later that a rejected picture was exported.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from batcher import errors
from batcher.ledger.records import Picture

LARGEST = 256 << 20
"""Bytes of such a file."""


class Exclusion:
    """What is left out; `unmatched` are the entries that named no picture so far."""

    def __init__(self, entries: frozenset[str] = frozenset()) -> None:
        self._entries = entries
        self._matched: set[str] = set()

    @classmethod
    def read(cls, path: Path) -> Exclusion:
        """One entry a line: a task's name or key, a file name with or without its folder; or JSON Lines with
        `file_name`, `key` or `name`. Raises UsageError."""
        try:
            if path.stat().st_size > LARGEST:
                raise errors.UsageError(f"--exclude: {path} is larger than {LARGEST >> 20} MB")
            text = path.read_text("utf-8-sig")
        except OSError as error:
            raise errors.UsageError(f"--exclude: {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise errors.UsageError(f"--exclude: {path} is not UTF-8 text") from error
        lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
        return cls(frozenset(_entry(path, number, line) for number, line in lines if line))

    def excludes(self, picture: Picture) -> bool:
        """Whether a person has named this picture, or the task it is of."""
        file = PurePosixPath(str(picture.line["file_name"]))
        named = {picture.task, picture.line["key"], str(file), file.name, file.stem} & self._entries
        self._matched |= named
        return bool(named)

    @property
    def unmatched(self) -> list[str]:
        """Entries that named no picture."""
        return sorted(self._entries - self._matched)


def _entry(path: Path, number: int, line: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line  # a name may begin with a brace
    for key in ("file_name", "key", "name"):
        if isinstance(record, dict) and isinstance(record.get(key), str):
            return str(record[key])
    raise errors.UsageError(f"--exclude: {path}:{number}: has no file_name, key or name")
