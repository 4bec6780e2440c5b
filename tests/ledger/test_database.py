"""The ledger's file: whole or not there, trusted or left alone, and on disk when it says so."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batcher import errors
from batcher.ledger import database
from batcher.ledger.ledger import Ledger
from tests.support.bookkeeping import a_ledger, a_task, first, on_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".batcher" / "ledger.sqlite"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.open_file(path)) as connection:
        yield connection


def prints(folder: Path) -> dict[str, str]:
    """Every file of a folder by its sha256, but the shared memory and the empty WAL that readers leave."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if not file.name.endswith("-shm") and not (file.name.endswith("-wal") and file.stat().st_size == 0)
    }


def make(path: Path) -> None:
    database.open_file(path).close()


# --- creation


def test_it_is_made_with_its_folder_and_marks(path: Path) -> None:
    make(path)
    assert [file.name for file in path.parent.iterdir()] == ["ledger.sqlite"]
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA application_id").fetchone() == (database.APPLICATION_ID,)
        assert raw.execute("PRAGMA user_version").fetchone() == (database.schema_version(),)


def test_every_commit_reaches_the_disk(connection: sqlite3.Connection) -> None:
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


@pytest.mark.parametrize("at", ["install", "replace"])
def test_a_creation_that_is_interrupted_leaves_no_half_ledger(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if at == "replace":
            patch.setattr(os, "replace", killed)
        else:
            patch.setattr(database, "_moves", killed)
        with pytest.raises(Killed):
            database.open_file(path)
    assert not path.exists()
    make(path)
    assert path.exists()


@pytest.mark.parametrize("place", ["a file", "/dev/null/x"])
def test_where_no_file_can_be_made_the_disk_is_blamed(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(errors.DiskError):
        database.open_file(tmp_path / place / "ledger.sqlite")


# --- files that are not to be trusted


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE browser_history (url)")


def newer(path: Path) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA user_version={database.schema_version() + 1}")


def unversioned(path: Path) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version=0")


def truncated(path: Path) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def beheaded(path: Path) -> None:
    make(path)
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def scribbled(path: Path) -> None:
    make(path)
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)


def hollow(path: Path) -> None:
    """Our marks and no table."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA application_id={database.APPLICATION_ID}")
        raw.execute(f"PRAGMA user_version={database.schema_version()}")


WRONG = {
    "foreign": (foreign, "something else"),
    "empty": (lambda path: path.touch(), "something else"),
    "text": (lambda path: path.write_text("dear diary " * 100), "not a ledger|damaged"),
    "newer": (newer, "newer batcher"),
    "unversioned": (unversioned, "damaged"),
    "truncated": (truncated, "damaged"),
    "beheaded": (beheaded, "not a ledger|damaged"),
    "scribbled": (scribbled, "damaged"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_to_be_trusted_is_told_in_one_sentence_and_left_as_it_is(path: Path, case: str) -> None:
    spoil, text = WRONG[case]
    path.parent.mkdir()
    spoil(path)
    before = prints(path.parent)
    with pytest.raises(errors.LedgerError, match=text) as caught:
        database.open_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert prints(path.parent) == before
    if case not in ("truncated", "scribbled"):
        with pytest.raises(errors.LedgerError):
            database.open_for_reading(path)
    assert prints(path.parent) == before


async def test_a_newer_ledger_with_an_open_journal_is_left_as_it_is(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with a_ledger(path, 3) as ledger:
        ledger.group.commit()
        ledger.connection.execute(f"PRAGMA user_version={database.schema_version() + 1}")
        shutil.copytree(path.parent, copy)
    before = prints(copy)
    assert "ledger.sqlite-wal" in before
    with pytest.raises(errors.LedgerError, match="newer"):
        database.open_file(copy / path.name)
    assert prints(copy) == before


async def test_marks_without_tables_are_no_ledger(path: Path) -> None:
    path.parent.mkdir()
    hollow(path)
    with pytest.raises(errors.BatcherError, match="no such table"):
        Ledger(path, now=lambda: 0.0)


def test_a_folder_in_its_place_is_the_disks_fault(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(errors.DiskError):
        database.open_file(path)
    with pytest.raises(errors.DiskError):
        database.open_for_reading(path / "none")


def test_readers_cannot_write(path: Path) -> None:
    make(path)
    with (
        closing(database.open_for_reading(path)) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("INSERT INTO meta VALUES ('a', 'b')")


# --- migration


def test_an_older_ledger_is_brought_forward_step_by_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(path)
    seen: list[int] = []

    def step(number: int) -> database.Migration:
        def migrate(connection: sqlite3.Connection) -> None:
            seen.append(number)
            connection.execute(f"CREATE TABLE new_{number} (a)")

        return migrate

    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version=1")
    monkeypatch.setattr(database, "MIGRATIONS", (step(1), step(2)))
    with closing(database.open_file(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    assert seen == [1, 2]
    make(path)
    assert seen == [1, 2]


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(path)

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (a)")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version=1")
    monkeypatch.setattr(database, "MIGRATIONS", (broken,))
    with pytest.raises(errors.BatcherError):
        database.open_file(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (1,)
        assert raw.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)


# --- commits in groups


async def test_what_is_committed_is_seen_by_others_and_nothing_before(path: Path) -> None:
    with a_ledger(path) as ledger:
        await ledger.committed()
        entry = ledger.submitting(first(ledger), api="v2", reserved=5)
        assert on_disk(path, "SELECT state FROM tasks") == [("planned",)]
        assert on_disk(path, "SELECT count(*) FROM submissions") == [(0,)]
        await ledger.committed()
        assert on_disk(path, "SELECT state FROM tasks") == [("submitting",)]
        assert on_disk(path, "SELECT reserved FROM submissions") == [(5,)]
        assert ledger.entry(entry.id) == entry


async def test_many_writers_share_one_commit(path: Path) -> None:
    with a_ledger(path, 50) as ledger:
        await ledger.committed()
        commits: list[str] = []
        ledger.connection.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)

        async def write(number: int) -> None:
            ledger.submitting(ledger.entry(number), api="v2", reserved=0)
            await ledger.committed()

        await asyncio.gather(*(write(number) for number in range(1, 51)))
        assert len(commits) == 1
        ledger.connection.set_trace_callback(None)
        assert on_disk(path, "SELECT count(*) FROM submissions") == [(50,)]


async def test_who_is_cancelled_while_waiting_keeps_nobody_from_the_disk(path: Path) -> None:
    with a_ledger(path, 2) as ledger:
        await ledger.committed()
        ledger.set_meta("a", "1")
        one, two = asyncio.ensure_future(ledger.committed()), asyncio.ensure_future(ledger.committed())
        await asyncio.sleep(0)
        one.cancel()
        await two
        assert on_disk(path, "SELECT value FROM meta WHERE key = 'a'") == [("1",)]
        assert one.cancelled()


async def test_closing_writes_what_nobody_waited_for(path: Path) -> None:
    with a_ledger(path) as ledger:
        ledger.set_meta("a", "1")
        ledger.count_call("submit")
    assert on_disk(path, "SELECT value FROM meta WHERE key = 'a'") == [("1",)]
    assert on_disk(path, "SELECT kind, n FROM calls") == [("submit", 1)]


def fill_the_disk(ledger: Ledger) -> None:
    """No page more may be added to the file."""
    pages = ledger.connection.execute("PRAGMA page_count").fetchone()[0]
    ledger.connection.execute(f"PRAGMA max_page_count={pages}")


async def test_on_a_full_disk_every_later_write_and_wait_is_told(path: Path) -> None:
    ledger = Ledger(path, now=lambda: 0.0)
    ledger.plan([a_task(0)], "a plan")
    ledger.set_meta("before", "1")
    await ledger.committed()
    fill_the_disk(ledger)
    ledger.set_meta("with it", "1")
    waiting = asyncio.ensure_future(ledger.committed())
    await asyncio.sleep(0)
    with pytest.raises(errors.DiskError, match="full"):
        ledger.set_meta("large", "x" * 1_000_000)
    with pytest.raises(errors.DiskError):
        await waiting
    with pytest.raises(errors.DiskError):
        ledger.set_meta("small", "x")
    with pytest.raises(errors.DiskError):
        await ledger.committed()
    ledger.count_call("submit")
    await asyncio.sleep(5)
    with pytest.raises(errors.DiskError):
        ledger.close()
    assert on_disk(path, "SELECT key FROM meta WHERE key IN ('before', 'with it', 'large', 'small')") == [
        ("before",)
    ]
    with a_ledger(path) as again:
        assert again.meta("before") == "1"


async def test_a_commit_that_fails_is_told_to_all_who_wait_and_to_all_who_come_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path, now=lambda: 0.0)

    class Refusing:
        """The real connection, whose COMMIT the disk refuses."""

        def __init__(self, real: sqlite3.Connection) -> None:
            self._real = real

        @property
        def in_transaction(self) -> bool:
            return self._real.in_transaction

        def execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return self._real.execute(statement, values)

    monkeypatch.setattr(ledger.group, "_connection", Refusing(ledger.connection))
    ledger.set_meta("a", "1")
    ends = await asyncio.gather(*(ledger.committed() for _ in range(3)), return_exceptions=True)
    assert {type(end) for end in ends} == {errors.DiskError}
    with pytest.raises(errors.DiskError, match="I/O"):
        ledger.set_meta("b", "1")
    with pytest.raises(errors.DiskError):
        ledger.close()
    assert on_disk(path, "SELECT count(*) FROM meta") == [(0,)]


async def test_a_killed_process_leaves_a_ledger_that_opens(path: Path, tmp_path: Path) -> None:
    with a_ledger(path, 3) as ledger:
        ledger.submitting(first(ledger), api="v2", reserved=7)
        await ledger.committed()
        ledger.submitting(ledger.entry(2), api="v2", reserved=7)
        shutil.copytree(path.parent, tmp_path / "as killed")
    with a_ledger(tmp_path / "as killed" / path.name) as ledger:
        assert ledger.money.reserved == 7
        assert ledger.mark_interrupted() == 1
        assert ledger.money.doubtful_images == 1
        assert ledger.money.reserved == 0
