"""Several pictures inside one answer, some of them damaged: the others are delivered, with their metadata
lines, and nothing is paid for again."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import RunOptions, run
from batcher.results.export import ExportOptions, export
from batcher.results.report import Report
from tests.support.crashing import dying
from tests.support.foreign import Foreign
from tests.support.harness import KEY, Harness
from tests.support.pictures import noisy_picture
from tests.support.scripted_api import Api

GOOD = [b64encode(noisy_picture(size=(37 + n, 23))).decode() for n in range(3)]
ASKED: dict[str, Any] = {"model": "sd1.5-img2img", "unchecked": ["samples"]}


class Partly(Api):
    """Each result has so many pictures, as base64, of which some are cut in half."""

    def __init__(self, pictures: int, *damaged: int) -> None:
        super().__init__()
        self.pictures = [
            picture[: len(picture) // 8 * 4] if n in damaged else picture
            for n, picture in enumerate(GOOD[:pictures])
        ]

    def submitted(self, number: int) -> Any:
        if "/v1/" in self.asked[-1]:
            return {"images": self.pictures}
        return super().submitted(number)

    def told(self, path: str) -> Any:
        return super().told(path) | {"output": self.pictures}


def asked(samples: int, api: str, **more: Any) -> dict[str, Any]:
    return {**ASKED, "api": api, "params": {"samples": samples}, **more}


@pytest.mark.parametrize("checks", [{}, {"checks": {"blank": "reject"}}], ids=["warned", "rejected"])
@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("damaged", [(0,), (1,), (0, 2)], ids=str)
async def test_the_whole_ones_are_delivered_and_the_damaged_told_as_missing(
    harness: Harness, api: str, damaged: tuple[int, ...], checks: dict[str, Any]
) -> None:
    asking = asked(3, api, retry={"attempts": 1}, **checks)
    first, second = await (served := Partly(3, *damaged)).serve(harness, 1, runs=2, **asking)
    for report in (first, second):
        assert report.counts["done"] == 1
        assert [reason.partition(":")[0] for reason in report.failures] == ["SHORTFALL"]
        assert report.images == len(harness.lines("metadata.jsonl")) == 3 - len(damaged)
    assert (first.exit_code, served.submits) == (3, 1)
    (line,) = harness.lines("errors.jsonl")
    assert line["detail"].startswith(f"{len(damaged)} of 3 pictures came damaged: their bytes")
    kept = sorted((harness.output / ".batcher" / "spool").iterdir())
    assert [path.name for path in kept] == [f"1-{position}.bytes" for position in damaged]
    made = export(harness.output, ExportOptions(to="imagefolder", into=harness.folder / "set"))
    assert (made.pictures, made.missing) == (3 - len(damaged), ())


@pytest.mark.parametrize("api", ["v2", "v1"])
async def test_where_all_are_damaged_it_fails(harness: Harness, api: str) -> None:
    served = Partly(2, 0, 1)
    (report,) = await served.serve(harness, 1, **asked(2, api))
    assert (report.exit_code, report.counts["failed"], served.submits) == (3, 1, 1)
    assert "spool" in harness.lines("errors.jsonl")[0]["detail"]


async def resumed(harness: Harness, served: Partly, api: str, at: int, *, samples: int = 2) -> Report | None:
    """A run that dies at that point, and the same command; None: it did not come so far."""
    async with Foreign(served) as served.server:
        served.url = served.server.url
        account = Account(Endpoints(served.url, served.url, served.url), KEY)
        job = harness.manifest(1, **asked(samples, api, retry={"doubtful": "hold"}))
        with dying(at) as points:
            await run(job, account=account, options=RunOptions(), now=harness.now)
        if not points.dead:
            return None
        return await run(job, account=account, options=RunOptions(), now=harness.now)


@pytest.mark.parametrize("api", ["v2", "v1"])
async def test_a_crash_anywhere_loses_no_whole_picture_and_pays_for_none_again(
    harness: Harness, api: str
) -> None:
    """Only what was in the air is held: nobody knows whether it was paid for."""
    at = 0
    while True:
        harness.move_to(f"out-{at}")
        served = Partly(2, 1)
        report = await resumed(harness, served, api, at)
        if report is None:
            break
        story = f"killed at point {at}: {report.counts}"
        held = report.counts["doubtful"]
        assert (report.counts["done"] + held, served.submits) in ((1, 1), (1, 0 if held else 1)), story
        if not held:
            assert [line["file_name"] for line in harness.lines("metadata.jsonl")] == [
                f"images/{name}" for name in harness.pictures()
            ], story
            assert len(harness.pictures()) == 1, story
        at += 1
    assert at > 15


@pytest.mark.parametrize("asked_for", [1, 3])
async def test_a_crash_anywhere_loses_none_of_an_answer_with_other_than_was_asked_for(
    harness: Harness, asked_for: int
) -> None:
    """A v1 answer comes once. Of what lies in the spool none is left there, nor paid for again, because it is
    more, or less, than was asked for."""
    at = 0
    while True:
        harness.move_to(f"out-{at}")
        served = Partly(2)
        report = await resumed(harness, served, "v1", at, samples=asked_for)
        if report is None:
            break
        story = f"killed at point {at}: {report.counts}"
        spooled = {path.name for path in (harness.output / ".batcher" / "spool").iterdir()}
        if report.counts["doubtful"]:
            assert "1-0.bytes" not in spooled, story
        else:
            assert (report.counts["done"], len(harness.pictures()), served.submits) == (1, 2, 1), story
            assert not spooled, story
        at += 1
    assert at > 5
