"""Files that a person names: where a report's page goes, or a run's metrics.

Rule: only a file that we wrote, or an empty or a new one, is replaced, and as a whole; through a link, the
file behind it. Devices and pipes are written to. Whatever else lies there is somebody's, and stays.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from batcher import errors
from batcher.storage.destination.atomic_files import disk, replace
from batcher.storage.layout import is_of_the_system

LOOKED_AT = 16_384
"""Bytes in which a file's mark is looked for."""


def write_user_file(path: Path, lines: Iterable[str], *, mark: bytes, patient: bool = True) -> None:
    """Writes the lines to where a person said. `mark` is what every such file of ours has near its start.

    `patient`: the reader of a pipe may be waited for; else one that is not there, or is slow, is a DiskError.
    Raises UsageError where something else lies there, or where no file can be; DiskError.
    """
    path = path.absolute()
    if _is_stream(path):
        _write_to(path, lines, patient=patient)
        return
    target = Path(os.path.realpath(path))
    _refuse_what_is_not_ours(path, target, mark)
    with disk(path):
        replace(target, lines)


def _is_stream(path: Path) -> bool:
    """Whether it is written to and never replaced. Raises UsageError where it is a disk or a socket."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise errors.UsageError(f"{path} is no file to write to, but {_kind(mode)}; name another")
    # /dev/stdout may lead to a file: whoever opened that goes on writing to it.
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and is_of_the_system(path))


def _kind(mode: int) -> str:
    return "a disk" if stat.S_ISBLK(mode) else "a socket"


def _refuse_what_is_not_ours(path: Path, target: Path, mark: bytes) -> None:
    if is_of_the_system(target):
        raise errors.UsageError(f"{path} cannot be a file: {target.parent} is the system's own folder")
    try:
        with open(target, "rb") as file:
            head = file.read(LOOKED_AT)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not target.parent.is_dir():
            raise errors.UsageError(f"{path} cannot be a file: {error.strerror}") from error
        return
    except IsADirectoryError:
        raise errors.UsageError(f"{path} is a folder; name a file in it") from None
    except OSError as error:
        raise errors.DiskError(f"{path}: {error.strerror}") from error
    if head and mark not in head:
        raise errors.UsageError(
            f"{path} is there already, and batcher did not write it: it stays as it is; name another file, "
            "or remove this one"
        )


def _write_to(path: Path, lines: Iterable[str], *, patient: bool) -> None:
    data = memoryview("".join(lines).encode())
    with disk(path):
        handle = os.open(path, os.O_WRONLY | os.O_NOCTTY | (0 if patient else os.O_NONBLOCK))
        try:
            while data:
                data = data[os.write(handle, data) :]
        finally:
            os.close(handle)
