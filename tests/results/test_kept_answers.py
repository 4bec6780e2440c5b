"""verify knows the answers that were kept: whose each is, and the pictures that lie in them after all."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import RunOptions, repair, run
from batcher.ledger import database
from batcher.ledger.retry_failed import retry
from batcher.results.report import Report
from batcher.results.verify import CheckResult, RepairResult, check_output
from batcher.storage.download import OutputFolder
from tests.support.foreign import Foreign
from tests.support.harness import KEY, Harness
from tests.support.pictures import noisy_picture
from tests.support.scripted_api import PNG, Api

JOB: dict[str, Any] = {"limits": {"in_flight": 1}}


class Odd(Api):
    """The first submit is answered by `said`, or its result holds no picture."""

    def __init__(self, harness: Harness, api: str, said: Any) -> None:
        super().__init__()
        self._harness = harness
        self._api = api
        self._said = said

    def submitted(self, number: int) -> Any:
        if self._api == "v1":
            return self._said if number == 1 else PNG
        return super().submitted(number)

    def told(self, path: str) -> Any:
        if path == "/v2/requests/1":
            return {"status": "COMPLETED", "output": None, "metrics": {"cost": 0.01}} | self._said
        return super().told(path)

    @property
    def account(self) -> Account:
        return Account(Endpoints(self.url, self.url, self.url), KEY)

    async def run(self) -> Report:
        job = self._harness.manifest(2, api=self._api, **JOB)
        return await run(job, account=self.account, options=RunOptions(), now=self._harness.now)

    async def mended(self) -> RepairResult:
        job = self._harness.manifest(2, api=self._api, **JOB)
        return await repair(
            self._harness.output, job, warn=lambda text: None, account=self.account, now=self._harness.now
        )


@asynccontextmanager
async def after_a_run(harness: Harness, api: str, said: Any) -> AsyncIterator[tuple[Odd, Path]]:
    """A job of two tasks, the first of which has no picture; and where its answer is kept."""
    odd = Odd(harness, api, said)
    async with Foreign(odd) as odd.server:
        odd.url = odd.server.url
        report = await odd.run()
        state = "doubtful" if api == "v1" else "failed"
        assert (report.exit_code, harness.states()) == (3, {"done": 1, state: 1})
        (answer,) = (harness.output / ".batcher" / "answers").iterdir()
        yield odd, answer


def seen(found: CheckResult) -> list[tuple[str, str]]:
    return [(finding.kind.value, finding.path) for finding in found.findings]


@pytest.mark.parametrize(("api", "state"), [("v1", "doubtful"), ("v2", "failed")])
async def test_an_answer_without_a_picture_is_told_with_its_task_and_is_nothing_wrong(
    harness: Harness, api: str, state: str
) -> None:
    async with after_a_run(harness, api, {"error": "no"}) as (_, answer):
        found = await check_output(harness.output)
        assert seen(found) == []
        (kept,) = found.answers
        assert (kept.path, kept.name, kept.state) == (f".batcher/answers/{answer.name}", "place 0", state)
        assert not kept.has_picture


@pytest.mark.parametrize("body", [PNG, b'{"odd": "' + b64encode(PNG) + b'"}', b"--part\r\n\r\n" + PNG])
@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("planned", [False, True])
async def test_a_picture_in_a_kept_answer_is_delivered_and_not_paid_for_again(
    harness: Harness, api: str, body: bytes, planned: bool
) -> None:
    """As one that an earlier version did not know for a picture; `planned`: a person asked for another."""
    async with after_a_run(harness, api, {"error": "no"}) as (odd, answer):
        answer.write_bytes(body)
        if planned:
            with closing(database.open_file(harness.output / ".batcher" / "ledger.sqlite")) as ledger:
                retry(ledger, failed=True, doubtful=True)
        found = await check_output(harness.output)
        assert seen(found) == [("missing", "images/place 0")]
        assert found.answers[0].has_picture
        result = await odd.mended()
        assert (result.exit_code, result.fetched, result.repaid, odd.submits) == (0, 1, 0, 2)
        assert harness.states() == {"done": 2}
        assert harness.pictures() == ["place 0.png", "place 1.png"]
        report = await odd.run()
        harness.check(report)
        assert (report.exit_code, odd.submits, seen(await check_output(harness.output))) == (0, 2, [])
        assert answer.read_bytes() == body


async def test_a_picture_that_is_cut_is_none(harness: Harness) -> None:
    async with after_a_run(harness, "v1", {"error": "no"}) as (odd, answer):
        answer.write_bytes(PNG[:-40])
        assert seen(await check_output(harness.output)) == []
        result = await odd.mended()
        assert (result.exit_code, result.fetched, odd.submits) == (0, 0, 2)
        assert answer.exists()


async def test_what_is_the_answer_to_nothing_goes_aside(harness: Harness) -> None:
    async with after_a_run(harness, "v1", {"error": "no"}) as (odd, answer):
        for name in ("999.txt", "1.new", "notes"):
            (answer.parent / name).write_bytes(PNG)
        leftovers = [f".batcher/answers/{name}" for name in ("1.new", "999.txt", "notes")]
        assert seen(await check_output(harness.output)) == [("leftover", path) for path in leftovers]
        result = await odd.mended()
        assert (result.exit_code, result.set_aside, odd.submits) == (0, 3, 2)
        assert [path.name for path in answer.parent.iterdir()] == [answer.name]


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_a_crash_between_the_spool_and_the_ledger_leaves_all_as_it_was(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    async with after_a_run(harness, api, {"error": "no"}) as (odd, answer):
        answer.write_bytes(PNG)
        before = harness.states()

        def dies(*arguments: Any, **named: Any) -> bool:
            raise SystemExit(137)

        with monkeypatch.context() as patch:
            patch.setattr("batcher.ledger.adoption.adopt", dies)
            with pytest.raises(SystemExit):
                await odd.mended()
        assert harness.states() == before
        result = await odd.mended()
        assert (result.exit_code, odd.submits) == (0, 2)
        assert harness.pictures() == ["place 0.png", "place 1.png"]


@pytest.mark.parametrize("written", [1, 2])
async def test_a_crash_amid_the_pictures_of_an_answer_leaves_no_part_of_it_as_the_result(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The next to come is a run, and not a repair."""
    pictures = [b64encode(noisy_picture(size=(37 + n, 23))).decode() for n in range(3)]
    async with after_a_run(harness, "v1", {"error": "no"}) as (odd, answer):
        answer.write_text(json.dumps({"images": pictures}))
        keep, kept = OutputFolder.keep_now, []

        def dies(folder: OutputFolder, data: bytes, name: str) -> None:
            if len(kept) == written:
                raise SystemExit(137)
            kept.append(name)
            keep(folder, data, name)

        with monkeypatch.context() as patch:
            patch.setattr(OutputFolder, "keep_now", dies)
            with pytest.raises(SystemExit):
                await odd.mended()
        report = await odd.run()
        assert (report.counts["doubtful"], report.images) == (1, 1)
        result = await odd.mended()
        assert (result.exit_code, odd.submits, len(harness.pictures())) == (0, 2, 4)
