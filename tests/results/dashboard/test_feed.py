"""Looking at the ledger on behalf of whoever watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import anyio

from batcher.ledger.ledger import Ledger
from batcher.results.dashboard import feed
from batcher.results.dashboard.feed import LedgerFeed
from tests.support.bookkeeping import ACCEPTED, a_ledger, a_result


def deliver(ledger: Ledger, number: int) -> None:
    """The next planned task, delivered at once."""
    entry = ledger.submitting(ledger.next_planned(0, 1)[0], api="v2", reserved=0)
    entry = ledger.submitted(entry, ACCEPTED)
    entry = ledger.ready(entry, a_result(), [(output, None) for output in a_result().outputs])
    ledger.named(entry, 0, f"{number}.png", f"{number:064x}")
    ledger.delivered(entry, 0, size=1, width=1, height=1)
    ledger.done(entry)


async def test_nobody_watches_and_nothing_is_read(tmp_path: Path, now: Callable[[], float]) -> None:
    with a_ledger(tmp_path / ".batcher" / "ledger.sqlite", now=now):
        watch = LedgerFeed(tmp_path, now=now)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run)
            await asyncio.sleep(60)
            assert (watch.news, watch.figures) == (0, None)
            tasks.cancel_scope.cancel()


async def test_a_watcher_is_told_what_changes_and_nothing_twice(
    tmp_path: Path, now: Callable[[], float]
) -> None:
    with a_ledger(tmp_path / ".batcher" / "ledger.sqlite", 3, now=now) as ledger:
        watch = LedgerFeed(tmp_path, now=now)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run)
            with watch.watched():
                first = await watch.changed(0)
                assert watch.figures is not None
                assert watch.figures["counts"]["planned"] == 3
                assert watch.pictures(0) == []
                deliver(ledger, 7)
                ledger.group.commit()
                second = await watch.changed(first)
                assert watch.figures["counts"]["done"] == 1
                (shown,) = watch.pictures(first)
                assert watch.source(f"{7:064x}") == shown.after[0].source
                assert watch.source("00" * 32) is None
                await asyncio.sleep(30)
                assert watch.news == second
                deliver(ledger, 8)
                ledger.group.commit()
                await watch.changed(second)
                assert [Path(one.after[0].source.path).name for one in watch.pictures(second)] == ["8.png"]
                assert len(watch.pictures(0)) == 2
            tasks.cancel_scope.cancel()


async def test_a_folder_without_a_ledger_is_waited_for(tmp_path: Path, now: Callable[[], float]) -> None:
    watch = LedgerFeed(tmp_path, now=now)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        with watch.watched():
            await asyncio.sleep(10)
            assert (watch.news, watch.figures) == (0, None)
            with a_ledger(tmp_path / ".batcher" / "ledger.sqlite", 3, now=now):
                await watch.changed(0)
                assert watch.figures is not None
        tasks.cancel_scope.cancel()


async def test_a_foreign_ledger_is_told_once_in_a_sentence(tmp_path: Path, now: Callable[[], float]) -> None:
    (tmp_path / ".batcher").mkdir()
    (tmp_path / ".batcher" / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    watch = LedgerFeed(tmp_path, now=now)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        with watch.watched():
            await watch.changed(0)
            await asyncio.sleep(20)
        tasks.cancel_scope.cancel()
    assert watch.news == 1
    assert "ledger.sqlite" in watch.trouble


async def test_it_keeps_no_more_pictures_than_a_page_shows(tmp_path: Path, now: Callable[[], float]) -> None:
    many = feed.LIVE_ROWS + 20
    with a_ledger(tmp_path / ".batcher" / "ledger.sqlite", many, now=now) as ledger:
        watch = LedgerFeed(tmp_path, now=now)
        with watch.watched():
            for number in range(many):
                deliver(ledger, number)
                if number % 50 == 0:
                    ledger.group.commit()
                    await watch.look()
            ledger.group.commit()
            await watch.look()
        assert len(watch.pictures(0)) == feed.LIVE_ROWS
        assert watch.source(f"{many - 1:064x}") is not None
        assert watch.source(f"{0:064x}") is None


async def test_the_last_look_sees_how_it_ended(tmp_path: Path, now: Callable[[], float]) -> None:
    with a_ledger(tmp_path / ".batcher" / "ledger.sqlite", 1, now=now) as ledger:
        watch = LedgerFeed(tmp_path, now=now)
        with watch.watched():
            await watch.look()
            deliver(ledger, 1)
            ledger.group.commit()
            await watch.end()
        assert watch.ended
        assert watch.figures is not None
        assert watch.figures["state"] == "finished"
