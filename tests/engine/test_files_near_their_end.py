"""Files live seven days, on any host: to their last second they are had, and not paid for again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import run
from batcher.results.report import Report
from tests.support.foreign import Foreign
from tests.support.harness import KEY, Harness
from tests.support.scripted_api import PNG, Api, Whole

HOUR, DAY = 3600.0, 86_400.0
TASKS = 6
GONE = Whole(b"HTTP/1.1 404 Gone\r\n", b'{"error": "Request not found"}')
BUSY = Whole(b"HTTP/1.1 503 Busy\r\n", b"")


class Fading(Api):
    """Each job takes `takes` seconds; its record lives an hour from its submission, its file, at a host of
    its own, seven days from its end, and the history knows both for ever. `history`, `host_answers`: what
    these say instead."""

    history: Whole | None = None
    host_answers: Whole | None = None

    def __init__(self, harness: Harness, takes: float) -> None:
        super().__init__()
        self._harness = harness
        self._takes = takes
        self._submitted: dict[str, float] = {}

    def submitted(self, number: int) -> Any:
        self._submitted[str(number)] = self._harness.now()
        return super().submitted(number)

    def ends(self, job: str) -> float:
        return self._submitted[job] + self._takes

    def told(self, path: str) -> Any:
        if "request-history" in path:
            return self.history or self._row(path.rpartition("/")[2])
        job = path.removeprefix("/v2/requests/").removesuffix("/status")
        if self._harness.now() >= self._submitted[job] + HOUR:
            return GONE
        if self._harness.now() < self.ends(job):
            return {"request_id": job, "status": "PROCESSING"}
        return super().told(path) | {"output": self._file(job)}

    def _row(self, job: str) -> dict[str, Any]:
        return {
            "request_id": job,
            "model_name": "sd1.5-outpaint",
            "model_status": "COMPLETED",
            "credits_deduction": 0.01,
            "generation_url": self._file(job),
        }

    def _file(self, job: str) -> str:
        return f"{self.host.url}/elsewhere/{job}.png"

    async def _serve_file(self, reader: Any, writer: Any, number: int) -> None:
        job = self.host.heads[number - 1].split(" ", 2)[1].rpartition("/")[2].removesuffix(".png")
        said = Whole(b"HTTP/1.1 200 OK\r\n", PNG)
        if self._harness.now() >= self.ends(job) + 7 * DAY:
            said = GONE
        elif self.host_answers is not None:
            said = self.host_answers
        writer.write(said.head + b"Content-Length: %d\r\n\r\n" % len(said.body) + said.body)

    async def __aenter__(self) -> Fading:
        self._open = AsyncExitStack()
        self.server = await self._open.enter_async_context(Foreign(self))
        self.host = await self._open.enter_async_context(Foreign(self._serve_file))
        self.url = self.server.url
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._open.aclose()

    async def run(self, **changes: Any) -> Report:
        account = Account(Endpoints(self.url, self.url, self.url), KEY)
        return await run(self._harness.manifest(TASKS, **changes), account=account, now=self._harness.now)

    async def killed_in_flight(self) -> None:
        async with anyio.create_task_group() as process:
            process.start_soon(self.run)
            while not self._harness.output.exists() or self._harness.states().get("submitted", 0) < TASKS:
                await anyio.sleep(0.05)
            process.cancel_scope.cancel()

    async def sleep_until(self, left: float) -> None:
        """So many seconds before the first file's end."""
        await anyio.sleep(min(map(self.ends, self._submitted)) + 7 * DAY - left - self._harness.now())


@pytest.mark.parametrize("takes", [60.0, 50 * 60.0])
@pytest.mark.parametrize("left", [DAY, 60.0, 5.0])
async def test_what_was_in_flight_is_had_from_the_history_until_its_file_ends(
    harness: Harness, takes: float, left: float
) -> None:
    async with Fading(harness, takes) as api:
        await api.killed_in_flight()
        await api.sleep_until(left)
        report = await api.run()
        harness.check(report)
        assert (report.exit_code, report.counts["done"], api.submits) == (0, TASKS, TASKS)
        assert (report.cost["spent"], report.cost["lost"]) == (0.06, 0)
        assert not any("x-api-key" in head.lower() for head in api.host.heads)


async def test_what_could_not_be_fetched_for_days_is_fetched_in_its_last_minute(harness: Harness) -> None:
    async with Fading(harness, 60.0) as api:
        api.host_answers = BUSY
        report = await api.run()
        assert (report.exit_code, harness.states(), api.submits) == (5, {"ready": TASKS}, TASKS)
        await api.sleep_until(60.0)
        api.host_answers = None
        report = await api.run()
        harness.check(report)
        assert (report.exit_code, report.counts["done"], api.submits) == (0, TASKS, TASKS)


async def test_a_history_that_does_not_answer_is_waited_for_as_long_as_a_file_may_live(
    harness: Harness,
) -> None:
    """Seven days after its submission the file of a job that took most of an hour lives on."""
    async with Fading(harness, 50 * 60.0) as api:
        await api.killed_in_flight()
        await api.sleep_until(40 * 60.0)
        api.history = BUSY
        report = await api.run()
        assert (report.exit_code, harness.states(), api.submits) == (5, {"submitted": TASKS}, TASKS)
        api.history = None
        report = await api.run()
        harness.check(report)
        assert (report.exit_code, report.counts["done"], api.submits) == (0, TASKS, TASKS)


async def test_what_is_gone_by_a_second_is_told_and_not_paid_for_again(harness: Harness) -> None:
    async with Fading(harness, 60.0) as api:
        await api.killed_in_flight()
        await api.sleep_until(-60.0)
        report = await api.run()
        assert (report.exit_code, api.submits) == (5, TASKS)
        assert harness.states() == {"ready": TASKS}
        assert (report.cost["spent"], report.images) == (0.06, 0)
