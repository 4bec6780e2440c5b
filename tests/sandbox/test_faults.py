"""Every fault, as the caller meets it, and whether the call took effect."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import anyio
import pytest

from batcher.sandbox import Faults, FaultsError, faults
from batcher.sandbox.faults import Route, When
from conftest import MakeSandbox
from sandbox.caller import OUTPAINT, fetch, finish, get, submit


async def post(http: aiohttp.ClientSession, url: str) -> tuple[int, str, str]:
    async with http.post(f"{url}/v2/sd1.5-outpaint", json=OUTPAINT) as answer:
        return answer.status, answer.content_type, await answer.text()


async def test_a_throttle_carries_a_stamp_and_no_retry_after(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, now: Callable[[], float]
) -> None:
    script = Faults([faults.throttle("submit", calls=[2], reset_in=7)])
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
            faults.throttle("credits", calls=[n], reset_in=9, retry_after=form)
            for n, form in enumerate(forms, 1)
        ]
        + [faults.throttle("credits", reset_in=None)]
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
        [faults.status("submit", code, calls=[1]), faults.status("submit", code, page=True, calls=[2])]
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
    async with sandbox(faults=Faults([faults.html("submit")])) as server:
        assert (await post(http, server.url))[:2] == (200, "text/html")
        assert not server.jobs


async def test_unreadable_answers_come_after_the_job_was_accepted(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = Faults([faults.not_json("submit", calls=[1]), faults.half_json("submit", calls=[2])])
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
    async with sandbox(faults=Faults([faults.cut("submit", accepted=accepted)])) as server:
        with pytest.raises(aiohttp.ClientError):
            await post(http, server.url)
        assert len(server.jobs) == accepted
        assert [arrival.status for arrival in server.arrivals] == [0]


@pytest.mark.parametrize("accepted", [False, True])
async def test_an_answer_never_comes(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, accepted: bool
) -> None:
    async with sandbox(faults=Faults([faults.hang("submit", accepted=accepted)])) as server:
        with pytest.raises(TimeoutError), anyio.fail_after(300):
            await post(http, server.url)
        assert len(server.jobs) == accepted


async def test_the_api_is_down_for_a_minute_on_every_route(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(service=1, faults=Faults([faults.down(since=60, until=120)])) as server:
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
    async with sandbox(faults=Faults([faults.slow("submit", delay=40)])) as server:
        with anyio.move_on_after(39) as scope:
            await post(http, server.url)
        assert scope.cancelled_caught
        assert len(server.jobs) == 1
        assert (await post(http, server.url))[0] == 200


async def test_a_call_is_sent_to_another_origin(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with (
        sandbox() as other,
        sandbox(faults=Faults([faults.redirect("download", to=other.url)])) as server,
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
        [faults.failed("NSFW content detected", calls=[1]), faults.failed("out of memory", "sync")]
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
    async with sandbox(workers=1, faults=Faults([faults.stuck(calls=[1])])) as server:
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
    async with sandbox(faults=Faults([faults.hidden(2)])) as server:
        record = await submit(http, server.url)
        assert (await get(http, record["status_url"]))[0] == 404
        assert (await get(http, record["response_url"]))[0] == 404
        await anyio.sleep(2)
        assert (await get(http, record["status_url"]))[0] == 200


async def test_a_dead_link_is_alive_when_asked_for_again(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(faults=Faults([faults.dead_link(calls=[1])])) as server:
        result = await finish(http, server.url)
        async with http.get(result["output"]) as answer:
            assert answer.status == 404
        _, again = await get(http, f"{server.url}/v2/requests/{result['request_id']}")
        assert await fetch(again["output"])


async def test_downloads_are_truncated_empty_or_no_pictures(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = Faults([faults.truncated(calls=[1]), faults.empty(calls=[2]), faults.not_an_image(calls=[3])])
    async with sandbox(faults=script) as server:
        url = (await finish(http, server.url))["output"]
        half, nothing, page, whole = [await fetch(url) for _ in range(4)]
        assert half == whole[: len(whole) // 2]
        assert nothing == b""
        assert page.startswith(b"<!DOCTYPE html>")


async def test_a_blocking_answer_is_truncated_after_the_job_was_billed(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(faults=Faults([faults.truncated("sync", calls=[1])])) as server:
        answers = []
        for _ in range(2):
            async with http.post(f"{server.url}/v1/sd1.5-outpaint", json=OUTPAINT) as answer:
                assert answer.headers["x-cost"] == "0.01"
                assert answer.content_type == "image/png"
                answers.append(await answer.read())
        assert answers[0] == answers[1][: len(answers[1]) // 2]
        assert server.billed == 2


async def test_a_download_is_cut_before_its_length(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.short(calls=[1])])) as server:
        url = (await finish(http, server.url))["output"]
        with pytest.raises(aiohttp.ClientPayloadError):
            await fetch(url)
        assert await fetch(url)


async def test_a_body_trickles(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.slow_body(30)])) as server:
        url = (await finish(http, server.url))["output"]
        with anyio.move_on_after(29) as scope:
            await fetch(url)
        assert scope.cancelled_caught
        assert (await fetch(url)).startswith(b"\x89PNG")


async def test_the_first_fault_of_the_list_wins(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    script = Faults([faults.status("submit", 502, first=1), faults.status("submit", 504, first=2)])
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
    script = Faults([faults.cut("submit", **when)])  # type: ignore[arg-type]  # a table of keyword arguments
    assert [n for n in range(1, 11) if script.match(Route.SUBMIT, n, elapsed=n)] == struck
    assert not script.match(Route.STATUS, 2, elapsed=6)


def test_a_rate_is_decided_by_the_seed_and_is_about_right() -> None:
    def struck(seed: int) -> list[int]:
        script = Faults([faults.cut("submit", rate=0.1)], seed=seed)
        return [n for n in range(1, 2001) if script.match(Route.SUBMIT, n, elapsed=0)]

    assert struck(1) == struck(1) != struck(2)
    assert 150 < len(struck(1)) < 250


SCRIPT = """
- fault: throttle
  route: submit
  calls: [1, 3]
  reset_in: 2m
  retry_after: 7.5
