"""Answers out of step, links to strangers, files that cannot be had: what is not proved is not believed."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from batcher.account import Account
from batcher.client import Endpoints
from batcher.report import Report
from batcher.run import Wishes, run
from batcher.sandbox import Faults, faults
from conftest import MakeSandbox
from engine.bench import KEY, Bench
from foreign import Foreign
from test_pictures import picture

PNG = picture()


class Api:
    """Answers each call as `told` says for its path; the n-th submit makes the job `n`."""

    def __init__(self) -> None:
        self.url = ""
        self.submits = 0
        self.asked: list[str] = []

    def submitted(self, number: int) -> dict[str, Any]:
        record = f"{self.url}/v2/requests/{number}"
        return {"request_id": str(number), "status_url": f"{record}/status", "response_url": record}

    def told(self, path: str) -> dict[str, Any]:
        job = path.removeprefix("/v2/requests/").removesuffix("/status")
        output = f"{self.url}/files/{job}.png"
        return {"request_id": job, "status": "COMPLETED", "output": output, "metrics": {"cost": 0.01}}

    async def __call__(self, _reader: Any, writer: Any, number: int) -> None:
        method, path, _ = self.server.heads[number - 1].split(" ", 2)
        self.asked.append(path)
        if path.startswith("/files/"):
            body = PNG
        elif method == "POST":
            self.submits += 1
            body = json.dumps(self.submitted(self.submits)).encode()
        elif path.endswith("credits"):
            body = b'{"credits": 100}'
        else:
            body = json.dumps(self.told(path)).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def serve(self, bench: Bench, tasks: int, *, runs: int = 1, **changes: Any) -> list[Report]:
        """So many runs of one job, an hour apart."""
        reports: list[Report] = []
        async with Foreign(self) as self.server:
            self.url = self.server.url
            account = Account(Endpoints(self.url, self.url, self.url), KEY)
            for number in range(runs):
                await anyio.sleep(3600 * number)
                job = bench.manifest(tasks, **changes)
                reports.append(await run(job, account=account, wishes=Wishes(), now=bench.now))
        return reports


async def test_an_api_that_answers_as_told_serves_these_tests(bench: Bench) -> None:
    (report,) = await Api().serve(bench, 3)
    assert (report.exit_code, report.counts["done"]) == (0, 3)


async def test_a_submit_that_is_answered_with_another_requests_job_is_in_doubt(bench: Bench) -> None:
    class Replaying(Api):
        def submitted(self, number: int) -> dict[str, Any]:
            return super().submitted(1 if number == 2 else number)

    (report,) = await Replaying().serve(bench, 3, limits={"in_flight": 1})
    assert (report.exit_code, report.counts["done"]) == (0, 3)
    assert bench.outcomes() == {"completed": 3, "doubtful": 1}
    ids = [one for (one,) in bench.rows("SELECT request_id FROM submissions WHERE outcome = 'completed'")]
    assert len(set(ids)) == 3


async def test_a_result_of_another_job_is_asked_for_again(bench: Bench) -> None:
    class OutOfStep(Api):
        wrong = 0

        def told(self, path: str) -> dict[str, Any]:
            if path.endswith("/2") and self.wrong < 2:
                self.wrong += 1
                return super().told("/v2/requests/1")
            return super().told(path)

    api = OutOfStep()
    (report,) = await api.serve(bench, 3, limits={"in_flight": 1})
    assert (report.exit_code, report.counts["done"], api.submits, api.wrong) == (0, 3, 3, 2)
    assert "/files/2.png" in api.asked


async def test_a_record_at_a_strangers_stops_the_run_but_not_for_ever(bench: Bench) -> None:
    class Led(Api):
        def submitted(self, number: int) -> dict[str, Any]:
            told = super().submitted(number)
            return told | {"status_url": "http://127.0.0.1:1/s"} if number == 1 else told

    terms: dict[str, Any] = {"limits": {"in_flight": 1}, "retry": {"expired": "fail"}}
    first, second = await Led().serve(bench, 3, runs=2, **terms)
    assert first.exit_code == 5
    assert "may not see the key" in first.causes[0]
    assert (second.exit_code, second.counts["done"], second.counts["failed"]) == (3, 2, 1)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.not_an_image(), "DOWNLOAD: the file is a page, not a picture"),
        (faults.status("download", 404), "LINK: the file host answers 404"),
    ],
)
async def test_why_a_file_cannot_be_fetched_is_told_and_kept(
    bench: Bench, sandbox: MakeSandbox, fault: faults.Fault, reason: str
) -> None:
    heard: list[Any] = []
    async with sandbox(service=2, faults=Faults([fault])) as server:
        report = await bench.run(server, bench.manifest(3), heard.append)
        assert (report.exit_code, report.counts["ready"]) == (5, 3)
    assert {line["reason"] for line in bench.lines("errors.jsonl")} == {reason}
    told = [event.text for event in heard if type(event).__name__ == "Noted" and reason in event.text]
    assert len(told) == 1
