"""`batcher status`: how the last run ended, in the words of `batcher jobs`."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import anyio
import pytest

from batcher.cli import ended
from batcher.ledger import last_run
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


class Looks:
    """What `status` and `jobs` say of a job."""

    def __init__(self, job: Harness, capsys: pytest.CaptureFixture[str]) -> None:
        self._job = job
        self._capsys = capsys

    def said(self, *arguments: str) -> str:
        self._capsys.readouterr()
        assert ended([*arguments]) == 0
        return self._capsys.readouterr().out

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.said("status", str(self._job.output), "--json"))
        return told

    def last_end(self) -> str | None:
        """Of `status`; None: it has no such line."""
        found = re.search("^last end +(.+)$", self.said("status", str(self._job.output)), re.MULTILINE)
        return found and found[1]


@pytest.fixture
def looks(
    harness: Harness,
    now: Callable[[], float],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Looks:
    """By the clock of the test, with its key in the environment."""
    monkeypatch.setattr(time, "time", now)
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    return Looks(harness, capsys)


async def test_status_says_in_the_words_of_jobs_why_the_last_run_stopped(
    harness: Harness, sandbox: MakeSandbox, looks: Looks
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(8, limits={"max_cost": 0.03}))
        await anyio.sleep(8 * 3600)
        told = looks.status()
        (listed,) = json.loads(looks.said("jobs", "--base-url", server.url, "--json"))["jobs"]
        keys = ("exit_code", "causes", "ended_at")
        assert [told[key] for key in keys] == [listed[key] for key in keys]
        assert (told["state"], told["exit_code"]) == ("idle", 4)
        end = looks.last_end()
        assert end is not None
        assert re.match(r"2026-01-05 12:00 UTC, exit code 4: .*max_cost", end)
        assert end in looks.said("jobs", "--base-url", server.url)


async def test_while_a_run_goes_on_nothing_is_said_of_an_end(
    harness: Harness, sandbox: MakeSandbox, looks: Looks
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(8), limit=1)
        assert looks.status()["exit_code"] == 0
        async with anyio.create_task_group() as beside:
            beside.start_soon(harness.run, server, harness.manifest(8))
            await anyio.sleep(2)
            told = looks.status()
            assert (told["state"], told["exit_code"], told["ended_at"]) == ("running", None, None)
            assert looks.last_end() is None


async def test_a_run_that_was_killed_ended_without_a_word(
    harness: Harness, sandbox: MakeSandbox, looks: Looks
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(8), limit=1)
    with closing(sqlite3.connect(harness.output / ".batcher" / "ledger.sqlite")) as ledger:
        note(ledger, last_run.STILL_RUNNING)
        told = looks.status()
        assert (told["exit_code"], told["causes"], told["ended_at"]) == (None, [], None)
        assert looks.last_end() == "without a word (killed, or the machine was)"
        # As an earlier version noted it.
        note(ledger, json.dumps({"exit_code": 10, "causes": ["time is over"]}))
        assert looks.last_end() == "exit code 10: time is over"


def note(ledger: sqlite3.Connection, text: str) -> None:
    ledger.execute("UPDATE meta SET value = ? WHERE key = ?", (text, last_run.KEY))
    ledger.commit()
