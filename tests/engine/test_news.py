"""Night after night: what is news is told once, and what a person has seen ends no night with 3."""

from __future__ import annotations

import csv

import pytest

from batcher.cli import ended
from batcher.ledger.notices import KINDS
from batcher.progress import Event, Finished
from batcher.progress.closing_text import closing
from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

NONE = dict.fromkeys(KINDS, 0)


def inbox(harness: Harness, *prompts: str) -> None:
    with open(harness.folder / "inbox.csv", "w", newline="") as file:
        csv.writer(file).writerows([("place",), *((prompt,) for prompt in prompts)])


async def test_one_refused_picture_of_a_night_is_news_in_that_night_alone(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Faults([faults.Failed(calls=[2])])
    heard: list[Event] = []
    async with sandbox(faults=script) as server:

        async def night(*prompts: str) -> tuple[int, dict[str, int]]:
            inbox(harness, *prompts)
            job = harness.manifest(inputs=[{"table": "inbox.csv"}], limits={"in_flight": 1})
            report = await harness.run(server, job, heard.append)
            assert report.as_json()["news"] == report.news
            return report.exit_code, dict(report.news)

        assert await night("a", "b") == (3, NONE | {"failed": 1})
        assert await night("a", "b", "c") == (3, NONE)
        finished = heard[-1]
        assert isinstance(finished, Finished)
        (line,) = [line.text for line in closing(finished, command="batcher run j") if line.label == "news"]
        assert line.startswith("nothing of this came up in this run; 1 was told of before")
        assert await night("a", "b", "c", "") == (3, NONE), "a row without any value is no row"
        assert await ended_in_thread(["ack", str(harness.output), "--reason", "seen"]) == 0
        assert await night("a", "b", "c", "d") == (0, NONE)
    assert "1 failed: acknowledged" in capsys.readouterr().out
    (line,) = harness.lines("errors.jsonl")
    assert line["state"] == "failed", "the records keep it"


async def ended_in_thread(arguments: list[str]) -> int:
    import asyncio

    return await asyncio.to_thread(ended, arguments)


async def test_a_start_that_was_killed_leaves_its_news_to_the_next(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    refused = faults.Status(route="submit", code=410, calls=[3])
    script = Faults([faults.Failed(calls=[1]), refused])
    async with sandbox(faults=script) as server:
        job = harness.manifest(4, limits={"in_flight": 1})
        first = await harness.run(server, job)
        assert (first.exit_code, first.news["failed"]) == (5, 1)
        second = await harness.run(server, job)
        assert (second.exit_code, second.news["failed"]) == (3, 1)
