"""Every fault, as the caller meets it, and whether the call took effect."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime

import aiohttp
import anyio
import pytest

from batcher.sandbox import Faults, FaultsError, faults
from batcher.sandbox.faults import Route
from tests.support.caller import OUTPAINT, fetch, finish, get, submit
from tests.support.sandboxes import MakeSandbox


async def post(http: aiohttp.ClientSession, url: str) -> tuple[int, str, str]:
    async with http.post(f"{url}/v2/sd1.5-outpaint", json=OUTPAINT) as answer:
        return answer.status, answer.content_type, await answer.text()


async def test_a_throttle_carries_a_stamp_and_no_retry_after(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, now: Callable[[], float]
) -> None:
    script = Faults([faults.Throttle(route="submit", calls=[2], reset_in=7)])
    async with sandbox(faults=script) as server:
        assert (await post(http, server.url))[0] == 200
        async with http.post(f"{server.url}/v2/sd1.5-outpaint", json=OUTPAINT) as answer:
            assert answer.status == 429
            reset = datetime.fromisoformat(answer.headers["x-rate-limit-reset-at-utc"])
            assert answer.headers["x-rate-limit-reset-at-utc"].endswith("Z")
            assert reset.timestamp() == pytest.approx(now() + 7, abs=0.01)
            assert "Retry-After" not in answer.headers
        assert (await post(http, server.url))[0] == 200
        assert (server.throttled, len(server.jobs)) == (1, 2)


async def test_a_throttle_may_lack_its_stamp_and_carry_a_retry_after_of_any_form(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, now: Callable[[], float]
) -> None:
    forms = ["date", "digits", "7.5"]
    script = Faults(
        [
            faults.Throttle(route="credits", calls=[n], reset_in=9, retry_after=form)
            for n, form in enumerate(forms, 1)
        ]
        + [faults.Throttle(route="credits", reset_in=None)]
    )
    async with sandbox(faults=script) as server:
        seen = []
        for _ in range(4):
            async with http.get(f"{server.url}/v1/get-user-credits") as answer:
                seen.append(answer.headers.copy())
        assert parsedate_to_datetime(seen[0]["Retry-After"]).timestamp() == pytest.approx(now() + 9, abs=1.1)
        assert [headers.get("Retry-After") for headers in seen[1:]] == ["9", "7.5", None]
        assert "x-rate-limit-reset-at-utc" not in seen[3]


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_a_gateway_answers_for_the_api_and_nothing_is_accepted(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, code: int
) -> None:
    script = Faults(
        [
            faults.Status(route="submit", code=code, calls=[1]),
            faults.Status(route="submit", code=code, page=True, calls=[2]),
        ]
    )
    async with sandbox(faults=script) as server:
        status, kind, text = await post(http, server.url)
        assert (status, kind) == (code, "application/json")
        assert json.loads(text)["error"]
        assert (await post(http, server.url))[:2] == (code, "text/html")
        assert not server.jobs


async def test_a_page_comes_with_a_good_status_and_nothing_is_accepted(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(faults=Faults([faults.Html(route="submit")])) as server:
        assert (await post(http, server.url))[:2] == (200, "text/html")
        assert not server.jobs


async def test_unreadable_answers_come_after_the_job_was_accepted(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = Faults([faults.NotJson(route="submit", calls=[1]), faults.HalfJson(route="submit", calls=[2])])
    async with sandbox(faults=script) as server:
        for kind in ("text/plain", "application/json"):
            status, content_type, text = await post(http, server.url)
            assert (status, content_type) == (200, kind)
            with pytest.raises(ValueError, match="line 1"):
                json.loads(text)
        assert len(server.jobs) == 2


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_line_is_cut_before_or_after_the_job_was_accepted(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, accepted: bool
) -> None:
    async with sandbox(faults=Faults([faults.Cut(route="submit", accepted=accepted)])) as server:
        with pytest.raises(aiohttp.ClientError):
            await post(http, server.url)
        assert len(server.jobs) == accepted
        assert [arrival.status for arrival in server.arrivals] == [0]


@pytest.mark.parametrize("accepted", [False, True])
async def test_an_answer_never_comes(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, accepted: bool
) -> None:
    async with sandbox(faults=Faults([faults.Hang(route="submit", accepted=accepted)])) as server:
        with pytest.raises(TimeoutError), anyio.fail_after(300):
            await post(http, server.url)
        assert len(server.jobs) == accepted


async def test_the_api_is_down_for_a_minute_on_every_route(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(service=1, faults=Faults([faults.Down(since=60, until=120)])) as server:
        record = await submit(http, server.url)
        await anyio.sleep(61)
        with pytest.raises(aiohttp.ClientError):
            await post(http, server.url)
        with pytest.raises(aiohttp.ClientError):
            await get(http, record["response_url"])
        await anyio.sleep(60)
        assert (await get(http, record["response_url"]))[1]["status"] == "COMPLETED"
        assert server.billed == len(server.jobs) == 1


async def test_an_answer_comes_late(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.Slow(route="submit", delay=40)])) as server:
        with anyio.move_on_after(39) as scope:
            await post(http, server.url)
        assert scope.cancelled_caught
        assert len(server.jobs) == 1
        assert (await post(http, server.url))[0] == 200


async def test_a_call_is_sent_to_another_origin(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with (
        sandbox() as other,
        sandbox(faults=Faults([faults.Redirect(route="download", to=other.url)])) as server,
    ):
        result = await finish(http, server.url)
        async with http.get(result["output"], allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.headers["Location"] == result["output"].replace(server.url, other.url)
        await http.get(result["output"])
        assert len(other.keys_seen_at_files) == 1


async def test_a_job_fails_with_the_text_that_was_told(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = Faults(
        [
            faults.Failed(error="NSFW content detected", calls=[1]),
            faults.Failed(error="out of memory", route="sync"),
        ]
    )
    async with sandbox(faults=script) as server:
        assert (await finish(http, server.url))["error"] == "NSFW content detected"
        assert (await finish(http, server.url))["status"] == "COMPLETED"
        async with http.post(f"{server.url}/v1/sd1.5-outpaint", json=OUTPAINT) as answer:
            assert answer.status == 422
            assert (await answer.json())["error"] == "out of memory"
        assert server.billed == 1


async def test_a_status_never_changes_and_holds_no_worker(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(workers=1, faults=Faults([faults.Stuck(calls=[1])])) as server:
        record = await submit(http, server.url)
        assert (await finish(http, server.url))["status"] == "COMPLETED"
        await anyio.sleep(3000)
        assert (await get(http, record["status_url"]))[1]["status"] == "PROCESSING"
        await anyio.sleep(600)
        assert (await get(http, record["status_url"]))[0] == 404
        assert server.billed == 1


async def test_a_record_is_hidden_for_its_first_seconds(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(faults=Faults([faults.Hidden(delay=2)])) as server:
        record = await submit(http, server.url)
        assert (await get(http, record["status_url"]))[0] == 404
        assert (await get(http, record["response_url"]))[0] == 404
        await anyio.sleep(2)
        assert (await get(http, record["status_url"]))[0] == 200


async def test_a_dead_link_is_alive_when_asked_for_again(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(faults=Faults([faults.DeadLink(calls=[1])])) as server:
        result = await finish(http, server.url)
        async with http.get(result["output"]) as answer:
            assert answer.status == 404
        _, again = await get(http, f"{server.url}/v2/requests/{result['request_id']}")
        assert await fetch(again["output"])


async def test_downloads_are_truncated_empty_or_no_pictures(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = Faults([faults.Truncated(calls=[1]), faults.Empty(calls=[2]), faults.NotAnImage(calls=[3])])
    async with sandbox(faults=script) as server:
        url = (await finish(http, server.url))["output"]
        half, nothing, page, whole = [await fetch(url) for _ in range(4)]
        assert half == whole[: len(whole) // 2]
        assert nothing == b""
        assert page.startswith(b"<!DOCTYPE html>")


async def test_a_blocking_answer_is_truncated_after_the_job_was_billed(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(faults=Faults([faults.Truncated(route="sync", calls=[1])])) as server:
        answers = []
        for _ in range(2):
            async with http.post(f"{server.url}/v1/sd1.5-outpaint", json=OUTPAINT) as answer:
                assert answer.headers["x-cost"] == "0.01"
                assert answer.content_type == "image/png"
                answers.append(await answer.read())
        assert answers[0] == answers[1][: len(answers[1]) // 2]
        assert server.billed == 2


async def test_a_download_is_cut_before_its_length(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.Short(calls=[1])])) as server:
        url = (await finish(http, server.url))["output"]
        with pytest.raises(aiohttp.ClientPayloadError):
            await fetch(url)
        assert await fetch(url)


async def test_a_body_trickles(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.SlowBody(delay=30)])) as server:
        url = (await finish(http, server.url))["output"]
        with anyio.move_on_after(29) as scope:
            await fetch(url)
        assert scope.cancelled_caught
        assert (await fetch(url)).startswith(b"\x89PNG")


async def test_the_first_fault_of_its_family_wins(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    script = Faults(
        [faults.Status(route="submit", code=502, first=1), faults.Status(route="submit", code=504, first=2)]
    )
    async with sandbox(faults=script) as server:
        assert [(await post(http, server.url))[0] for _ in range(3)] == [502, 504, 200]


@pytest.mark.parametrize(
    ("when", "struck"),
    [
        ({"calls": [2, 5]}, [2, 5]),
        ({"first": 3}, [1, 2, 3]),
        ({"every": 4}, [4, 8]),
        ({"since": 6, "until": 8}, [6, 7]),
        ({"every": 2, "first": 6}, [2, 4, 6]),
        ({}, list(range(1, 11))),
    ],
)
def test_a_fault_strikes_when_it_is_told_to(when: dict[str, object], struck: list[int]) -> None:
    script = Faults([faults.Cut(route="submit", **when)])  # type: ignore[arg-type]  # a table of keyword arguments
    assert [n for n in range(1, 11) if script.match(Route.SUBMIT, n, elapsed=n)] == struck
    assert not script.match(Route.STATUS, 2, elapsed=6)


def test_a_rate_is_decided_by_the_seed_and_is_about_right() -> None:
    def struck(seed: int) -> list[int]:
        script = Faults([faults.Cut(route="submit", rate=0.1)], seed=seed)
        return [n for n in range(1, 2001) if script.match(Route.SUBMIT, n, elapsed=0)]

    assert struck(1) == struck(1) != struck(2)
    assert 150 < len(struck(1)) < 250


SCRIPT = [
    {"fault": "throttle", "route": "submit", "calls": [1, 3], "reset_in": "2m", "retry_after": 7.5},
    {"fault": "status", "route": ["submit", "result"], "every": 10, "code": 502, "page": True},
    {"fault": "cut", "route": "submit", "accepted": True, "rate": 0.1},
    {"fault": "down", "from": "60s", "until": "2m"},
    {"fault": "throttle", "route": "all", "first": 1, "reset_in": None},
    {"fault": "stuck", "calls": 4, "state": "QUEUED"},
    {"fault": "slow_body", "delay": "500ms"},
]


def test_a_script_is_read_from_plain_data() -> None:
    script = Faults.load(SCRIPT)
    assert len(script) == len(SCRIPT)
    (first,) = script.match(Route.SUBMIT, 3, elapsed=0)
    assert first == faults.Throttle(route="submit", calls=[1, 3], reset_in=120, retry_after="7.5")
    assert script.match(Route.HISTORY, 2, elapsed=61) == [faults.Down(since=60, until=120)]
    assert script.match(Route.SUBMIT, 4, elapsed=0) == [faults.Stuck(calls=[4], state="QUEUED")]
    assert script.match(Route.DOWNLOAD, 2, elapsed=0) == [faults.SlowBody(delay=0.5)]


def test_every_kind_of_fault_can_be_written_as_data_and_is_explained() -> None:
    script = [
        {"fault": kind, "route": "all", **({"to": "http://127.0.0.1:1"} if kind == "redirect" else {})}
        for kind in faults.KINDS
    ]
    assert len(Faults.load(script)) == len(faults.KINDS)
    assert set(faults.__all__) >= {kind.__name__ for kind in faults.KINDS.values()}
    assert all(kind.__doc__ for kind in faults.KINDS.values())


@pytest.mark.parametrize(
    ("script", "location", "sentence"),
    [
        ({"fault": "cut"}, (), "must be a list"),
        (["cut"], (0,), "an entry must be a mapping with the key `fault`"),
        ([{"fault": "cutt"}], (0, "fault"), "there is no fault 'cutt'; did you mean 'cut'"),
        ([{"fault": "cut", "route": "sumbit"}], (0, "route"), "cannot happen on 'sumbit'"),
        ([{"fault": "cut"}], (0, "route"), "cut needs a route"),
        (
            [{"fault": "truncated", "route": "submit"}],
            (0, "route"),
            "cannot happen on 'submit'; it can on: sync, download",
        ),
        (
            [{"fault": "cut", "route": "submit", "cals": [1]}],
            (0, "cals"),
            "has no key 'cals'; did you mean 'calls'",
        ),
        (
            [{"fault": "cut", "route": "submit", "calls": [1, 0]}],
            (0, "calls", 1),
            "should be greater than or equal to 1, not 0",
        ),
        (
            [{"fault": "cut", "route": "submit", "first": True}],
            (0, "first"),
            "should be a valid integer, not True",
        ),
        (
            [{"fault": "cut", "route": "submit", "rate": 10}],
            (0, "rate"),
            "should be less than or equal to 1, not 10",
        ),
        (
            [{"fault": "cut", "route": "submit", "from": "soon"}],
            (0, "from"),
            "'soon' is not a duration",
        ),
        (
            [{"fault": "status", "route": "submit", "code": "bad"}],
            (0, "code"),
            "should be a valid integer, not 'bad'",
        ),
        ([{"fault": "redirect", "route": "download"}], (0, "to"), "needs `to`"),
    ],
)
def test_a_script_that_cannot_be_followed_says_where_and_why(
    script: object, location: tuple[str | int, ...], sentence: str
) -> None:
    with pytest.raises(FaultsError) as caught:
        Faults.load(script)
    ((where, what),) = caught.value.problems
    assert (where, sentence in what) == (location, True), what


def test_every_problem_of_a_script_is_said_at_once() -> None:
    with pytest.raises(FaultsError) as caught:
        Faults.load([{"fault": "x"}, {"fault": "cut", "route": "submit"}, {"fault": "slow", "delay": "soon"}])
    assert [where for where, _ in caught.value.problems] == [(0, "fault"), (2, "route"), (2, "delay")]
