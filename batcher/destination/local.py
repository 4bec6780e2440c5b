"""A folder of this disk: a final name is a hard link, durable when its folder is synced.

Law: those who come together share one sync of the folder: whoever finds nobody at work does it for all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio

from batcher import errors, pictures
from batcher.destination import files
from batcher.destination.files import disk, sync_folder


class Local:
    """The output folder itself."""

    remote = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images = path / "images"
        self._turns: list[_Turn] = []
        self._settling = asyncio.Lock()

    @property
    def where(self) -> str:
        return str(self.path)

    def address(self, path: str) -> str:
        return str(self.path / path)

    def prepare(self) -> None:
        with disk(self.path):
            self.images.mkdir(parents=True, exist_ok=True)

    async def settle(self, part: Path, name: str) -> None:
        turn = _Turn(part, self.images / name)
        self._turns.append(turn)
        async with self._settling:
            if turn.settled is None:
                turns, self._turns = self._turns, []
                with anyio.CancelScope(shield=True):
                    await asyncio.to_thread(_settle_all, turns, self.images)
        if isinstance(turn.settled, BaseException):
            raise turn.settled

    def holds(self, name: str, sha256: str) -> bool:
        try:
            with self.opened(f"images/{name}") as file:
                return pictures.digest(file) == sha256
        except OSError:
            return False

    def opened(self, path: str) -> IO[bytes]:
        return open(self.path / path, "rb")

    def pictures(self) -> Iterator[str]:
        with disk(self.images):
            try:
                entries = os.scandir(self.images)
            except FileNotFoundError:
                return
            with entries:
                yield from (entry.name for entry in entries)

    def replace(self, path: str, lines: Iterable[str]) -> None:
        files.replace(self.path / path, lines)

    def growing(self, path: str) -> IO[str]:
        with disk(self.path):
            return open(self.path / path, "a", encoding="utf-8")

    def set_aside(self, path: str, target: Path) -> bool:
        source = self.path / path
        with disk(source):
            if not os.path.lexists(source):
                return False
            os.rename(source, target)
            sync_folder(source.parent)
            sync_folder(target.parent)
        return True


@dataclass(slots=True)
class _Turn:
    """One move from `part` to `final`; `settled` is True, or what went wrong, once it was tried."""

    part: Path
    final: Path
    settled: bool | BaseException | None = None


def _settle_all(turns: list[_Turn], folder: Path) -> None:
    for turn in turns:
        try:
            with disk(turn.final):
                moved = move(turn.part, turn.final)
            turn.settled = True if moved else FileExistsError(str(turn.final))
        except errors.DiskError as error:
            turn.settled = error
    try:
        with disk(folder):
            sync_folder(folder)
    except errors.DiskError as error:
        for turn in turns:
            turn.settled = error


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
