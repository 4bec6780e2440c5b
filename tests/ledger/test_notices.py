"""What is news, and what a person has seen of it."""

from __future__ import annotations

from pathlib import Path

from batcher.ledger import notices
from batcher.ledger.last_run import LastRun
from batcher.ledger.ledger import Ledger
from batcher.ledger.retry_failed import retry
from batcher.task import Task
from tests.support.bookkeeping import a_task

NONE = dict.fromkeys(notices.KINDS, 0)


def a_night(path: Path, *tasks: Task) -> Ledger:
    """A ledger whose tasks all failed, and whose plan left a row out."""
    ledger = Ledger(path, now=lambda: 1000.0)
    ledger.plan(tasks, "")
    ledger.start_run()
    with ledger._at_once() as connection:
        connection.execute("INSERT INTO left_out (file, line, reason) VALUES ('in/t.csv', 3, 'is empty')")
    fail(ledger)
    return ledger


def fail(ledger: Ledger) -> None:
    """Every planned task fails."""
    for entry in ledger.next_planned(0, 100):
        ledger.failed(entry, "FAILED: no")
    ledger.group.commit()


def news(ledger: Ledger) -> dict[str, int]:
    return ledger.read(notices.count).news


async def test_what_a_run_has_told_at_its_end_is_no_news_for_the_next(tmp_path: Path) -> None:
    ledger = a_night(tmp_path / "l.sqlite", a_task(1), a_task(2))
    assert news(ledger) == NONE | {"failed": 2, "left_out": 1}
    ledger.end_start(LastRun(3, news=news(ledger)))
    assert news(ledger) == NONE
    assert ledger.read(notices.count).unseen == NONE | {"failed": 2, "left_out": 1}


async def test_what_a_run_that_was_cut_off_would_have_told_is_the_next_ones_news(tmp_path: Path) -> None:
    ledger = a_night(tmp_path / "l.sqlite", a_task(1))
    for code in (5, 130, 143, 1):
        ledger.end_start(LastRun(code))
        assert news(ledger) == NONE | {"failed": 1, "left_out": 1}


async def test_what_fails_again_after_a_retry_is_news_again_and_counts_again(tmp_path: Path) -> None:
    ledger = a_night(tmp_path / "l.sqlite", a_task(1), a_task(2))
    ledger.end_start(LastRun(3))
    notices.acknowledge(ledger.connection, now=1.0)
    assert ledger.read(notices.count).unseen == NONE
    retry(ledger.connection, only=a_task(1).name)
    ledger.recount()
    fail(ledger)
    assert news(ledger) == ledger.read(notices.count).unseen == NONE | {"failed": 1}


async def test_only_what_fits_is_acknowledged_and_the_reason_is_kept(tmp_path: Path) -> None:
    ledger = a_night(tmp_path / "l.sqlite", a_task(1), a_task(2))
    acked = notices.acknowledge(ledger.connection, now=7.0, reason="not ours", only="*.csv")
    assert acked == NONE | {"left_out": 1}
    assert notices.acknowledge(ledger.connection, now=8.0, only=a_task(2).name) == NONE | {"failed": 1}
    assert notices.acknowledge(ledger.connection, now=9.0, only="nothing") == NONE
    assert ledger.read(notices.count).unseen == NONE | {"failed": 1}
    assert ledger.read(notices.count).acked == 2
    kept = ledger.connection.execute("SELECT acked_at, reason FROM row_notices").fetchall()
    assert kept == [(7.0, "not ours")]


async def test_a_row_that_is_mended_and_breaks_again_is_news_again(tmp_path: Path) -> None:
    ledger = a_night(tmp_path / "l.sqlite", a_task(1))
    ledger.end_start(LastRun(3))
    row = ledger.connection.execute("SELECT file, line, reason FROM left_out").fetchone()
    with ledger._at_once() as connection:
        connection.execute("DELETE FROM left_out")
    ledger.end_start(LastRun(3))
    with ledger._at_once() as connection:
        connection.execute("INSERT INTO left_out (file, line, reason) VALUES (?, ?, ?)", row)
    assert news(ledger) == NONE | {"left_out": 1}
