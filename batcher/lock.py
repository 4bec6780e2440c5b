"""One run per job: an advisory lock (flock) that the system lets go when its holder dies.

Law: only the holder writes to the ledger.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batcher import errors

TRIES = 4
BETWEEN_TRIES = 0.02
"""Seconds. Whoever asks `holder` has a shared lock for an instant; that is no other run."""


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
        _sign(handle, path, since)
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
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise errors.DiskError(f"{path} cannot be locked: {error.strerror}") from error
            if not left:
                raise errors.Locked(f"another run holds this job: {_words(handle)} ({path})") from error
            time.sleep(BETWEEN_TRIES)


def _sign(handle: int, path: Path, since: str) -> None:
    """Whose lock it is, for whoever finds it held."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode(), 0)
    except OSError as error:
        raise errors.DiskError(f"{path}: {error.strerror}") from error


def _words(handle: int) -> str:
    return os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "an unnamed process"
