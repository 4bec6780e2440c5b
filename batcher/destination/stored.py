"""An object store: a picture is put where nothing is, whole or not at all.

Law: an object is never written over, but for the records, which are ours. That a put was refused because
something has its name is believed only when something has.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from batcher import errors, pictures, stores
from batcher.destination.files import disk
from batcher.stores import writing


class Stored:
    """A folder of an object store, `s3://bucket/prefix`. Raises MissingExtra when its library is missing."""

    remote = True

    def __init__(self, where: str) -> None:
        self.where = where.rstrip("/")
        writing.reach(self.where)

    def address(self, path: str) -> str:
        return f"{self.where}/{path}"

    def prepare(self) -> None:
        """A store has no folders to be made."""

    async def settle(self, part: Path, name: str) -> None:
        await asyncio.to_thread(self._settle, part, f"images/{name}")

    def _settle(self, part: Path, path: str) -> None:
        try:
            writing.create(part, self.address(path))
        except FileExistsError:
            raise
        except OSError as error:
            raise errors.StoreError(_sentence(error, self.address(path))) from error
        with disk(part):
            part.unlink()

    def holds(self, name: str, sha256: str) -> bool:
        path = f"images/{name}"
        try:
            with self.opened(path) as file:
                return pictures.digest(file) == sha256
        except FileNotFoundError:
            return False
        except OSError as error:
            raise errors.StoreError(_sentence(error, self.address(path))) from error

    def opened(self, path: str) -> IO[bytes]:
        return stores.held(self.address(path))

    def pictures(self) -> Iterator[str]:
        with self._refusals():
            try:
                found = stores.entries(self.address("images"))
            except FileNotFoundError:
                return
        yield from (one.name for one in found if not one.is_folder)

    def replace(self, path: str, lines: Iterable[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="batcher-") as folder:
            gathered = Path(folder) / os.path.basename(path)
            with open(gathered, "w", encoding="utf-8") as file:
                file.writelines(lines)
            with self._refusals():
                writing.put(gathered, self.address(path))

    def growing(self, path: str) -> IO[str]:
        return open(os.devnull, "w", encoding="utf-8")

    def set_aside(self, path: str, target: Path) -> bool:
        """The copy is on this disk before the object is gone."""
        address = self.address(path)
        with self._refusals():
            try:
                source = self.opened(path)
            except FileNotFoundError:
                return False
            with source, disk(target), open(target, "wb") as file:
                while chunk := source.read(1 << 20):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            writing.remove(address)
        return True

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise errors.DiskError(_sentence(error, self.where)) from error


def _sentence(error: OSError, address: str) -> str:
    return f"{error.filename or address}: {error.strerror or error}"
