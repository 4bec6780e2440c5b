"""Files that are not on this disk: objects of a store (`s3://bucket/a.jpg`), pictures in a saved dataset.

    entries("s3://bucket/photos")        what lies in a folder
    stat(address)                        size and tag; the tag changes when the content does
    digest(address)                      what a task knows the file by
    open_address(address)                the bytes, as a file
    local_copy(address)                  all the bytes, brought here
    first_bytes(address, most)           so many of the bytes

    objects.py         object stores, through fsspec
    object_writer.py   objects written: what the outputs of a job need
    dataset_cells.py   pictures inside a dataset that the `datasets` library saved
    parquet_cells.py   pictures inside a Parquet file

Rule: whatever a foreign library raises leaves here as an OSError that names the address, or as one sentence
that names the extra to install; a file that is no Parquet leaves `parquet_cells` as a ValueError.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from typing import IO, Any, cast

from batcher.storage.stores import dataset_cells, objects, parquet_cells
from batcher.storage.stores.objects import MissingExtra, ObjectEntry, Stat, entries, forget, stat

HELD = 8 * 1024 * 1024
"""Bytes of an object that are held in memory; a larger one goes to a temporary file."""
HELD_DIGESTS = 4096

__all__ = [
    "MissingExtra",
    "ObjectEntry",
    "Stat",
    "dataset_cells",
    "digest",
    "entries",
    "first_bytes",
    "forget",
    "local_copy",
    "open_address",
    "parquet_cells",
    "stat",
]


def open_address(address: str) -> IO[bytes]:
    """The file at an address, or at a path of this disk, open for reading and seekable. Raises OSError,
    MissingExtra."""
    if "://" not in address:
        return open(address, "rb")
    return (
        dataset_cells.open_cell(address) if dataset_cells.is_cell(address) else objects.open_object(address)
    )


def local_copy(address: str) -> IO[bytes]:
    """The whole file, seekable, and away from the store. Raises FileNotFoundError, OSError, MissingExtra."""
    copy: Any = tempfile.SpooledTemporaryFile(HELD)  # noqa: SIM115  # closed by whoever reads it
    try:
        with open_address(address) as file, objects.translate_errors(address):
            shutil.copyfileobj(file, copy, 1 << 20)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return cast(IO[bytes], copy)


def first_bytes(address: str, most: int) -> bytes:
    """Its first `most` bytes. Raises OSError, MissingExtra."""
    with open_address(address) as file, objects.translate_errors(address):
        return file.read(most)


def digest(address: str, *, fresh: bool = False) -> str:
    """What a task knows the file by (sha256, hex), or raises OSError.

    Where the store tells a tag of the content (S3's ETag, an MD5), it is of the tag and the size: nothing is
    downloaded, and a copy under another name is the same file. Elsewhere it is of the content. `fresh`: the
    store is asked now, whatever a listing said before.
    """
    if not dataset_cells.is_cell(address):
        found = objects.stat(address, fresh=fresh)
        if found.tag:
            return hashlib.sha256(f"{found.tag} {found.size}".encode()).hexdigest()
    return _of_content(address) if fresh else _remembered(address)


def _remembered(address: str) -> str:
    digests = objects.cache_of_planning().digests
    if address not in digests:
        digests[address] = _of_content(address)
        while len(digests) > HELD_DIGESTS:
            digests.popitem(last=False)
    return digests[address]


def _of_content(address: str) -> str:
    hashed: Any = hashlib.sha256()
    with open_address(address) as file, objects.translate_errors(address):
        while chunk := file.read(1 << 20):
            hashed.update(chunk)
    return str(hashed.hexdigest())
