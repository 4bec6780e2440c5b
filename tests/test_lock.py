"""One run per job, and the lock of a dead one is nobody's."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from batcher import errors, lock


def test_who_holds_it_is_told_to_whoever_comes_second(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock.holder(path) is None
    with lock.held(path, since="noon"):
        assert f"process {os.getpid()}" in (lock.holder(path) or "")
        with pytest.raises(errors.Locked, match="since noon") as caught, lock.held(path, since="later"):
            raise AssertionError("it was held")
        assert caught.value.exit_code == 11
        assert "since noon" in (lock.holder(path) or ""), "the second one must not sign it"
    assert lock.holder(path) is None
    with lock.held(path, since="later"):
        assert "since later" in (lock.holder(path) or "")
        assert "noon" not in path.read_text()


def test_an_error_inside_lets_it_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyError), lock.held(path, since="noon"):
        raise KeyError
    with lock.held(path, since="noon"):
        pass


def test_a_reader_that_looks_at_it_is_no_other_run(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    reader = threading.Thread(target=lambda: (time.sleep(0.03), os.close(handle)))
    reader.start()
    with lock.held(path, since="noon"):
        pass
    reader.join()


def test_a_place_where_no_file_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "lock", tmp_path, tmp_path / "none" / "lock"):
        with pytest.raises(errors.DiskError, match=str(path)), lock.held(path, since="noon"):
            raise AssertionError("there is no such place")
        assert lock.holder(tmp_path / "none" / "lock") is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("/dev/full")
    with pytest.raises(errors.DiskError, match="lock"), lock.held(tmp_path / "lock", since="noon"):
        raise AssertionError("it could not be signed")


@pytest.mark.process
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from batcher import lock\n"
        "with lock.held(Path(sys.argv[1]), since='noon'): print('held', flush=True); time.sleep(60)"
    )
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert f"process {other.pid}" in (lock.holder(path) or "")
        with pytest.raises(errors.Locked, match=f"process {other.pid}"), lock.held(path, since="later"):
            raise AssertionError("it was held")
        other.kill()
        other.wait()
    with lock.held(path, since="later"):
        pass
