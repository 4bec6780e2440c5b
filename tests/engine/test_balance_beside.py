"""The account's balance at the end of a run that had others beside it on this machine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial

import anyio
import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine.balance_check import OthersSpan, others_between
from batcher.ledger.account_file import Amounts
from batcher.progress import Event, Message
from batcher.sandbox import Sandbox
from batcher.shard import Shard
from batcher.storage import user_state
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


@pytest.mark.parametrize(
    ("before", "after", "span"),
    [
        pytest.param({}, {}, OthersSpan(), id="nobody beside"),
        pytest.param({"a": Amounts(5, 2, 1)}, {"a": Amounts(9, 3, 1)}, OthersSpan(2, 4, 7), id="in flight"),
        pytest.param({"a": Amounts(5, 0, 2)}, {"a": Amounts(7, 0, 0)}, OthersSpan(0, 2, 2), id="found again"),
        pytest.param({}, {"a": Amounts(9, 1, 1)}, OthersSpan(0, 9, 11), id="not known before"),
        pytest.param(None, {"a": Amounts(9)}, None, id="not known at the opening"),
        pytest.param({"a": Amounts(5)}, None, None, id="not known at the end"),
        pytest.param({"a": Amounts(5)}, {"b": Amounts(9)}, None, id="another file"),
    ],
)
def test_what_others_were_billed_between_two_looks(
    before: dict[str, Amounts] | None, after: dict[str, Amounts] | None, span: OthersSpan | None
) -> None:
    assert others_between(before, after) == span


class Pair:
    """Two jobs of an account side by side, and what each said of the balance."""

    def __init__(self, harness: Harness) -> None:
        self.jobs = [Harness(harness.folder / name, harness.now) for name in ("one", "two")]
        self.said: list[list[str]] = [[], []]
        for job in self.jobs:
            job.folder.mkdir()

    async def run(self, server: Sandbox, number: int, tasks: int) -> None:
        heard: list[Event] = []
        job = self.jobs[number]
        report = await job.run(server, job.manifest(tasks), heard.append, pay_again=True)
        assert report.exit_code == 0
        self.said[number] += [e.text for e in heard if isinstance(e, Message) and "balance" in e.text]


async def test_two_jobs_at_once_raise_no_alarm(harness: Harness, sandbox: MakeSandbox) -> None:
    pair = Pair(harness)
    async with sandbox(service=5, price=0.01) as server:
        async with anyio.create_task_group() as both:
            both.start_soon(pair.run, server, 0, 12)
            await anyio.sleep(2)
            both.start_soon(pair.run, server, 1, 20)
        await pair.run(server, 0, 14)
    assert pair.said == [[], []]


async def test_what_neither_of_them_spent_is_told_beside_what_both_did(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    pair = Pair(harness)
    teammate = Harness(harness.folder / "teammate", harness.now)
    teammate.folder.mkdir()
    async with sandbox(service=5, price=0.01) as server, anyio.create_task_group() as all_three:
        all_three.start_soon(pair.run, server, 1, 3)
        await anyio.sleep(1)
        # A share is not in the account's file, as a teammate's run is not.
        run = partial(teammate.run, server, teammate.manifest(5), shard=Shard(1, 1), pay_again=True)
        all_three.start_soon(run)
        await pair.run(server, 0, 20)
    (text,) = pair.said[0]
    assert "fell by 0.28 credits while this run spent 0.20, and the other jobs of this machine 0.03" in text
    assert "another run or a teammate on this account" in text


async def test_where_the_file_cannot_be_had_nothing_is_taken_off(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    pair = Pair(harness)
    async with sandbox(service=5, price=0.01) as server:
        await pair.run(server, 0, 1)
        path = user_state.account_path(Account(Endpoints(server.url, server.url, server.url), KEY).name)
        async with anyio.create_task_group() as both:
            both.start_soon(pair.run, server, 1, 8)
            both.start_soon(pair.run, server, 0, 9)
            await anyio.sleep(3)
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA user_version = 99")
                connection.execute("DROP TABLE jobs")
                connection.commit()
    assert any("another run or a teammate on this account" in text for said in pair.said for text in said)
