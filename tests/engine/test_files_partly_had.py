"""Several pictures of one result, each at a link of its own, of which some cannot be had: the others are, and
the end of the links takes nothing that was there to be had."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import RunOptions, run
from batcher.results import review
from batcher.results.report import Report
from tests.support.crashing import dying
from tests.support.foreign import Foreign
from tests.support.harness import KEY, Harness
from tests.support.linked_results import GOOD, REJECTS, WARNS, Links, asked, spooled
from tests.support.pictures import plain_picture

BLANK = plain_picture(38, 23)


class LaterGone(Links):
    """From the second run on other links lead nowhere."""

    def __init__(self, gone: tuple[int, ...], later: tuple[int, ...]) -> None:
        super().__init__(gone=gone)
        self.later = later

    def begins(self, run: int, harness: Harness) -> None:
        if run:
            self.gone = self.later


@pytest.mark.parametrize("checks", [WARNS, REJECTS], ids=["warned", "rejected"])
@pytest.mark.parametrize("damaged", [(0,), (1,), (2,), (0, 2)], ids=str)
async def test_what_is_no_picture_at_every_try_is_left_out_of_its_result(
    harness: Harness, damaged: tuple[int, ...], checks: dict[str, Any]
) -> None:
    served = Links(damaged=damaged)
    first, second = await served.serve(harness, 1, runs=2, **asked(**checks))
    for report in (first, second):
        assert report.counts["done"] == 1
        assert [reason.partition(":")[0] for reason in report.failures] == ["SHORTFALL"]
        assert report.images == len(harness.lines("metadata.jsonl")) == 3 - len(damaged)
    assert (first.exit_code, served.submits) == (3, 1)
    (line,) = harness.lines("errors.jsonl")
    assert line["detail"].startswith("a picture of its result is left out: UNDECODABLE")
    assert spooled(harness) == []


async def test_where_none_is_a_picture_it_fails(harness: Harness) -> None:
    served = Links(damaged=(0, 1, 2))
    (report,) = await served.serve(harness, 1, **asked())
    assert (report.exit_code, report.counts["failed"], served.submits) == (3, 1, 1)


async def test_the_one_that_is_left_of_a_result_keeps_its_number_whoever_sets_it_aside(
    harness: Harness,
) -> None:
    await Links(damaged=(0, 1)).serve(harness, 1, **asked())
    review.reject(harness.output, ["place 0"], reason="dull", now=harness.now)
    assert harness.pictures("rejected") == ["place 0-2.png"]
    review.keep(harness.output, ["place 0"], now=harness.now)
    assert harness.pictures() == ["place 0-2.png"]


@pytest.mark.parametrize("checks", [WARNS, REJECTS], ids=["warned", "rejected"])
@pytest.mark.parametrize("gone", [(0,), (1,), (0, 2)], ids=str)
async def test_a_link_that_leads_nowhere_keeps_no_other_picture_waiting(
    harness: Harness, gone: tuple[int, ...], checks: dict[str, Any]
) -> None:
    """The missing come when their links lead to them again; by then those of the others are gone."""
    others = tuple(n for n in range(3) if n not in gone)
    served = LaterGone(gone, others)
    first, second = await served.serve(harness, 1, runs=2, **asked(**checks))
    assert (first.exit_code, first.counts["ready"]) == (5, 1)
    assert (second.exit_code, second.counts["done"], second.images) == (0, 1, 3)
    assert served.submits == 1
    assert spooled(harness) == []
    assert [path.read_bytes() for path in sorted((harness.output / "images").iterdir())] == GOOD


async def test_what_was_delivered_before_a_check_could_reject_is_set_aside_with_its_result(
    harness: Harness,
) -> None:
    """The manifest learned to reject while the result waited for a link of its own."""

    class Blank(Links):
        def file(self, path: str) -> Any:
            return BLANK if path.endswith("-1.png") and not self.gone else super().file(path)

    served = Blank(gone=(1,))
    async with Foreign(served) as served.server:
        served.url = served.server.url
        account = Account(Endpoints(served.url, served.url, served.url), KEY)
        await run(harness.manifest(1, **asked()), account=account, options=RunOptions(), now=harness.now)
        assert len(harness.pictures()) == 2
        served.gone = ()
        job = harness.manifest(1, **asked(**REJECTS))
        report = await run(job, account=account, options=RunOptions(), now=harness.now)
    harness.check(report)
    assert (report.counts["rejected"], served.submits) == (1, 1)
    assert harness.pictures("rejected") == [f"place 0-{n}.png" for n in range(3)]
    assert harness.pictures() == []


async def test_pictures_that_cannot_be_judged_wait_here_and_not_at_the_file_host(harness: Harness) -> None:
    judge = harness.folder / "judge.py"

    class Judged(LaterGone):
        def begins(self, run: int, harness: Harness) -> None:
            super().begins(run, harness)
            judge.write_text(f"import sys; sys.exit({0 if run else 7})")

    served = Judged((), (0, 1, 2))
    command = [sys.executable, str(judge)]
    first, second = await served.serve(harness, 1, runs=2, **asked(checks={"command": command}))
    assert (first.exit_code, first.counts["ready"]) == (5, 1)
    assert (second.exit_code, second.counts["done"], second.images) == (0, 1, 3)
    assert (served.submits, spooled(harness)) == (1, [])


async def crashed_and_resumed(harness: Harness, served: Links, at: int) -> Report | None:
    """A run beside a link that leads nowhere, which dies at that point; the same command; and again when that
    link leads to its picture. None: it did not come so far."""
    async with Foreign(served) as served.server:
        served.url = served.server.url
        account = Account(Endpoints(served.url, served.url, served.url), KEY)
        job = harness.manifest(1, **asked(retry={"doubtful": "hold", "attempts": 2}, **REJECTS))
        with dying(at) as points:
            await run(job, account=account, options=RunOptions(), now=harness.now)
        if not points.dead:
            return None
        await run(job, account=account, options=RunOptions(), now=harness.now)
        served.gone = ()
        return await run(job, account=account, options=RunOptions(), now=harness.now)


async def test_a_crash_anywhere_leaves_each_picture_once(harness: Harness) -> None:
    at = 0
    while True:
        harness.move_to(f"out-{at}")
        served = Links(gone=(1,))
        report = await crashed_and_resumed(harness, served, at)
        if report is None:
            break
        story = f"killed at point {at}: {report.counts}"
        held = report.counts["doubtful"]
        assert (report.counts["done"] + held, served.submits) in ((1, 1), (1, 0 if held else 1)), story
        if not held:
            assert len(harness.pictures()) == len(harness.lines("metadata.jsonl")) == 3, story
        at += 1
    assert at > 15
