"""One run per job, and the lock of a dead one is nobody's."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from batcher import errors
from batcher.storage import lock


def test_who_holds_it_is_told_to_whoever_comes_second(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock.holder(path) is None
    with lock.hold(path, since="noon"):
        assert f"process {os.getpid()}" in (lock.holder(path) or "")
        with pytest.raises(errors.Locked, match="since noon") as caught, lock.hold(path, since="later"):
            raise AssertionError("it was held")
        assert caught.value.exit_code == 11
        assert "since noon" in (lock.holder(path) or ""), "the second one must not sign it"
    assert lock.holder(path) is None
    with lock.hold(path, since="later"):
        assert "since later" in (lock.holder(path) or "")
        assert "noon" not in path.read_text()


def test_an_error_inside_lets_it_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyError), lock.hold(path, since="noon"):
        raise KeyError
    with lock.hold(path, since="noon"):
        pass


def test_a_reader_that_looks_at_it_is_no_other_run(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    reader = threading.Thread(target=lambda: (time.sleep(0.03), os.close(handle)))
    reader.start()
    with lock.hold(path, since="noon"):
        pass
    reader.join()


def test_a_place_where_no_file_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "lock", tmp_path, tmp_path / "none" / "lock"):
        with pytest.raises(errors.DiskError, match=str(path)), lock.hold(path, since="noon"):
            raise AssertionError("there is no such place")
        assert lock.holder(tmp_path / "none" / "lock") is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("/dev/full")
    with pytest.raises(errors.DiskError, match="lock"), lock.hold(tmp_path / "lock", since="noon"):
        raise AssertionError("it could not be signed")


@pytest.mark.process
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from batcher.storage import lock\n"
        "with lock.hold(Path(sys.argv[1]), since='noon'): print('held', flush=True); time.sleep(60)"
    )
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert f"process {other.pid}" in (lock.holder(path) or "")
        with pytest.raises(errors.Locked, match=f"process {other.pid}"), lock.hold(path, since="later"):
            raise AssertionError("it was held")
        other.kill()
        other.wait()
    with lock.hold(path, since="later"):
        pass


# --- what was taken away


def test_a_holder_notices_when_its_file_is_gone_or_another(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.hold(path, since="noon") as held:
        held.verify()
        path.rename(tmp_path / "aside")
        with pytest.raises(errors.LockLost, match="taken away while this run held it") as caught:
            held.verify()
        assert caught.value.exit_code == 5
        path.touch()
        with pytest.raises(errors.LockLost, match="replaced"):
            held.verify()
        (tmp_path / "aside").replace(path)
        held.verify()
        path.parent.joinpath("lock").unlink()
        path.symlink_to(path)
        with pytest.raises(errors.LockLost, match="cannot be looked at"):
            held.verify()


@pytest.mark.process
def test_a_covered_ledger_keeps_a_second_run_out_although_the_lock_is_gone(tmp_path: Path) -> None:
    path, ledger = tmp_path / "lock", tmp_path / "ledger.sqlite"
    with lock.hold(path, since="noon") as held:
        held.cover(ledger)  # it is not made yet
        sqlite3.connect(ledger).executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (a)")
        held.cover(ledger)
        held.cover(ledger)
        path.unlink()
        with (
            lock.hold(path, since="later") as second,
            pytest.raises(errors.Locked, match="this very process"),
        ):
            second.cover(ledger)
        assert in_another_process(ledger) == "Locked"
    assert in_another_process(ledger) == ""


@pytest.mark.process
def test_a_covered_ledger_is_written_and_read_by_sqlite_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with lock.hold(tmp_path / "lock", since="noon") as held, closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (a)")
        held.cover(path)
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
        program = (
            "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT a FROM t').fetchall())"
        )
        found = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
        )
        assert found.stdout == "[(1,)]\n", found.stderr


def in_another_process(ledger: Path) -> str:
    """The name of the error that a second run meets, or nothing."""
    program = (
        "import sys; from pathlib import Path; from batcher.storage import lock; ledger = Path(sys.argv[1])\n"
        "with lock.hold(ledger.with_name('another'), since='later') as held:\n"
        "    try: held.cover(ledger)\n"
        "    except Exception as error: print(type(error).__name__, end='')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(ledger)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
