"""One run per job: an advisory lock (flock) that the system lets go when its holder dies.

Law: only the holder writes to the ledger.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batcher import errors


@contextmanager
def held(path: Path, *, since: str) -> Iterator[None]:
    """Holds the lock while the block runs. `since` is told to whoever finds it held.

    Raises Locked with who holds it, DiskError when the file cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise errors.DiskError(f"{path}: {error.strerror}") from error
    try:
        _take(handle, path)
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode())
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> str | None:
    """Who holds the lock, or None."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _words(handle)
    else:
        return None
    finally:
        os.close(handle)


def _take(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise errors.DiskError(f"{path} cannot be locked: {error.strerror}") from error
        raise errors.Locked(f"another run holds this job: {_words(handle)} ({path})") from error


def _words(handle: int) -> str:
    return os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "an unnamed process"
