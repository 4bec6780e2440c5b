"""Where final pictures and the records about them go: a folder of this disk, or an object store.

    where = open_destination("s3://pets/summer", Path("out/summer"))
    await where.publish(part, "images/rome-0.png")  its final name, durably, and never another file's
    where.open("images/rome-0.png")                 its bytes, wherever it lies

    atomic_files.py   files of this disk: written anew as a whole, and what the system refuses
    local.py          a folder: hard link and fsync
    stored.py         an object store: put where nothing is

Rule: a final name never changes hands. Whoever publishes has recorded the name before; a file found under it
is told by its content, so a crash between the two steps leaves one picture, and never two of one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from batcher.errors import UsageError
from batcher.storage.destination.atomic_files import disk, replace, sync_folder

__all__ = [
    "IMAGES",
    "REJECTED",
    "Destination",
    "disk",
    "open_destination",
    "reopen",
    "replace",
    "sync_folder",
]

IMAGES = "images"
"""The folder of final pictures."""
REJECTED = "rejected"
"""The folder of pictures that were set aside."""


class Destination(Protocol):
    """Paths are relative to it, with `/`: `images/rome-0.png`, `metadata.jsonl`. All but `publish`
    block, and may be called in any thread. It can be made anew anywhere from `where` alone."""

    @property
    def where(self) -> str:
        """Its own path or URL."""

    @property
    def remote(self) -> bool:
        """Whether only writing shows that it may be written to."""

    def address(self, path: str) -> str:
        """The absolute path, or the URL, of a file in it."""

    def prepare(self) -> None:
        """Makes its folders. Raises DiskError."""

    async def publish(self, part: Path, path: str) -> None:
        """Gives the file at `part` its final path, as `images/rome-0.png`, durably; `part` is gone then.

        Raises FileExistsError where something has that name; DiskError, StoreError.
        """

    def contains(self, path: str, sha256: str) -> bool:
        """Whether a picture is there already with this content (hex). Raises StoreError when the store
        does not say: then nobody knows."""

    def open(self, path: str) -> IO[bytes]:
        """A file of it, for reading, seekable. Raises FileNotFoundError, OSError."""

    def pictures(self, folder: str = IMAGES) -> Iterator[str]:
        """The names in `images/`, or in another folder of it. Raises DiskError."""

    def move(self, path: str, target: str, sha256: str) -> None:
        """Moves a picture of this content (hex) within it, durably; done twice, it is done once.

        Raises FileNotFoundError where it is at neither place, FileExistsError where `target` is something
        else, DiskError, StoreError.
        """

    def replace(self, path: str, lines: Iterable[str]) -> None:
        """Writes the file anew: whole, or it stays as it was. Raises DiskError, OSError."""

    def open_append(self, path: str) -> IO[str]:
        """A file to which lines are added during a run; a store has none, and gets it whole at the end."""

    def quarantine(self, path: str, target: Path) -> bool:
        """Moves the file to `target` on this disk, which is free; False where there is none.

        Raises DiskError.
        """


def open_destination(where: str | None, output: Path) -> Destination:
    """The destination at `where`; None: the output folder itself. Raises MissingExtra, and UsageError where
    `where` is in no store that there is."""
    if where is None:
        from batcher.storage.destination.local import Local

        return Local(output)
    from batcher.storage.destination.stored import Stored

    try:
        return Stored(where)
    except OSError as error:
        raise UsageError(f"{where} cannot be written to: {error.strerror}") from None


def reopen(where: str) -> Destination:
    """The destination whose `where` this is, in whatever process. Raises MissingExtra."""
    return open_destination(where if "://" in where else None, Path(where))
