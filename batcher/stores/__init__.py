"""Files that are not on this disk: objects of a store (`s3://bucket/a.jpg`), pictures in a saved dataset.

    entries("s3://bucket/photos")        what lies in a folder
    stat(address)                        size and tag; the tag changes when the content does
    digest(address)                      what a task knows the file by
    opened(address)                      the bytes, as a file
    held(address)                        all the bytes, brought here
    content(address, most)               the bytes, checked against a size

    objects.py   object stores, through fsspec
    writing.py   objects written: what the outputs of a job need
    saved.py     pictures inside a dataset that the `datasets` library saved
    embedded.py  pictures inside a Parquet file

Law: whatever a foreign library raises leaves here as an OSError that names the address, or as one sentence
that names the extra to install.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from functools import lru_cache
from typing import IO, Any, cast

from batcher.stores import embedded, objects, saved
from batcher.stores.objects import Entry, MissingExtra, Stat, entries, forget, stat

HELD = 8 * 1024 * 1024
"""Bytes of an object that are held in memory; a larger one goes to a temporary file."""

__all__ = [
    "Entry",
    "MissingExtra",
    "Stat",
    "content",
    "digest",
    "embedded",
    "entries",
    "forget",
    "held",
    "is_folder",
    "opened",
    "saved",
    "stat",
]


def opened(address: str) -> IO[bytes]:
    """The file at an address, or at a path of this disk, open for reading and seekable. Raises OSError,
    MissingExtra."""
    if "://" not in address:
        return open(address, "rb")
    return saved.opened(address) if saved.is_cell(address) else objects.opened(address)


def held(address: str) -> IO[bytes]:
    """The whole file, seekable, and away from the store. Raises FileNotFoundError, OSError, MissingExtra."""
    kept: Any = tempfile.SpooledTemporaryFile(HELD)  # noqa: SIM115  # closed by whoever reads it
    try:
        with opened(address) as file, objects.told(address):
            shutil.copyfileobj(file, kept, 1 << 20)
    except BaseException:
        kept.close()
        raise
    kept.seek(0)
    return cast(IO[bytes], kept)


def content(address: str, most: int) -> bytes:
    """Its first `most` bytes. Raises OSError, MissingExtra."""
    with opened(address) as file, objects.told(address):
        return file.read(most)


def digest(address: str, *, fresh: bool = False) -> str:
    """What a task knows the file by (sha256, hex), or raises OSError.

    Where the store tells a tag of the content (S3's ETag, an MD5), it is of the tag and the size: nothing is
    downloaded, and a copy under another name is the same file. Elsewhere it is of the content. `fresh`: the
    store is asked now, whatever a listing said before.
    """
    if not saved.is_cell(address):
        found = objects.stat(address, fresh=fresh)
        if found.tag:
            return hashlib.sha256(f"{found.tag} {found.size}".encode()).hexdigest()
    return _of_content(address) if fresh else _remembered(address)


@lru_cache(maxsize=4096)
def _remembered(address: str) -> str:
    return _of_content(address)


def _of_content(address: str) -> str:
    hashed: Any = hashlib.sha256()
    with opened(address) as file, objects.told(address):
        while chunk := file.read(1 << 20):
            hashed.update(chunk)
    return str(hashed.hexdigest())


def is_folder(address: str) -> bool:
    """Whether anything lies below the address. Raises OSError, MissingExtra; a missing one is no folder."""
    try:
        return bool(entries(address))
    except FileNotFoundError:
        return False