- {fault: status, route: [submit, result], every: 10, code: 502, page: true}
- {fault: cut, route: submit, accepted: true, rate: 0.1}
- {fault: down, from: 60s, until: 2m}
- {fault: throttle, route: all, first: 1, reset_in: null}
- {fault: stuck, calls: 4, state: QUEUED}
- {fault: slow_body, delay: 500ms}
"""


def test_a_script_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(SCRIPT)
    script = Faults.load(path)
    assert len(script) == 7
    first = script.match(Route.SUBMIT, 3, elapsed=0)
    assert first is not None
    assert dict(first.settings) == {"reset_in": 120, "retry_after": "7.5"}
    assert first.when == When(calls=frozenset({1, 3}))
    down = script.match(Route.HISTORY, 2, elapsed=61)
    assert down is not None
    assert down.kind == "down"
    slow = script.match(Route.DOWNLOAD, 2, elapsed=0)
    assert slow is not None
    assert slow.settings["delay"] == 0.5


def test_every_fault_of_the_table_can_be_written_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    entries = [
        {"fault": kind, "route": "all", **({"to": "http://127.0.0.1:1"} if kind == "redirect" else {})}
        for kind in faults.KINDS
    ]
    path.write_text(json.dumps(entries))
    assert len(Faults.load(path)) == len(faults.KINDS)
    assert all(f"    {kind} " in (faults.__doc__ or "") for kind in faults.KINDS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fault: cut", "must be a list"),
        ("- cut", "faults.yaml:1: an entry must be a mapping with the key `fault`"),
        ("- {fault: cutt, route: submit}", "there is no fault 'cutt'; did you mean 'cut'"),
        ("- {fault: cut, route: sumbit}", "cannot happen on the route 'sumbit'"),
        ("- {fault: cut}", "the fault cut needs a route"),
        (
            "- {fault: truncated, route: submit}",
            "cannot happen on the route 'submit'; it can on: sync, download",
        ),
        ("- {fault: cut, route: submit, cals: [1]}", "has no key 'cals'; did you mean 'calls'"),
        ("- {fault: cut, route: submit, calls: [0]}", "calls: 0 is not a whole number from 1 on"),
        ("- {fault: cut, route: submit, rate: 10}", "rate: 10 is not a share between 0 and 1"),
        ("- {fault: cut, route: submit, from: soon}", "from: 'soon' is not a duration"),
        ("- {fault: status, route: submit, code: bad}", "code: 'bad' is not an HTTP status"),
        ("- {fault: redirect, route: download}", "needs `to`"),
        ("- [", "is not YAML"),
        (
            "\n\n- {fault: cut, route: submit}\n- {fault: x}\n- {fault: y}",
            "faults.yaml:5: there is no fault 'y'",
        ),
    ],
)
def test_a_script_that_cannot_be_followed_says_where_and_why(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(FaultsError) as problem:
        Faults.load(path)
    assert told in str(problem.value)


def test_a_script_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match="cannot be read"):
        Faults.load(tmp_path / "none.yaml")
