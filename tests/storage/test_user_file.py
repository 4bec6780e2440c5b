"""A file that a person names is replaced only where it is ours, and written to where it is no file."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from batcher import errors
from batcher.storage.layout import is_of_the_system
from batcher.storage.user_file import write_user_file

MARK = b"made by us"
LINES = ["made by us\n", "and more\n"]


def write(path: Path, *, patient: bool = False) -> None:
    write_user_file(path, LINES, mark=MARK, patient=patient)


def read(path: Path) -> str:
    return path.read_text("utf-8")


@pytest.mark.parametrize("before", [None, b"", b"<!-- made by us, last year -->"])
def test_a_new_file_an_empty_one_and_one_of_ours_are_replaced_as_a_whole(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "page.html"
    if before is not None:
        path.write_bytes(before)
    write(path)
    assert read(path) == "".join(LINES)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    "content", [b"my thesis", b"\x89PNG\r\n", b"SQLite format 3\0", b"x" * 70_000 + MARK]
)
def test_what_somebody_else_wrote_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine"
    path.write_bytes(content)
    with pytest.raises(errors.UsageError, match="is there already, and batcher did not write it"):
        write(path)
    assert path.read_bytes() == content


def test_through_a_link_the_file_behind_it_is_meant(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "far" / "page.html"
    target.parent.mkdir()
    link.symlink_to(target)
    write(link)
    assert (link.is_symlink(), read(target)) == (True, "".join(LINES))
    target.write_text("my thesis")
    with pytest.raises(errors.UsageError, match="did not write it"):
        write(link)
    assert (link.is_symlink(), read(target)) == (True, "my thesis")


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    write(Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    (tmp_path / "link").symlink_to("/dev/null")
    write(tmp_path / "link")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_device_that_is_full_is_a_disk_error() -> None:
    with pytest.raises(errors.DiskError, match="/dev/full"):
        write(Path("/dev/full"))


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    path, read_there = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read_there.append(read(path)))
    reader.start()
    write(path, patient=True)
    reader.join()
    assert (path.is_fifo(), read_there) == (True, ["".join(LINES)])


def test_nobody_is_waited_for_at_a_pipe_by_who_may_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(errors.DiskError, match="pipe"):
        write(path)
    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(errors.DiskError, match="pipe"):
            write_user_file(path, ["x" * 1_000_000], mark=MARK, patient=False)
    finally:
        os.close(handle)


def test_what_is_no_place_for_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="is a folder"):
        write(tmp_path)
    with pytest.raises(errors.UsageError, match="cannot be a file: No such file"):
        write(tmp_path / "none" / "page.html")
    (tmp_path / "file").touch()
    with pytest.raises(errors.UsageError, match="cannot be a file: Not a directory"):
        write(tmp_path / "file" / "page.html")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(errors.UsageError, match="but a socket"):
            write(tmp_path / "s")
    with pytest.raises(errors.UsageError, match="system's own"):
        write(Path("/dev/page.html"))


@pytest.mark.parametrize(
    ("path", "of_the_system"),
    [
        ("/", True),
        ("/dev", True),
        ("/dev/out", True),
        ("/proc/self/fd", True),
        ("/sys", True),
        ("/dev/shm/out", False),
        ("/devices", False),
        ("/srv/dev", False),
        ("/home/me/out", False),
    ],
)
def test_the_machines_own_folders(path: str, of_the_system: bool) -> None:
    assert is_of_the_system(Path(path)) is of_the_system
