"""Whose fault it is that a source cannot be read: the file's own, or this machine's.

Rule: one file that is missing or refused among others that are there is its own fault. A folder, mount, store
or file descriptor that is gone says nothing of the file: the run stops, and goes on when it is back.
"""

from __future__ import annotations

import errno
import os

from batcher import errors
from batcher.storage import stores
from batcher.storage.addresses import is_stored
from batcher.storage.stores import dataset_cells

NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
OF_MACHINE = frozenset(
    {
        errno.ESTALE, errno.ENOTCONN, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT, errno.ENOMEM,
        errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNREFUSED,
    }
)  # fmt: skip
"""What a mount answers whose other end is gone, whatever file it is asked for."""
OF_NAME = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})
"""What no disk could read: a name that is too long, links that lead in a circle."""
NEIGHBOURS = 8
"""Files beside one that cannot be read which are tried before the disk is blamed."""


def machine_error(path: str, error: OSError) -> errors.BatcherError | None:
    """What stops the run, where it is not the fault of the file at `path`, or at this address, that it cannot
    be read; None where it is. Looks at what lies beside it."""
    reason = error.strerror or str(error)
    if error.errno in NO_DESCRIPTOR:
        return errors.TooManyOpenFiles(f"{path} cannot be opened: {reason}")
    if is_stored(path) and not dataset_cells.is_cell(path):
        return _store_error(path)
    if error.errno in OF_NAME:
        return None
    file = dataset_cells.file_of(path) if dataset_cells.is_cell(path) else path
    folder = os.path.dirname(file) or "."
    if error.errno in OF_MACHINE:
        return errors.SourceGone(f"{folder} cannot be read any more: {reason}")
    try:
        with os.scandir(folder) as entries:
            names = [entry.path for entry, _ in zip(entries, range(NEIGHBOURS), strict=False)]
    except OSError as folder_error:
        if folder_error.errno in NO_DESCRIPTOR:
            return errors.TooManyOpenFiles(f"{path} cannot be opened: {folder_error.strerror}")
        return errors.SourceGone(f"the folder {folder} is not there any more: {folder_error.strerror}")
    if not names:
        return errors.SourceGone(f"the folder {folder} is empty: all that was in it is gone")
    if error.errno == errno.EIO and not is_stored(path) and not any(_is_readable(name) for name in names):
        return errors.SourceGone(f"{folder} cannot be read any more: {reason}")
    return None


def _store_error(address: str) -> errors.BatcherError | None:
    """A store that still tells what lies in the folder is there."""
    folder = address.rpartition("/")[0]
    try:
        entries = stores.entries(folder)
    except FileNotFoundError:
        entries = []
    except OSError as folder_error:
        return errors.SourceGone(f"{folder} cannot be read any more: {folder_error.strerror or folder_error}")
    if not entries:
        return errors.SourceGone(f"nothing is left in {folder}")
    return None


def _is_readable(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError:
        return False
    return True
