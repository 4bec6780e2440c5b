"""Objects written: what the outputs of a job need of a store.

Rule: `create` writes over nothing: it looks first, asks the store for an exclusive write where that knows
one, and whatever the answer was, FileExistsError says that something is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batcher.storage.stores import objects


def require_library(address: str) -> None:
    """The store's library is there when this returns. Raises MissingExtra, OSError."""
    objects.filesystem_of(address)


def create(source: Path, address: str) -> None:
    """Puts the local file there. Raises FileExistsError where something is, OSError, MissingExtra."""
    files, path = objects.filesystem_of(address)
    with _write_errors(address):
        if files.exists(path):
            raise FileExistsError(17, "there is such an object", address)
        try:
            _put_new(files, source, path)
        except Exception:
            # An answer that was lost, or somebody between the look and the put: what is there is judged by
            # whoever knows what it should be.
            if files.exists(path):
                raise FileExistsError(17, "there is such an object", address) from None
            raise


def _put_new(files: Any, source: Path, path: str) -> None:
    try:
        files.put_file(str(source), path, mode="create")
    except TypeError:  # a store's library without exclusive writes
        files.put_file(str(source), path)


def put(source: Path, address: str) -> None:
    """Puts the local file there, in the place of what was. Raises OSError, MissingExtra."""
    files, path = objects.filesystem_of(address)
    with _write_errors(address):
        files.put_file(str(source), path)


def remove(address: str) -> None:
    """The object is gone when this returns. Raises OSError, MissingExtra."""
    files, path = objects.filesystem_of(address)
    with _write_errors(address):
        files.rm_file(path)


@contextmanager
def _write_errors(address: str) -> Iterator[None]:
    """Foreign errors become ours, with the address."""
    try:
        with objects.translate_errors(address):
            yield
    except PermissionError:
        raise PermissionError(13, "the store does not let us write it", address) from None
    except FileNotFoundError:
        # Not to be taken for an object that is missing.
        raise OSError(5, "there is no such bucket", address) from None
