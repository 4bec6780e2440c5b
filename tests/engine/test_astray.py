"""Answers out of step, links to strangers, files that cannot be had: what is not proved is not believed."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox
from tests.support.scripted_api import Api


async def test_an_api_that_answers_as_told_serves_these_tests(harness: Harness) -> None:
    (report,) = await Api().serve(harness, 3)
    assert (report.exit_code, report.counts["done"]) == (0, 3)


async def test_a_submit_that_is_answered_with_another_requests_job_is_in_doubt(harness: Harness) -> None:
    class Replaying(Api):
        def submitted(self, number: int) -> dict[str, Any]:
            return super().submitted(1 if number == 2 else number)

    (report,) = await Replaying().serve(harness, 3, limits={"in_flight": 1})
    assert (report.exit_code, report.counts["done"]) == (0, 3)
    assert harness.outcomes() == {"completed": 3, "doubtful": 1}
    ids = [one for (one,) in harness.rows("SELECT request_id FROM submissions WHERE outcome = 'completed'")]
    assert len(set(ids)) == 3


async def test_a_result_of_another_job_is_asked_for_again(harness: Harness) -> None:
    class OutOfStep(Api):
        wrong = 0

        def told(self, path: str) -> dict[str, Any]:
            if path.endswith("/2") and self.wrong < 2:
                self.wrong += 1
                return super().told("/v2/requests/1")
            return super().told(path)

    api = OutOfStep()
    (report,) = await api.serve(harness, 3, limits={"in_flight": 1})
    assert (report.exit_code, report.counts["done"], api.submits, api.wrong) == (0, 3, 3, 2)
    assert "/files/2.png" in api.asked


@pytest.mark.parametrize("asked_for", ["/2/status", "/2"])
async def test_that_another_job_failed_fails_nobody(harness: Harness, asked_for: str) -> None:
    class OutOfStep(Api):
        wrong = 0

        def told(self, path: str) -> dict[str, Any]:
            if path.endswith(asked_for) and self.wrong < 2:
                self.wrong += 1
                return {"request_id": "1", "status": "FAILED", "error": "not ours"}
            return super().told(path)

    api = OutOfStep()
    (report,) = await api.serve(harness, 3, limits={"in_flight": 1})
    assert (report.exit_code, report.counts["done"], api.submits, api.wrong) == (0, 3, 3, 2)


async def test_a_record_at_a_strangers_is_asked_for_at_the_api_itself(harness: Harness) -> None:
    class Led(Api):
        def submitted(self, number: int) -> dict[str, Any]:
            told = super().submitted(number)
            return told | {"status_url": "http://127.0.0.1:1/s", "response_url": "http://127.0.0.1:1/r"}

    api = Led()
    (report,) = await api.serve(harness, 3)
    assert (report.exit_code, report.counts["done"], api.submits) == (0, 3, 3)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.NotAnImage(), "DOWNLOAD: the file is a page, not a picture"),
        (faults.Status(route="download", code=404), "LINK: the file host answers 404"),
    ],
)
async def test_why_a_file_cannot_be_fetched_is_told_and_kept(
    harness: Harness, sandbox: MakeSandbox, fault: faults.Fault, reason: str
) -> None:
    heard: list[Any] = []
    async with sandbox(service=2, faults=Faults([fault])) as server:
        report = await harness.run(server, harness.manifest(3), heard.append)
        assert (report.exit_code, report.counts["ready"]) == (5, 3)
    assert {line["reason"] for line in harness.lines("errors.jsonl")} == {reason}
    told = [event.text for event in heard if type(event).__name__ == "Message" and reason in event.text]
    assert len(told) == 1
