"""A folder of this disk: a final name is a hard link, durable when its folder is synced.

Rule: those who come together share one sync of the folder: whoever finds nobody at work does it for all.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio

from batcher import errors
from batcher.storage import pictures
from batcher.storage.destination import IMAGES, atomic_files
from batcher.storage.destination.atomic_files import disk, sync_folder


class Local:
    """The output folder itself."""

    remote = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images = path / "images"
        self._pending: list[_PendingMove] = []
        self._publishing = asyncio.Lock()

    @property
    def where(self) -> str:
        return str(self.path)

    def address(self, path: str) -> str:
        return str(self.path / path)

    def prepare(self) -> None:
        with disk(self.path):
            self.images.mkdir(parents=True, exist_ok=True)

    async def publish(self, part: Path, path: str) -> None:
        pending = _PendingMove(part, self.path / path)
        self._pending.append(pending)
        async with self._publishing:
            if pending.outcome is None:
                moves, self._pending = self._pending, []
                with anyio.CancelScope(shield=True):
                    await asyncio.to_thread(_publish_all, moves)
        if isinstance(pending.outcome, BaseException):
            raise pending.outcome

    def contains(self, path: str, sha256: str) -> bool:
        try:
            with self.open(path) as file:
                return pictures.digest(file) == sha256
        except OSError:
            return False

    def open(self, path: str) -> IO[bytes]:
        return open(self.path / path, "rb")

    def pictures(self, folder: str = IMAGES) -> Iterator[str]:
        with disk(self.path / folder):
            try:
                entries = os.scandir(self.path / folder)
            except FileNotFoundError:
                return
            with entries:
                yield from (entry.name for entry in entries)

    def move(self, path: str, target: str, sha256: str) -> None:
        source, final = self.path / path, self.path / target
        with disk(final):
            final.parent.mkdir(exist_ok=True)
            gone = not os.path.lexists(source)
            moved = not gone and move(source, final)
            stands = moved or self.contains(target, sha256)
            if stands:
                source.unlink(missing_ok=True)  # it has two names where a crash came between
                sync_folder(final.parent)
                sync_folder(source.parent)
        if not stands and gone:
            raise FileNotFoundError(errno.ENOENT, "is not there", str(source))
        if not stands:
            raise FileExistsError(errno.EEXIST, "there is another file", str(final))

    def replace(self, path: str, lines: Iterable[str]) -> None:
        atomic_files.replace(self.path / path, lines)

    def open_append(self, path: str) -> IO[str]:
        with disk(self.path):
            return open(self.path / path, "a", encoding="utf-8")

    def quarantine(self, path: str, target: Path) -> bool:
        source = self.path / path
        with disk(source):
            if not os.path.lexists(source):
                return False
            os.rename(source, target)
            sync_folder(source.parent)
            sync_folder(target.parent)
        return True


@dataclass(slots=True)
class _PendingMove:
    """One move from `part` to `final`; `outcome` is True, or what went wrong, once it was tried."""

    part: Path
    final: Path
    outcome: bool | BaseException | None = None


def _publish_all(moves: list[_PendingMove]) -> None:
    for pending in moves:
        try:
            with disk(pending.final):
                pending.final.parent.mkdir(exist_ok=True)
                moved = move(pending.part, pending.final)
            pending.outcome = True if moved else FileExistsError(str(pending.final))
        except errors.DiskError as error:
            pending.outcome = error
    for folder in {pending.final.parent for pending in moves}:
        try:
            with disk(folder):
                sync_folder(folder)
        except errors.DiskError as error:
            for pending in moves:
                pending.outcome = error


def move(part: Path, final: Path) -> bool:
    """Moves `part` to `final`; False when something has that name."""
    try:
        os.link(part, final)
    except FileExistsError:
        return False
    except OSError:
        # No hard links here (some network and FAT file systems): the look and the rename are two steps,
        # safe all the same, for only this process writes into the folder.
        if os.path.lexists(final):
            return False
        os.rename(part, final)
    else:
        os.unlink(part)
    return True
