"""A ledger that refuses while answers are in the air: what was paid for is kept, and not paid for again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batcher import errors
from batcher.ledger import answer_file, database, group_commit
from batcher.ledger.answer_file import AnswerFile
from batcher.progress import Event, Message
from batcher.sandbox import Faults, Sandbox, faults
from tests.support.crashing import Crash, dies
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

TASKS = 2
FULL = "database or disk is full"

Refuses = Callable[[int], bool]


class Refusing:
    """A connection that executes nothing more once `refuses`, asked with what has passed, says so."""

    def __init__(self, real: sqlite3.Connection, refuses: Refuses) -> None:
        self._real = real
        self._refuses = refuses
        self._refused = False
        self.passed = 0

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        if statement != "ROLLBACK":
            self._refused = self._refused or self._refuses(self.passed)
            if self._refused:
                raise sqlite3.OperationalError(FULL)
            self.passed += 1
        return self._real.execute(statement, values)


def refusing(refuses: Refuses, made: list[Refusing]) -> type[group_commit.GroupCommit]:
    """A GroupCommit on such a connection: it is refused a statement, be it a COMMIT, and all that follow."""

    class Refused(group_commit.GroupCommit):
        def __init__(self, connection: sqlite3.Connection, *rest: Any) -> None:
            made.append(Refusing(connection, refuses))
            super().__init__(made[-1], *rest)  # type: ignore[arg-type]

    return Refused


async def refused(
    harness: Harness, server: Sandbox, monkeypatch: pytest.MonkeyPatch, refuses: Refuses, api: str = "v2"
) -> int:
    """One run whose ledger refuses; how many statements it had let pass."""
    made: list[Refusing] = []
    with monkeypatch.context() as patch:
        patch.setattr(group_commit, "GroupCommit", refusing(refuses, made))
        with suppress(errors.DiskError):
            await harness.run(server, harness.manifest(TASKS, api=api))
    return made[0].passed


@pytest.mark.parametrize("api", ["v2", "v1"])
async def test_answers_that_take_long_are_awaited_whatever_is_noted_meanwhile(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """The clockwork beside the tasks writes notes every few seconds: a refusal of one ends no answer."""
    slow = [faults.Slow(route="submit", delay=30, calls=[*range(3, 60)])] if api == "v2" else []
    async with sandbox(service=40, sigma=0, faults=Faults(slow)) as server:
        began, full_after = harness.now(), 60.0 if api == "v1" else 20.0
        manifest = harness.manifest(12, api=api, limits={"rpm": 30})
        with monkeypatch.context() as patch:
            refuses = refusing(lambda _: harness.now() - began > full_after, [])
            patch.setattr(group_commit, "GroupCommit", refuses)
            with suppress(errors.DiskError):
                await harness.run(server, manifest)
        assert 0 < len(server.jobs) < 12
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 12, 12)


@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("offset", range(4))
async def test_a_disk_that_fills_up_at_any_write_has_nothing_paid_twice(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, api: str, offset: int
) -> None:
    """Each offset takes every fourth statement, so that the sweep is spread over four tests."""
    at = offset
    while True:
        harness.move_to(f"out-{at}")
        async with sandbox(service=5) as server:
            began = harness.now()
            if await refused(harness, server, monkeypatch, at.__le__, api) < at:
                break
            assert harness.now() - began < 120, "it does not wait for what it cannot record"
            report = await harness.run(server, harness.manifest(TASKS, api=api))
            harness.check(report)
            story = f"refused from statement {at} on"
            assert (report.exit_code, report.counts["done"], report.images) == (0, TASKS, TASKS), story
            assert (server.billed, len(server.jobs), report.cost["doubtful"]) == (TASKS, TASKS, 0), story
            assert not AnswerFile(harness.output / ".batcher" / "ledger.sqlite").path.exists(), story
        at += 4
    assert at > 20


def died(*_: object) -> None:
    raise Crash


def keeps_and_dies(self: AnswerFile, answers: Any) -> None:
    KEEP(self, answers)
    raise Crash


KEEP = AnswerFile.keep


@pytest.mark.parametrize(("dying", "lost"), [(died, True), (keeps_and_dies, False)])
async def test_a_crash_before_they_are_kept_costs_them_and_one_after_it_does_not(
    harness: Harness,
    sandbox: MakeSandbox,
    monkeypatch: pytest.MonkeyPatch,
    dying: Callable[..., None],
    lost: bool,
) -> None:
    async with sandbox(service=5) as server:
        with monkeypatch.context() as patch:
            patch.setattr(AnswerFile, "keep", dying)
            patch.setattr(group_commit, "GroupCommit", refusing(once_accepted(server), []))
            try:
                await harness.run(server, harness.manifest(TASKS))
            except BaseException as error:
                if not dies(error) and not isinstance(error, errors.DiskError):
                    raise
        in_doubt = harness.states()["submitting"]
        assert in_doubt > 0
        report = await harness.run(server, harness.manifest(TASKS))
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, TASKS)
        assert TASKS <= server.billed <= TASKS + (in_doubt if lost else 0)


@pytest.mark.parametrize("before", ["commit", "remove"])
async def test_a_crash_while_they_are_recorded_leaves_them_to_the_next_run(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    async with sandbox(service=5) as server:
        await refused(harness, server, monkeypatch, once_accepted(server))
        assert harness.states()["submitting"] > 0
        kept = AnswerFile(harness.output / ".batcher" / "ledger.sqlite").path.read_bytes()
        with monkeypatch.context() as patch:
            if before == "remove":
                patch.setattr(AnswerFile, "remove", died)
            else:
                patch.setattr("batcher.ledger.ledger.Ledger.submitted", died)
            with pytest.raises(Crash):
                await harness.run(server, harness.manifest(TASKS))
        assert AnswerFile(harness.output / ".batcher" / "ledger.sqlite").path.read_bytes() == kept
        report = await harness.run(server, harness.manifest(TASKS))
        harness.check(report)
        assert (report.exit_code, server.billed, len(server.jobs)) == (0, TASKS, TASKS)


def once_accepted(server: Sandbox) -> Refuses:
    """The server has a job, and the ledger takes no answer of it."""
    return lambda passed: len(server.jobs) > 0


async def test_the_next_run_says_what_it_found(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5) as server:
        await refused(harness, server, monkeypatch, once_accepted(server))
        number = harness.states()["submitting"]
        await harness.run(server, harness.manifest(TASKS), heard.append)
    texts = [event.text for event in heard if isinstance(event, Message)]
    answers = "1 answer" if number == 1 else f"{number} answers"
    assert f"{answers} that the ledger could not take last time: recorded now, and not paid again" in texts


async def test_a_lock_that_somebody_holds_for_long_ends_the_run_and_no_answer_is_lost(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    path = harness.output / ".batcher" / "ledger.sqlite"
    others: list[sqlite3.Connection] = []

    def hold(event: Event) -> None:
        if not others and len(server.jobs) == TASKS:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("PRAGMA busy_timeout=0")
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                other.close()
            else:
                others.append(other)

    async with sandbox(service=5) as server:
        with pytest.raises(errors.DiskError, match="locked"):
            await harness.run(server, harness.manifest(TASKS), hold)
        others[0].close()
        report = await harness.run(server, harness.manifest(TASKS))
        harness.check(report)
        assert (report.exit_code, server.billed, len(server.jobs)) == (0, TASKS, TASKS)


def test_room_for_answers_is_larger_than_what_may_be_in_flight() -> None:
    line = answer_file.Answer("k" * 32, 10**9, 10**9, accepted=None).as_line()
    assert len(line) + 300 < answer_file.RESERVED / 2_000
    assert Path(answer_file.NAME).suffix == ".jsonl"
