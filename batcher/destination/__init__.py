"""Where final pictures and the records about them go: a folder of this disk, or an object store.

    where = at("s3://pets/summer", Path("out/summer"))
    await where.settle(part, "rome-0.png")          its final name, durably, and never another file's
    where.opened("images/rome-0.png")               its bytes, wherever it lies

    files.py    files of this disk: written anew as a whole, and what the system refuses
    local.py    a folder: hard link and fsync
    stored.py   an object store: put where nothing is

Law: a final name never changes hands. Whoever settles has recorded the name before; a file found under it
is told by its content, so a crash between the two steps leaves one picture, and never two of one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from batcher.destination.files import disk, replace, sync_folder

__all__ = ["IMAGES", "Destination", "again", "at", "disk", "replace", "sync_folder"]

IMAGES = "images"
"""The folder of final pictures."""


class Destination(Protocol):
    """Paths are relative to it, with `/`: `images/rome-0.png`, `metadata.jsonl`. All but `settle` blocks, and
    may be called in any thread. It can be made anew anywhere from `where` alone."""

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

    async def settle(self, part: Path, name: str) -> None:
        """Gives the file at `part` the final name `images/name`, durably; `part` is gone then.

        Raises FileExistsError where something has that name; DiskError, StoreError.
        """

    def holds(self, name: str, sha256: str) -> bool:
        """Whether `images/name` is there already with this content (hex). Raises StoreError when the store
        does not say: then nobody knows."""

    def opened(self, path: str) -> IO[bytes]:
        """A file of it, for reading, seekable. Raises FileNotFoundError, OSError."""

    def pictures(self) -> Iterator[str]:
        """The names in `images/`. Raises DiskError."""

    def replace(self, path: str, lines: Iterable[str]) -> None:
        """Writes the file anew: whole, or it stays as it was. Raises DiskError, OSError."""

    def growing(self, path: str) -> IO[str]:
        """A file to which lines are added during a run; a store has none, and gets it whole at the end."""

    def set_aside(self, path: str, target: Path) -> bool:
        """Moves the file to `target` on this disk, which is free; False where there is none.

        Raises DiskError.
        """


def at(where: str | None, output: Path) -> Destination:
    """The destination at `where`; None: the output folder itself. Raises MissingExtra."""
    if where is None:
        from batcher.destination.local import Local

        return Local(output)
    from batcher.destination.stored import Stored

    return Stored(where)


def again(where: str) -> Destination:
    """The destination whose `where` this is, in whatever process. Raises MissingExtra."""
    return at(where if "://" in where else None, Path(where))
