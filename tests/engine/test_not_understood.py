"""Answers to submits that say neither yes nor no: each may be paid, so one probe follows and no more."""

from __future__ import annotations

import gzip
from contextlib import closing
from typing import Any

import anyio
import pytest

from batcher import errors
from batcher.ledger import database
from batcher.ledger.retry_failed import retry
from batcher.storage.download import OutputFolder
from tests.support.harness import Harness
from tests.support.scripted_api import PNG, Api, Whole

OK = b"HTTP/1.1 200 OK\r\n"
ONE_BY_ONE: dict[str, Any] = {"limits": {"in_flight": 1}}

ODD = {
    "an error": {"error": "no workers for this model"},
    "null": None,
    "a page": b"<html><title>no workers for this model</title></html>",
    "no content": Whole(b"HTTP/1.1 204 No Content\r\n"),
    "a bomb": Whole(OK + b"Content-Encoding: gzip\r\n", gzip.compress(bytes(9 << 20))),
    "an id as long as a page": {"request_id": "x" * 10_000},
    "an id that ends": {"request_id": "a\0b"},
    "a redirect to itself": Whole(b"HTTP/1.1 308 Go\r\nLocation: /v2/sd1.5-outpaint\r\n"),
    "a redirect elsewhere": Whole(b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\n"),
    "no HTTP": Whole(b"hello\r\n"),
    "a header that is none": Whole(OK + b"X Bad: \x01\r\n"),
    "two lengths": Whole(OK + b"Content-Length: 3\r\n"),
    "gzip that is none": Whole(OK + b"Content-Encoding: gzip\r\n", b'{"request_id": "7"}'),
    "see other": Whole(b"HTTP/1.1 303 See\r\nLocation: /done\r\n"),
}


class Odd(Api):
    """Each submit is answered by `said`, until `healed`."""

    def __init__(self, said: Any) -> None:
        super().__init__()
        self.said = said
        self.healed = False

    def submitted(self, number: int) -> Any:
        return super().submitted(number) if self.healed else self.said


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("name", ODD)
async def test_one_probe_follows_and_then_the_run_ends_and_so_does_the_next(
    harness: Harness, name: str, api: str
) -> None:
    odd = Odd(ODD[name])
    first, second = await odd.serve(harness, 6, runs=2, api=api, **ONE_BY_ONE)
    assert (first.exit_code, first.counts["doubtful"], first.counts["planned"]) == (5, 2, 4)
    assert "NOT_UNDERSTOOD: answers to submits are not understood" in first.causes[0]
    if name in ("an error", "a page"):
        assert "no workers for this model" in first.causes[0]
    assert (second.exit_code, second.counts["doubtful"], odd.submits) == (5, 3, 3)
    reasons = {line["reason"] for line in harness.lines("errors.jsonl")}
    assert all(reason.startswith("NOT_UNDERSTOOD: ") for reason in reasons)
    harness.check(second)


async def test_the_answer_is_kept_whole_where_its_line_says(harness: Harness) -> None:
    (report,) = await Odd({"error": "no", "more": "x" * 5000}).serve(harness, 1, **ONE_BY_ONE)
    assert report.exit_code == 3
    (line,) = harness.lines("errors.jsonl")
    kept = line["reason"].partition("the whole answer: ")[2].rstrip(")")
    assert b"x" * 5000 in (harness.output / kept).read_bytes()
    assert line["cost"]["doubtful"] == 0.01


async def test_what_is_in_the_air_beside_it_comes_in_and_no_probe_leaves_after_three(
    harness: Harness,
) -> None:
    odd = Odd({"error": "no"})
    (report,) = await odd.serve(harness, 20, limits={"in_flight": 8, "rpm": 6000})
    assert report.exit_code == 5
    assert odd.submits <= 9
    assert report.counts["doubtful"] == odd.submits


async def test_what_is_held_is_not_submitted_again_until_a_person_says_so(harness: Harness) -> None:
    class Whim(Odd):
        def submitted(self, number: int) -> Any:
            return self.said if number == 2 else Api.submitted(self, number)

        def begins(self, run: int, harness: Harness) -> None:
            if run == 2:
                assert self.submits == 4
                assert harness.rows("SELECT count(*) FROM runs WHERE finished_at IS NULL") == [(0,)]
                with closing(database.open_file(harness.output / ".batcher" / "ledger.sqlite")) as ledger:
                    assert retry(ledger, failed=False, doubtful=True).doubtful == 1

    odd = Whim({"error": "no"})
    first, second, third = await odd.serve(harness, 4, runs=3, **ONE_BY_ONE)
    assert [report.exit_code for report in (first, second, third)] == [3, 3, 0]
    assert (second.counts["done"], second.counts["doubtful"]) == (3, 1)
    assert (third.counts["done"], odd.submits) == (4, 5)


async def test_after_an_answer_that_is_understood_the_next_run_needs_no_probe(harness: Harness) -> None:
    class Healed(Odd):
        def begins(self, run: int, harness: Harness) -> None:
            self.healed = run > 0

    first, second = await Healed({"error": "no"}).serve(harness, 6, runs=2, **ONE_BY_ONE)
    assert (first.exit_code, second.exit_code) == (5, 3)
    assert (second.counts["done"], second.counts["doubtful"]) == (4, 2)
    assert harness.rows("SELECT value FROM meta WHERE key = 'unread'") == [("",)]


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_yeses_that_break_off_are_doubt_and_do_not_go_on_for_ever(harness: Harness, api: str) -> None:
    odd = Odd(b'{"request_id": "7' if api == "v2" else b'{"image": "iVBOR')
    first, second = await odd.serve(harness, 6, runs=2, api=api, **ONE_BY_ONE)
    assert (first.exit_code, second.exit_code) == (5, 5)
    assert odd.submits == 3
    assert harness.outcomes() == {"doubtful": 3}


async def test_an_id_that_is_told_again_and_again_is_one_job(harness: Harness) -> None:
    class Stuck(Api):
        def submitted(self, number: int) -> Any:
            return super().submitted(1)

    api = Stuck()
    (report,) = await api.serve(harness, 6, **ONE_BY_ONE)
    assert (report.exit_code, report.counts["done"], api.submits) == (5, 1, 3)


async def test_a_picture_in_hand_is_delivered_whatever_id_its_header_repeats(harness: Harness) -> None:
    odd = Odd(Whole(OK + b"x-request-id: same\r\nContent-Type: text/html\r\n", PNG))
    (report,) = await odd.serve(harness, 4, api="v1", **ONE_BY_ONE)
    assert (report.exit_code, report.counts["done"], odd.submits) == (0, 4, 4)


async def test_an_id_by_which_no_record_is_ever_found_is_paid_for_once_and_stops_the_run_as_failures_do(
    harness: Harness,
) -> None:
    class Misread(Api):
        def submitted(self, number: int) -> Any:
            return {"id": 1000 + number, "created": True}

        def told(self, path: str) -> Any:
            return Whole(b"HTTP/1.1 404 No\r\n", b'{"error": "Request not found"}')

    api = Misread()
    first, second = await api.serve(harness, 30, runs=2, result_ttl="2m", limits={"in_flight": 2})
    assert (first.exit_code, second.exit_code) == (5, 5)
    assert "NOT_FOUND: no record was ever found" in first.causes[0]
    assert api.submits <= 2 * 12
    assert harness.rows("SELECT max(n) FROM (SELECT count(*) n FROM submissions GROUP BY task)") == [(1,)]
    assert (second.counts["failed"], second.counts["doubtful"]) == (api.submits, 0)
    assert second.cost["lost"] == round(0.01 * api.submits, 6)


async def test_a_record_that_nobody_could_ask_for_until_its_end_has_expired_and_is_submitted_again(
    harness: Harness,
) -> None:
    class Down(Api):
        """For as long as the first record lives."""

        began: float | None = None

        def told(self, path: str) -> Any:
            if "/requests/2" in path:
                return super().told(path)
            self.began = self.began or anyio.current_time()
            if anyio.current_time() < self.began + 125:
                return Whole(b"HTTP/1.1 503 No\r\n", b"{}")
            return Whole(b"HTTP/1.1 404 No\r\n", b'{"error": "Request not found"}')

    api = Down()
    (report,) = await api.serve(harness, 1, result_ttl="2m")
    assert (report.exit_code, report.counts["done"], api.submits) == (0, 1, 2)
    assert report.cost["lost"] == 0.01


async def test_no_other_submit_leaves_while_the_last_answer_is_kept_and_the_run_ends(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = OutputFolder.keep_answer

    async def slowly(self: OutputFolder, answer: bytes, submission: int) -> str:
        await anyio.sleep(20)
        return await keep(self, answer, submission)

    monkeypatch.setattr(OutputFolder, "keep_answer", slowly)
    odd = Odd({"error": "no"})
    (report,) = await odd.serve(harness, 6, limits={"in_flight": 2, "rpm": 6000})
    assert (report.exit_code, report.counts["doubtful"], odd.submits) == (5, 2, 2)


async def test_a_no_does_not_make_answers_understood(harness: Harness) -> None:
    class Mixed(Odd):
        def submitted(self, number: int) -> Any:
            refused = Whole(b"HTTP/1.1 400 No\r\n", b'{"error": "a bad prompt"}')
            return refused if number == 2 else self.said

    odd = Mixed({"error": "no"})
    (report,) = await odd.serve(harness, 6, **ONE_BY_ONE)
    assert (report.exit_code, odd.submits, report.counts["failed"]) == (5, 3, 1)


def test_it_ends_a_run_with_a_remedy() -> None:
    assert errors.AnswersUnread.exit_code == 5
    assert errors.AnswersUnread.remedy
