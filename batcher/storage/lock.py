"""One run per job: advisory locks that the system lets go when their holder dies.

Rule: only the holder writes to the ledger. A lock is only as good as the file it lies on: whoever takes that
away lets a second run in. So the lock lies on the ledger's own file too, and its holder looks, before each
commit, whether both files are still the ones that it locked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batcher import errors

TRIES = 4
BETWEEN_TRIES = 0.02
"""Seconds. Whoever asks `holder` has a shared lock for an instant; that is no other run."""
LOCKED_BYTE = 1 << 62
"""Of a ledger. SQLite locks bytes from 1 << 30 on, which stay free; a file of this size there is none."""
REFUSALS = (errno.EWOULDBLOCK, errno.EACCES)
"""Somebody else has it."""


class HeldLock:
    """A lock that this process holds: the job's own, and with it a ledger."""

    def __init__(self, path: Path, handle: int, since: str) -> None:
        self._files = {path: handle}
        self._since = since
        self._covered: set[tuple[int, int]] = set()

    def cover(self, path: Path) -> None:
        """Locks the ledger at `path` too, where it is; asked for again, it does nothing. Raises Locked when
        another run holds that, DiskError.

        The lock is one of the open file, not of the process: SQLite's own locks on this file are neither met
        nor lost. Where the system has no such lock only the file is kept in sight.
        """
        if path in self._files or not path.exists():
            return
        _refuse_another_of_this_process(path)
        handle = _open(path, os.O_RDWR)
        try:
            _lock_byte(handle, path)
        except BaseException:
            os.close(handle)
            raise
        self._files[path] = handle
        self._covered.add(_identity(os.fstat(handle)))
        _COVERED.update(self._covered)

    def verify(self) -> None:
        """Raises LockLost when a locked file is not at its place any more."""
        for path, handle in self._files.items():
            try:
                there = _identity(os.stat(path))
            except FileNotFoundError:
                raise errors.LockLost(self._lost(path, "taken away")) from None
            except OSError as error:
                raise errors.LockLost(f"{path} cannot be looked at any more: {error.strerror}") from error
            if there != _identity(os.fstat(handle)):
                raise errors.LockLost(self._lost(path, "replaced"))

    def _lost(self, path: Path, what: str) -> str:
        return (
            f"{path} was {what} while this run held it (since {self._since}); it stopped at once, for "
            "another run may be at work on the same job"
        )

    def close(self) -> None:
        """Lets go. Only after the ledger is closed: a handle of it that closes takes SQLite's locks along."""
        for handle in self._files.values():
            os.close(handle)
        _COVERED.difference_update(self._covered)


_COVERED: set[tuple[int, int]] = set()
"""Ledgers that this process has covered. A second look at one of them by its file would, when it is closed,
take SQLite's locks from the first: those are of the process."""


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _refuse_another_of_this_process(path: Path) -> None:
    if _identity(os.stat(path)) in _COVERED:
        raise errors.Locked(f"another run of this very process holds this job ({path})")


@contextmanager
def hold(path: Path, *, since: str) -> Iterator[HeldLock]:
    """Holds the lock while the block runs. `since` is told to whoever finds it held.

    Raises Locked with who holds it, DiskError when the file cannot be made.
    """
    handle = _open(path, os.O_RDWR | os.O_CREAT)
    held = HeldLock(path, handle, since)
    try:
        _take(handle, path)
        _sign(handle, path, since)
        yield held
    finally:
        held.close()


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


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o644)
    except OSError as error:
        raise errors.DiskError(f"{path}: {error.strerror}") from error


def _take(handle: int, path: Path) -> None:
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in REFUSALS:
                raise errors.DiskError(f"{path} cannot be locked: {error.strerror}") from error
            if not left:
                raise errors.Locked(f"another run holds this job: {_words(handle)} ({path})") from error
            time.sleep(BETWEEN_TRIES)


def _lock_byte(handle: int, path: Path) -> None:
    command = getattr(fcntl, "F_OFD_SETLK", None)
    if command is None:
        return
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(handle, command, request)
    except OSError as error:
        if error.errno in REFUSALS:
            raise errors.Locked(
                f"another run holds this job, though its lock is not to be seen any more ({path})"
            ) from error
        # A file system that has no such locks: the job's own lock is all there is.


def _sign(handle: int, path: Path, since: str) -> None:
    """Whose lock it is, for whoever finds it held."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode(), 0)
    except OSError as error:
        raise errors.DiskError(f"{path}: {error.strerror}") from error


def _words(handle: int) -> str:
    return os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "an unnamed process"
