"""The file of an account: what its writes cost those who wait for them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from batcher.ledger.account_file import AccountFile, copy_log


def take(file: AccountFile, number: int) -> None:
    for at in range(number):
        file.take("one", at=at, pace=1.0, late=0.0, spaced=False)


def test_a_slot_is_taken_without_copying_the_log_and_a_thread_copies_it(tmp_path: Path) -> None:
    path = tmp_path / "account.sqlite"
    with closing(AccountFile(path)) as file:
        before = path.read_bytes()
        take(file, 3000)
        assert path.read_bytes() == before, "SQLite copies, and syncs, each 1,000 pages unless it is told"
        copy_log(path)
        assert path.read_bytes() != before
        large = Path(f"{path}-wal").stat().st_size
        take(file, 1)
        assert Path(f"{path}-wal").stat().st_size < large / 100
        assert not file.has_large_log
        assert file.state("two", 4000.0).calls == 3001
