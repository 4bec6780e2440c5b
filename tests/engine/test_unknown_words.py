"""Words and refusals that mean something else than they say: asked once more before they are believed."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox
from tests.support.scripted_api import Api, Whole

UNAUTHORIZED = Whole(b"HTTP/1.1 401 No\r\n", b'{"error": "who are you"}')
FORBIDDEN = Whole(b"HTTP/1.1 403 No\r\n", b'{"error": "not you"}')


class Worded(Api):
    """Each status says `status`, each result is laid over by `result`."""

    def __init__(self, status: Any, result: Any = None) -> None:
        super().__init__()
        self.status = status
        self.result = result or {}

    def told(self, path: str) -> Any:
        if not path.endswith("/status"):
            return super().told(path) | self.result
        if isinstance(self.status, Whole | bytes):
            return self.status
        return super().told(path) | {"status": self.status}

    def count(self, end: str) -> int:
        return sum(path.startswith("/v2/requests/") and path.endswith(end) for path in self.asked)


@pytest.mark.parametrize("status", ["SUCCEEDED", "ok", "", None, 7, b"<html>", Whole(b"HTTP/1.1 200 OK\r\n")])
@pytest.mark.parametrize("result", ["COMPLETED", "SUCCEEDED"])
async def test_a_word_that_is_not_known_is_settled_by_the_result_within_minutes(
    harness: Harness, status: Any, result: str
) -> None:
    api = Worded(status, {"status": result})
    began = harness.now()
    (report,) = await api.serve(harness, 3)
    assert (report.exit_code, report.counts["done"], api.submits) == (0, 3, 3)
    assert 60 <= harness.now() - began < 300


@pytest.mark.parametrize("word", ["ERROR", "CANCELLED"])
async def test_an_end_without_a_picture_fails_with_its_words_and_is_perhaps_paid(
    harness: Harness, word: str
) -> None:
    api = Worded(word, {"status": word, "output": None, "error": "out of memory"})
    (report,) = await api.serve(harness, 2)
    reason = f"NOT_UNDERSTOOD: HTTP 200: the result is {word} and holds no picture; it says: out of memory"
    assert (report.exit_code, report.failures, api.submits) == (3, {reason: 2}, 2)
    assert harness.outcomes() == {"doubtful": 2}
    assert len(list((harness.output / ".batcher" / "answers").iterdir())) == 2


async def test_a_job_that_goes_on_under_another_name_is_waited_for(harness: Harness) -> None:
    class Slow(Worded):
        def told(self, path: str) -> Any:
            self.done = harness.now() - self.began > 400
            if path.endswith("/status"):
                return {"status": "COMPLETED" if self.done else "STARTING"}
            return super().told(path) if self.done else {"status": "PROCESSING"}

    api = Slow("STARTING")
    api.began = harness.now()
    (report,) = await api.serve(harness, 1)
    assert (report.exit_code, report.counts["done"], api.submits) == (0, 1, 1)
    assert sum(path == "/v2/requests/1" for path in api.asked) < 5


@pytest.mark.parametrize("refusal", [UNAUTHORIZED, FORBIDDEN])
@pytest.mark.parametrize("path", ["/v2/requests/2/status", "/v2/requests/2"])
async def test_one_stray_refusal_ends_no_night(harness: Harness, refusal: Whole, path: str) -> None:
    class Stray(Api):
        refused = 0

        def told(self, asked: str) -> Any:
            if asked == path and not self.refused:
                self.refused += 1
                return refusal
            return super().told(asked)

    api = Stray()
    (report,) = await api.serve(harness, 3, limits={"in_flight": 1})
    assert (report.exit_code, report.counts["done"], api.submits, api.refused) == (0, 3, 3, 1)


@pytest.mark.parametrize("route", ["status", "result"])
@pytest.mark.parametrize("code", [400, 402, 405, 406, 409, 410, 418, 422, 451])
async def test_a_stray_refusal_of_a_question_fails_no_job_that_is_paid_for(
    harness: Harness, sandbox: MakeSandbox, route: str, code: int
) -> None:
    script = Faults([faults.Status(route=route, code=code, first=4)])
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(3))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 3, 3)
        assert harness.outcomes() == {"completed": 3}


@pytest.mark.parametrize("route", ["status", "result"])
async def test_questions_that_are_refused_for_ever_are_settled_by_the_history(
    harness: Harness, sandbox: MakeSandbox, route: str
) -> None:
    script = Faults([faults.Status(route=route, code=422), faults.Failed(calls=[2], error="out of memory")])
    began = harness.now()
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(3))
        harness.check(report)
        assert (report.exit_code, report.failures) == (3, {"FAILED: out of memory": 1})
        assert (report.counts["done"], server.billed) == (2, 2)
        assert harness.now() - began < 300


async def test_without_a_history_they_are_asked_until_the_records_end(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [faults.Status(route="status", code=422, until=3000), faults.Status(route="history", code=404)]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(2))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)


async def test_a_refusal_that_comes_again_is_believed(harness: Harness) -> None:
    api = Worded(UNAUTHORIZED)
    began = harness.now()
    (report,) = await api.serve(harness, 1)
    assert (report.exit_code, report.causes) == (5, ("KEY: who are you",))
    assert harness.now() - began < 60
    assert api.count("/status") == 2


async def test_a_balance_that_nobody_tells_holds_no_submit(harness: Harness) -> None:
    class Deaf(Api):
        first = 0.0

        def submitted(self, number: int) -> Any:
            self.first = self.first or harness.now()
            return super().submitted(number)

        async def __call__(self, reader: Any, writer: Any, number: int) -> None:
            if "credits" in self.server.heads[number - 1]:
                await anyio.sleep(10_000)
            await super().__call__(reader, writer, number)

    api = Deaf()
    began = harness.now()
    (report,) = await api.serve(harness, 2)
    assert (report.exit_code, report.balance) == (0, None)
    assert api.first - began < 3
