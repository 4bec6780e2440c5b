"""`audit --adopt` brings a paid picture home to a task that failed meanwhile, whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import anyio
import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import audit
from batcher.ledger import adoption, database
from batcher.ledger.notices import acknowledge
from batcher.results.audit import Audit, Orphan
from batcher.sandbox import Faults, Sandbox, faults
from tests.support.harness import KEY, Harness
from tests.support.in_flight import left_in_flight
from tests.support.sandboxes import MakeSandbox

DAY = 86_400.0
LOST = faults.Cut(route="submit", calls=[2], accepted=True)


async def adopted(harness: Harness, server: Sandbox, *, adopt: bool = True) -> tuple[Audit, list[Orphan]]:
    account = Account(Endpoints(server.url, server.url, server.url), KEY)
    return await audit(harness.output, adopt=adopt, warn=lambda text: None, account=account, now=harness.now)


@pytest.mark.parametrize(
    ("script", "attempts", "outcomes"),
    [
        # Its last attempt was the one whose answer was lost.
        ([LOST], 1, {"completed": 3}),
        # It was submitted once more, and that ran and failed, or was refused.
        ([LOST, faults.Failed(calls=[4])], 5, {"completed": 3, "failed": 1}),
        ([LOST, faults.Status(route="submit", code=400, calls=[4])], 5, {"completed": 3, "refused": 1}),
        # A gateway took it, and denied it, and so for each attempt.
        ([faults.Status(route="submit", code=502, accepted=True, calls=[2])], 1, {"completed": 3}),
    ],
)
async def test_a_failed_task_takes_the_picture_of_an_answer_that_was_lost(
    harness: Harness,
    sandbox: MakeSandbox,
    script: list[faults.Fault],
    attempts: int,
    outcomes: dict[str, int],
) -> None:
    job: dict[str, Any] = {"retry": {"attempts": attempts}, "limits": {"in_flight": 3}}
    async with sandbox(service=5, price=0.01, faults=Faults(script)) as server:
        report = await harness.run(server, harness.manifest(3, **job))
        assert (report.exit_code, report.counts["done"], report.counts["failed"]) == (3, 2, 1)
        found, taken = await adopted(harness, server)
        assert (len(found.orphans), len(taken), found.unexplained) == (1, 1, 0)
        assert harness.states() == {"done": 2, "ready": 1}
        report = await harness.run(server, harness.manifest(3, **job))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)
        assert harness.outcomes() == outcomes
        assert report.cost["spent"] == round(server.spent, 6)
        again, taken = await adopted(harness, server)
        assert (again.exit_code, again.delivered.requests, taken) == (0, 3, [])


async def test_a_task_that_failed_because_its_record_was_gone_takes_what_the_history_tells_later(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    late = faults.LateRows(delay=4 * 3600)
    async with sandbox(service=5, price=0.01, faults=Faults([late])) as server:
        await left_in_flight(harness, server, 3)
        await anyio.sleep(2 * 3600)
        job = harness.manifest(3, retry={"expired": "fail"})
        report = await harness.run(server, job)
        assert (report.counts["failed"], harness.outcomes()) == (3, {"lost": 3})
        await anyio.sleep(4 * 3600)
        found, taken = await adopted(harness, server)
        assert (found.exit_code, found.orphans, len(taken)) == (0, [], 3)
        report = await harness.run(server, job)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)
        assert (report.cost["lost"], report.cost["spent"]) == (0, 0.03)


async def test_files_that_came_by_these_links_and_were_no_pictures_are_not_taken_once_more(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    broken = faults.Truncated(route="download")
    async with sandbox(service=5, price=0.01, faults=Faults([broken])) as server:
        report = await harness.run(server, harness.manifest(2))
        assert report.counts["failed"] == 2
        found, taken = await adopted(harness, server)
    assert (found.exit_code, found.missed, taken) == (0, [], [])
    assert harness.states() == {"failed": 2}


async def test_what_is_too_old_to_have_its_file_is_left_as_it_is(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01, faults=Faults([LOST])) as server:
        await harness.run(server, harness.manifest(3, retry={"attempts": 1}))
        await anyio.sleep(7 * DAY + 3700)
        found, taken = await adopted(harness, server)
    assert (len(found.orphans), taken) == (1, [])
    assert harness.states() == {"done": 2, "failed": 1}


async def test_a_rejected_picture_stays_what_it_is(harness: Harness, sandbox: MakeSandbox) -> None:
    """It was paid for twice: both are explained, and neither takes the other's place."""
    job: dict[str, Any] = {"checks": {"command": ["false"]}}
    async with sandbox(service=5, price=0.01, faults=Faults([LOST])) as server:
        await harness.run(server, harness.manifest(3, **job))
        assert harness.states() == {"rejected": 3}
        found, taken = await adopted(harness, server)
    assert (len(found.orphans), found.rejected.requests, found.unexplained, taken) == (1, 3, 0, [])
    assert harness.states() == {"rejected": 3}


async def test_a_crash_at_any_word_of_it_leaves_the_task_failed_and_the_next_time_takes_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01, faults=Faults([LOST])) as server:
        await harness.run(server, harness.manifest(3, retry={"attempts": 1}))
        found, _ = await adopted(harness, server, adopt=False)
    (orphan,) = found.orphans
    path = harness.output / ".batcher" / "ledger.sqlite"
    with closing(database.open_file(path)) as connection:
        acknowledge(connection, now=harness.now(), reason="seen")
    asked = (orphan.submission.task, orphan.submission.id, orphan.request_id, orphan.cost, orphan.urls)
    for words in range(1, 99):
        dying = Dying(words)
        with closing(database.open_file(path)) as connection:
            if dying.survives(lambda mortal: adoption.adopt(mortal, *asked, harness.now()), connection):
                break
        assert harness.states() == {"done": 2, "failed": 1}
        assert harness.outcomes() == {"completed": 2, "doubtful": 1}
        assert harness.rows("SELECT count(*) FROM task_notices") == [(1,)]
    assert words > 6
    assert harness.states() == {"done": 2, "ready": 1}
    assert harness.outcomes() == {"completed": 3}
    assert harness.rows("SELECT count(*) FROM task_notices") == [(0,)]


class Dying:
    """A process that dies before its n-th word to the ledger: nobody is left to take anything back."""

    def __init__(self, words: int) -> None:
        self._words = words

    def survives(self, deed: Callable[[Any], bool], connection: sqlite3.Connection) -> bool:
        try:
            return deed(_Mortal(connection, self._words))
        except _Dead:
            return False


class _Dead(BaseException):
    pass


class _Mortal:
    def __init__(self, connection: sqlite3.Connection, words: int) -> None:
        self._connection = connection
        self._left = words

    in_transaction = False

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._left -= 1
        if self._left < 0:
            raise _Dead
        return self._connection.execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._left -= 1
        if self._left < 0:
            raise _Dead
        return self._connection.executemany(*arguments)
