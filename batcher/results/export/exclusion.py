"""The pictures that a person has rejected: a file of names, keys or file names.

Rule: an entry that names no picture is told; nobody finds out later that a rejected picture was exported.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from batcher.ledger.records import DeliveredPicture
from batcher.results import picture_list
from batcher.storage.destination import REJECTED


class Exclusion:
    """What is left out; `unmatched` are the entries that named no picture so far."""

    def __init__(self, entries: frozenset[str] = frozenset()) -> None:
        self._entries = entries
        self._matched: set[str] = set()
        self._by_file: dict[str, set[str]] = {}
        for entry in entries:
            # A path of an export, or of another system, names its file; one in rejected/ not its replacement.
            *folders, file = entry.replace("\\", "/").split("/")
            if folders and folders[-1] != REJECTED:
                self._by_file.setdefault(file, set()).add(entry)

    @classmethod
    def read(cls, path: Path) -> Exclusion:
        """A file as `picture_list` reads it. Raises UsageError."""
        return cls(frozenset(picture_list.read(path, "--exclude")))

    def excludes(self, picture: DeliveredPicture) -> bool:
        """Whether a person has named this picture, or the task it is of."""
        file = PurePosixPath(str(picture.line["file_name"]))
        named = {picture.task, picture.line["key"], str(file), file.name, file.stem} & self._entries
        named |= self._by_file.get(file.name, set())
        self._matched |= named
        return bool(named)

    @property
    def unmatched(self) -> list[str]:
        """Entries that named no picture."""
        return sorted(self._entries - self._matched)
