"""An object store: a picture is put where nothing is, whole or not at all.

Rule: an object is never written over, but for the records, which are ours. That a put was refused because
something has its name is believed only when something has.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from batcher import errors
from batcher.storage import pictures, stores
from batcher.storage.destination import IMAGES
from batcher.storage.destination.atomic_files import disk
from batcher.storage.stores import object_writer


class Stored:
    """A folder of an object store, `s3://bucket/prefix`. Raises MissingExtra when its library is missing."""

    remote = True

    def __init__(self, where: str) -> None:
        self.where = where.rstrip("/")
        object_writer.require_library(self.where)

    def address(self, path: str) -> str:
        return f"{self.where}/{path}"

    def prepare(self) -> None:
        """A store has no folders to be made."""

    async def publish(self, part: Path, path: str) -> None:
        await asyncio.to_thread(self._settle, part, path)

    def _settle(self, part: Path, path: str) -> None:
        try:
            object_writer.create(part, self.address(path))
        except FileExistsError:
            raise
        except OSError as error:
            raise errors.StoreError(_sentence(error, self.address(path))) from error
        with disk(part):
            part.unlink()

    def contains(self, path: str, sha256: str) -> bool:
        try:
            with self.open(path) as file:
                return pictures.digest(file) == sha256
        except FileNotFoundError:
            return False
        except OSError as error:
            raise errors.StoreError(_sentence(error, self.address(path))) from error

    def open(self, path: str) -> IO[bytes]:
        return stores.local_copy(self.address(path))

    def pictures(self, folder: str = IMAGES) -> Iterator[str]:
        with self._refusals():
            try:
                found = stores.entries(self.address(folder))
            except FileNotFoundError:
                return
        yield from (one.name for one in found if not one.is_folder)

    def move(self, path: str, target: str, sha256: str) -> None:
        """The copy stands before the object is gone."""
        with tempfile.TemporaryDirectory(prefix="batcher-") as folder:
            copy = Path(folder) / os.path.basename(path)
            try:
                with self.open(path) as source, disk(copy), open(copy, "wb") as file:
                    shutil.copyfileobj(source, file)
            except FileNotFoundError:
                if not self.contains(target, sha256):
                    raise
                return
            except OSError as error:
                raise errors.StoreError(_sentence(error, self.address(path))) from error
            try:
                object_writer.create(copy, self.address(target))
            except FileExistsError:
                if not self.contains(target, sha256):
                    raise
            except OSError as error:
                raise errors.StoreError(_sentence(error, self.address(target))) from error
            with self._refusals():
                object_writer.remove(self.address(path))

    def replace(self, path: str, lines: Iterable[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="batcher-") as folder:
            gathered = Path(folder) / os.path.basename(path)
            with open(gathered, "w", encoding="utf-8") as file:
                file.writelines(lines)
            with self._refusals():
                object_writer.put(gathered, self.address(path))

    def open_append(self, path: str) -> IO[str]:
        return open(os.devnull, "w", encoding="utf-8")

    def quarantine(self, path: str, target: Path) -> bool:
        """The copy is on this disk before the object is gone."""
        address = self.address(path)
        with self._refusals():
            try:
                source = self.open(path)
            except FileNotFoundError:
                return False
            with source, disk(target), open(target, "wb") as file:
                while chunk := source.read(1 << 20):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            object_writer.remove(address)
        return True

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise errors.DiskError(_sentence(error, self.where)) from error


def _sentence(error: OSError, address: str) -> str:
    return f"{error.filename or address}: {error.strerror or error}"
