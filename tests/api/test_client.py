"""The API over aiohttp: what each mishap becomes, where the key goes, and that a POST is sent once."""

from __future__ import annotations

import base64
import gzip
import json
import ssl
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher import errors
from batcher.api import client as client_module
from batcher.api import http, wire
from batcher.api.client import Client, Endpoints, StreamedBody
from batcher.api.pacing import Pacing
from batcher.sandbox import Faults, faults
from tests.support.foreign import Foreign, Script, answer, closed_port, raw
from tests.support.pictures import noisy_picture
from tests.support.sandboxes import MakeSandbox

KEY = "SG_0123456789abcdef"
MODEL = "mock-inference"
BODY = {"sleep": 1}
PNG = noisy_picture()
PICTURE = {"image": "https://segmind.com/image5.png", "prompt": "streets"}


@asynccontextmanager
async def client_of(
    url: str, now: Callable[[], float], *, storage: str | None = None, called: Counter[str] | None = None
) -> AsyncIterator[Client]:
    heard: Counter[str] = Counter() if called is None else called
    pacing = Pacing(rpm=None, now=now)
    endpoints = Endpoints(url, storage or url, url)
    async with Client(
        endpoints, KEY, pacing=pacing, now=now, called=lambda kind: heard.update([kind])
    ) as client:
        yield client


async def until_ended(client: Client, accepted: wire.Accepted) -> None:
    for _ in range(1000):
        if (await client.status(accepted.status_url, 0.0)).finished:
            return
        await anyio.sleep(1)
    raise AssertionError("it never ended")


@pytest.mark.parametrize("host", ["a..invalid", "a" * 64 + ".invalid"])
def test_a_host_that_no_name_system_takes_was_sent_nothing(host: str) -> None:
    with pytest.raises(errors.Unreachable), http.transport_errors():
        host.encode("idna")  # as the look-up of the name does


# --- the calls, on a good day


async def test_a_job_goes_from_its_submit_to_its_result(
    sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    called: Counter[str] = Counter()
    async with sandbox(service=2) as server, client_of(server.url, now, called=called) as client:
        accepted = await client.submit("sd1.5-outpaint", PICTURE, 0.0)
        assert accepted.request_id in server.jobs
        assert not (await client.status(accepted.status_url, 0.0)).finished
        await until_ended(client, accepted)
        result = await client.result(accepted.response_url, 0.0)
        assert [output.url is not None for output in result.outputs] == [True]
        assert result.cost is not None
        assert result.cost > 0
        assert await client.credits(0.0) == pytest.approx(server.credits_left)
        assert called["submit"] == called["result"] == called["credits"] == 1


async def test_a_blocking_call_gives_bytes_and_the_bill(
    sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    async with sandbox(service=100) as server, client_of(server.url, now) as client:
        result = await client.sync("sd1.5-outpaint", PICTURE, 0.0)
        assert (result.outputs[0].data or b"").startswith(b"\x89PNG")
        assert result.cost == pytest.approx(server.spent)


def whole(data_url: bytes) -> StreamedBody:
    """A data URL in one piece."""

    async def pieces() -> AsyncIterator[bytes]:
        yield data_url

    return StreamedBody(len(data_url), pieces())


@pytest.mark.parametrize("name", ["file_urls", "urls"])
async def test_an_upload_gives_a_url(sandbox: MakeSandbox, now: Callable[[], float], name: str) -> None:
    async with sandbox(upload_key=name) as server, client_of(server.url, now) as client:
        assert (await client.upload(whole(b"data:image/png;base64,iVBORw0KGgo="), 0.0)).startswith(server.url)


# --- one bad answer to a submit: what it proves


@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [
        (faults.Cut(route="submit"), errors.AnswerLost, 0),
        (faults.Cut(route="submit", accepted=True), errors.AnswerLost, 1),
        (faults.Hang(route="submit", accepted=False), errors.AnswerLost, 0),
        (faults.Hang(route="submit", accepted=True), errors.AnswerLost, 1),
        (faults.HalfJson(route="submit", share=0.1), errors.NotUnderstood, 1),
        (faults.NotJson(route="submit"), errors.NotUnderstood, 1),
        (faults.Html(route="submit"), errors.NotUnderstood, 0),
        (faults.Html(route="submit", code=204), errors.NotUnderstood, 0),
        (faults.Html(route="submit", code=206), errors.NotUnderstood, 0),
        (faults.Slow(route="submit", delay=61), errors.AnswerLost, 1),
        (faults.Status(route="submit", code=400), errors.Rejected, 0),
        (faults.Status(route="submit", code=401), errors.BadKey, 0),
        (faults.Status(route="submit", code=403), errors.Forbidden, 0),
        (faults.Status(route="submit", code=404), errors.ModelGone, 0),
        (faults.Status(route="submit", code=405, page=True), errors.Rejected, 0),
        (faults.Status(route="submit", code=406, message="Insufficient credits"), errors.OutOfCredits, 0),
        (faults.Status(route="submit", code=406, message="Invalid content type"), errors.Rejected, 0),
        (faults.Status(route="submit", code=410), errors.ModelGone, 0),
        (faults.Status(route="submit", code=500), errors.ServerError, 0),
        (faults.Status(route="submit", code=502, page=True), errors.Gateway, 0),
        (faults.Status(route="submit", code=503), errors.Gateway, 0),
        (faults.Status(route="submit", code=504), errors.Gateway, 0),
        (faults.Status(route="submit", code=530), errors.Gateway, 0),
        (faults.Status(route="submit", code=502, accepted=True), errors.Gateway, 1),
        (faults.Throttle(route="submit"), errors.Throttled, 0),
        (faults.Redirect(route="submit", to="http://127.0.0.1:1"), errors.NotUnderstood, 0),
        (faults.Status(route="submit", code=303), errors.NotUnderstood, 0),
        (faults.Status(route="submit", code=407), errors.WrongEndpoint, 0),
        (faults.Status(route="submit", code=408), errors.Unreachable, 0),
        (faults.Status(route="submit", code=421), errors.Unreachable, 0),
        (faults.Status(route="submit", code=425), errors.Unreachable, 0),
    ],
)
async def test_a_submit_that_gets_no_yes_is_sent_once_and_told_as_what_it_means(
    sandbox: MakeSandbox, now: Callable[[], float], fault: Any, kind: type[errors.ApiError], accepted: int
) -> None:
    async with sandbox(faults=Faults([fault])) as server, client_of(server.url, now) as client:
        with pytest.raises(errors.ApiError) as caught:
            await client.submit(MODEL, BODY, 0.0)
        assert type(caught.value) is kind
        assert KEY not in str(caught.value)
        assert server.counts["submit"] == 1
        assert len(server.jobs) == accepted


@pytest.mark.parametrize("broken", [b'{"request_id": "7", "sta', b'[{"requestId": "7"'])
async def test_a_submit_that_breaks_off_behind_its_id_is_a_job(
    now: Callable[[], float], broken: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    for length in (len(broken), 1000):
        async with Foreign(raw(head % length + broken)) as server, client_of(server.url, now) as client:
            accepted = await client.submit(MODEL, BODY, 0.0)
            assert accepted.request_id == "7"
            assert accepted.response_url == f"{server.url}/v2/requests/7"


async def test_a_submit_that_breaks_off_before_its_id_came_whole_is_none(now: Callable[[], float]) -> None:
    broken = b'{"request_id": "7'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    for length, kind in ((len(broken), errors.NotUnderstood), (1000, errors.AnswerLost)):
        async with Foreign(raw(head % length + broken)) as server, client_of(server.url, now) as client:
            with pytest.raises(errors.ApiError) as caught:
                await client.submit(MODEL, BODY, 0.0)
            assert type(caught.value) is kind
            assert caught.value.status == 200


async def test_no_connection_proves_that_nothing_was_accepted(now: Callable[[], float]) -> None:
    async with client_of(closed_port(), now) as client:
        for call in (client.submit(MODEL, BODY, 0.0), client.sync(MODEL, BODY, 0.0), client.credits(0.0)):
            with pytest.raises(errors.Unreachable, match="cannot connect"):
                await call


async def test_each_call_has_its_time(sandbox: MakeSandbox, now: Callable[[], float]) -> None:
    script = Faults([faults.Hang(route=["submit", "sync", "status", "result", "upload", "credits"])])
    async with sandbox(faults=script) as server, client_of(server.url, now) as client:
        for call, seconds in (
            (client.submit(MODEL, BODY, 0.0), 60),
            (client.sync(MODEL, BODY, 0.0), 180),
            (client.status(f"{server.url}/v2/requests/x/status", 0.0), 30),
            (client.result(f"{server.url}/v2/requests/x", 0.0), 30),
            (client.upload(whole(b"data:,"), 0.0), 300),
            (client.credits(0.0), 30),
        ):
            began = now()
            with pytest.raises(errors.AnswerLost, match="in time"):
                await call
            assert now() - began == pytest.approx(seconds, abs=1)


@pytest.mark.parametrize("code", [502, 503, 504, 524])
async def test_a_gateways_answer_to_a_blocking_call_is_doubt(now: Callable[[], float], code: int) -> None:
    async with Foreign(answer(f"{code} Gone wrong")) as server, client_of(server.url, now) as client:
        with pytest.raises(errors.AnswerLost) as caught:
            await client.sync(MODEL, BODY, 0.0)
        assert caught.value.status == min(code, 504)
        assert server.requests == 1


async def test_a_picture_that_is_cut_off_in_a_blocking_answer_is_doubt(
    sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    script = Faults([faults.Short(route="sync", calls=[1]), faults.Empty(route="sync", calls=[2])])
    async with sandbox(faults=script) as server, client_of(server.url, now) as client:
        for _ in range(2):
            with pytest.raises((errors.AnswerLost, errors.NotUnderstood)):
                await client.sync("sd1.5-outpaint", PICTURE, 0.0)
        assert server.billed == 2


# --- asking: nothing that went wrong on the way is taken for an answer


@pytest.mark.parametrize("route", ["status", "result"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (lambda route: faults.Cut(route=route), errors.AnswerLost),
        (lambda route: faults.Hang(route=route), errors.AnswerLost),
        (lambda route: faults.HalfJson(route=route), errors.AnswerLost),
        (lambda route: faults.NotJson(route=route), errors.AnswerLost),
        (lambda route: faults.Html(route=route), errors.AnswerLost),
        (lambda route: faults.Html(route=route, code=422), errors.AnswerLost),
        (lambda route: faults.Status(route=route, code=404), errors.RecordGone),
        (lambda route: faults.Status(route=route, code=410), errors.RecordGone),
        (lambda route: faults.Status(route=route, code=500), errors.ServerError),
        (lambda route: faults.Status(route=route, code=502), errors.Gateway),
        (lambda route: faults.Status(route=route, code=401), errors.BadKey),
        (lambda route: faults.Status(route=route, code=403), errors.Forbidden),
        (lambda route: faults.Status(route=route, code=422, message="NSFW content"), errors.AnswerLost),
        (lambda route: faults.Status(route=route, code=409), errors.Rejected),
        (lambda route: faults.Redirect(route=route, to="http://127.0.0.1:1"), errors.WrongEndpoint),
        (lambda route: faults.Throttle(route=route), errors.Throttled),
    ],
)
async def test_a_question_that_gets_no_answer_is_told_as_what_it_means(
    sandbox: MakeSandbox,
    now: Callable[[], float],
    route: str,
    fault: Callable[[str], Any],
    kind: type[errors.ApiError],
) -> None:
    async with sandbox(faults=Faults([fault(route)])) as server, client_of(server.url, now) as client:
        accepted = await client.submit(MODEL, BODY, 0.0)
        ask, url = {
            "status": (client.status, accepted.status_url),
            "result": (client.result, accepted.response_url),
        }[route]
        with pytest.raises(errors.ApiError) as caught:
            await ask(url, 0.0)
        assert type(caught.value) is kind


async def test_a_job_that_failed_is_told_by_status_and_result(
    sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    script = Faults([faults.Failed(error="CUDA out of memory")])
    async with sandbox(faults=script, service=0) as server, client_of(server.url, now) as client:
        accepted = await client.submit(MODEL, BODY, 0.0)
        await anyio.sleep(5)
        for call in (client.status(accepted.status_url, 0.0), client.result(accepted.response_url, 0.0)):
            with pytest.raises(errors.InferenceFailed, match="CUDA out of memory"):
                await call


async def test_a_202_that_is_still_at_work_is_an_answer(now: Callable[[], float]) -> None:
    body = b'{"status": "PROCESSING"}'
    async with Foreign(answer("202 Accepted", body)) as server, client_of(server.url, now) as client:
        assert (await client.status(f"{server.url}/s", 0.0)).word == "PROCESSING"
        with pytest.raises(errors.AnswerLost, match="still PROCESSING"):
            await client.result(f"{server.url}/r", 0.0)


# --- 429


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({"reset_in": 7.0}, 7.0),
        ({"reset_in": None}, None),
        ({"reset_in": None, "retry_after": "12"}, 12.0),
        ({"reset_in": None, "retry_after": "7.5"}, 7.5),
        ({"reset_in": None, "retry_after": "date"}, 1.0),
        ({"reset_in": 7.0, "retry_after": "99"}, 7.0),
        ({"reset_in": None, "retry_after": "soon"}, None),
        ({"reset_in": None, "retry_after": ""}, None),
        ({"reset_in": None, "retry_after": "nan"}, None),
    ],
)
async def test_a_throttle_tells_when_calls_pass_again_where_it_does(
    sandbox: MakeSandbox, now: Callable[[], float], settings: dict[str, Any], seconds: float | None
) -> None:
    called: Counter[str] = Counter()
    script = Faults([faults.Throttle(route="submit", **settings)])
    async with sandbox(faults=script) as server, client_of(server.url, now, called=called) as client:
        with pytest.raises(errors.Throttled) as caught:
            await client.submit(MODEL, BODY, 0.0)
        told = caught.value.reset_at
        assert told is None if seconds is None else told == pytest.approx(now() + seconds, abs=1.1)
        assert called == {"submit": 1, "throttled": 1}


# --- a POST is sent once


async def test_a_post_on_a_line_that_died_while_idle_is_not_sent_again(now: Callable[[], float]) -> None:
    accepted = json.dumps({"request_id": "r", "status_url": "/s", "response_url": "/r"}).encode()
    good = answer("200 OK", accepted)

    async def script(reader: Any, writer: Any, number: int) -> None:
        if number == 1:
            await good(reader, writer, number)
        else:
            writer.transport.abort()

    async with Foreign(script) as server, client_of(server.url, now) as client:
        await client.submit(MODEL, BODY, 0.0)
        with pytest.raises(errors.AnswerLost):
            await client.submit(MODEL, BODY, 0.0)
        assert server.connections == 1, "the second call should have used the kept line"
        assert server.requests == 2


async def test_a_post_that_meets_a_closed_line_before_it_is_written_leaves_on_a_fresh_one(
    now: Callable[[], float],
) -> None:
    accepted = json.dumps({"request_id": "r", "status_url": "/s", "response_url": "/r"}).encode()
    idle: list[Any] = []

    async def script(reader: Any, writer: Any, number: int) -> None:
        await answer("200 OK", accepted)(reader, writer, number)
        idle.append(writer)

    async with Foreign(script) as server, client_of(server.url, now) as client:
        for number in range(1, 6):
            await client.submit(MODEL, BODY, 0.0)
            idle.pop().close()  # its end lies in our socket, unread, when the next one leaves
            assert server.requests == server.connections == number


async def test_where_the_host_closes_lines_under_posts_all_others_leave_on_fresh_ones(
    now: Callable[[], float],
) -> None:
    accepted = json.dumps({"request_id": "r", "status_url": "/s", "response_url": "/r"}).encode()
    served: set[int] = set()

    async def script(reader: Any, writer: Any, number: int) -> None:
        if id(writer) in served:
            writer.transport.abort()
            return
        served.add(id(writer))
        keep.append(writer)
        await answer("200 OK", accepted)(reader, writer, number)

    keep: list[Any] = []
    async with Foreign(script) as server, client_of(server.url, now) as client:
        await client.submit(MODEL, BODY, 0.0)
        with pytest.raises(errors.AnswerLost):
            await client.submit(MODEL, BODY, 0.0)
        for number in range(2, 6):
            await client.submit(MODEL, BODY, 0.0)
            assert server.connections == number


async def test_a_time_that_is_over_before_anything_was_written_proves_that_nothing_was_sent(
    now: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await anyio.sleep_forever()

    monkeypatch.setattr(aiohttp.TCPConnector, "_resolve_host", never)
    async with client_of("http://api.invalid", now) as client:
        for call in (client.submit(MODEL, BODY, 0.0), client.sync(MODEL, BODY, 0.0)):
            with pytest.raises(errors.Unreachable):
                await call


async def test_a_line_that_was_closed_while_idle_is_not_used(now: Callable[[], float]) -> None:
    accepted = json.dumps({"request_id": "r", "status_url": "/s", "response_url": "/r"}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(accepted)}\r\n\r\n".encode()
    async with Foreign(raw(head + accepted)) as server, client_of(server.url, now) as client:
        for _ in range(3):
            await client.submit(MODEL, BODY, 0.0)
            await anyio.sleep(5)
        assert server.connections == server.requests == 3


async def test_a_blocking_post_on_a_dead_line_is_not_sent_again(now: Callable[[], float]) -> None:
    async def script(reader: Any, writer: Any, number: int) -> None:
        if number == 1:
            await answer("200 OK", b"\x89PNG", "Content-Type: image/png")(reader, writer, number)
        else:
            writer.transport.abort()

    async with Foreign(script) as server, client_of(server.url, now) as client:
        await client.sync(MODEL, BODY, 0.0)
        with pytest.raises(errors.AnswerLost):
            await client.sync(MODEL, BODY, 0.0)
        assert server.requests == 2


@pytest.mark.parametrize(
    "script",
    [
        raw(b""),
        raw(b"HTTP/1.1 200 OK\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"\r\nzz\r\n'),
        raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"),
        raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
        raw(b"\x15\x03\x01\x00\x02\x02\x46"),
        raw(b"HTTP/1.1 100 Continue\r\n\r\n"),
        answer("200 OK", b"{}"),
        answer("200 OK", b"[]"),
        answer("200 OK", b"\xff\xfe{}"),
        answer("200 OK", b"[" * 200_000),
        answer("200 OK", b'{"error":"no room","id":"e-1"}'),
        answer("204 No Content"),
        answer("299 Odd", b"ok"),
    ],
)
async def test_whatever_a_line_brings_a_post_is_sent_once_and_its_job_is_in_doubt(
    now: Callable[[], float], script: Script
) -> None:
    async with Foreign(script) as server, client_of(server.url, now) as client:
        for call in (client.submit(MODEL, BODY, 0.0), client.sync(MODEL, BODY, 0.0)):
            before = server.requests
            with pytest.raises((errors.AnswerLost, errors.NotUnderstood)):
                await call
            assert server.requests == before + 1


async def test_an_answer_without_end_is_not_read_to_it(
    now: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LARGEST_ANSWER", 1 << 20)
    bomb = gzip.compress(bytes(64 << 20))
    for script in (
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(3 << 20)),
        answer("200 OK", bomb, "Content-Encoding: gzip"),
    ):
        async with Foreign(script) as server, client_of(server.url, now) as client:
            with pytest.raises(errors.NotUnderstood, match="larger than 1 MB") as caught:
                await client.submit(MODEL, BODY, 0.0)
            assert 0 < len(caught.value.answer) <= client_module.LARGEST_KEPT


@pytest.mark.parametrize(
    ("line", "meaning"),
    [("429 No", errors.Throttled), ("503 No", errors.Gateway), ("400 No", errors.Rejected)],
)
async def test_a_no_is_a_no_whatever_its_body_is_packed_in(
    now: Callable[[], float], line: str, meaning: type[errors.ApiError]
) -> None:
    script = answer(line, b'{"error": "no"}', "Content-Encoding: gzip")
    async with Foreign(script) as server, client_of(server.url, now) as client:
        with pytest.raises(meaning):
            await client.submit(MODEL, BODY, 0.0)


async def test_a_packed_answer_is_no_larger_than_pictures_can_be_packed(now: Callable[[], float]) -> None:
    bomb = answer("200 OK", gzip.compress(bytes(64 << 20)), "Content-Encoding: gzip")
    picture = b'{"image": "%s"}' % base64.b64encode(noisy_picture())
    packed = answer("200 OK", gzip.compress(picture), "Content-Encoding: gzip")
    async with Foreign(bomb) as server, client_of(server.url, now) as client:
        with pytest.raises(errors.NotUnderstood, match="larger than 8 MB"):
            await client.sync(MODEL, BODY, 0.0)
    async with Foreign(packed) as server, client_of(server.url, now) as client:
        assert (await client.sync(MODEL, BODY, 0.0)).outputs[0].data == noisy_picture()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (answer("200 OK", b'{"error": {"message": "no workers"}}'), "HTTP 200: .*; it says: no workers"),
        (answer("200 OK", b"<html><title>Be right back</title>"), "it says: Be right back"),
        (
            answer("308 Go", b"", "Location: /elsewhere"),
            "HTTP 308: the API redirects its calls to /elsewhere",
        ),
    ],
)
async def test_an_answer_that_is_not_understood_is_kept_and_told_in_its_own_words(
    now: Callable[[], float], script: Script, says: str
) -> None:
    async with Foreign(script) as server, client_of(server.url, now) as client:
        for call in (client.submit, client.sync):
            with pytest.raises(errors.NotUnderstood, match=says):
                await call(MODEL, BODY, 0.0)


@pytest.mark.parametrize("kind", ["text/html", "application/json", "image/jpeg", "", "x;;y"])
async def test_bytes_that_begin_as_a_picture_are_the_picture(now: Callable[[], float], kind: str) -> None:
    odd = (f"Content-Type: {kind}", "x-request-id: a", "x-request-id: b", "x-cost: much")
    async with Foreign(answer("200 OK", PNG, *odd)) as server, client_of(server.url, now) as client:
        result = await client.sync(MODEL, BODY, 0.0)
    assert [output.data for output in result.outputs] == [PNG]
    assert result.cost is None


async def test_a_body_that_is_cut_off_tells_that_it_began_as_a_yes(now: Callable[[], float]) -> None:
    script = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    async with Foreign(script) as server, client_of(server.url, now) as client:
        with pytest.raises(errors.AnswerLost) as caught:
            await client.submit(MODEL, BODY, 0.0)
    assert caught.value.status == 200


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
async def test_the_key_is_hidden_however_an_answer_repeats_it(
    now: Callable[[], float], encoding: str
) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    said = f'{{"error": "no {KEY}, {escaped} nor {escaped.upper().replace("U00", "u00")}"}}'.encode(encoding)
    script = answer("403 No", said, f"Location: /{KEY}")
    async with Foreign(script) as server, client_of(server.url, now) as client:
        with pytest.raises(errors.Forbidden) as caught:
            await client.submit(MODEL, BODY, 0.0)
    assert KEY not in caught.value.message
    assert caught.value.message.count("(the key)") >= 1
    headers = (f"x-request-id: {KEY}", f"x-seed-value: a{KEY}b")
    async with Foreign(answer("200 OK", PNG, *headers)) as server, client_of(server.url, now) as client:
        result = await client.sync(MODEL, BODY, 0.0)
    assert (result.request_id, result.seed) == ("(the key)", "a(the key)b")
    async with (
        Foreign(answer("308 Go", b"", f"Location: /{KEY}")) as server,
        client_of(server.url, now) as client,
    ):
        with pytest.raises(errors.NotUnderstood) as lost:
            await client.submit(MODEL, BODY, 0.0)
    assert KEY not in lost.value.message


# --- the body


async def test_a_body_reaches_the_api_as_it_is(now: Callable[[], float]) -> None:
    params = {"prompt": "größe 東京 \u2028", "n": 1, "x": 0.1, "yes": True, "none": None, "list": [1, "2"]}
    async with Foreign(answer("400 No")) as server, client_of(server.url, now) as client:
        with pytest.raises(errors.Rejected):
            await client.submit(MODEL, params, 0.0)
        assert json.loads(server.bodies[0]) == params
        assert f"POST /v2/{MODEL} " in server.heads[0]
        assert "content-type: application/json" in server.heads[0].lower()
        assert "authorization" not in server.heads[0].lower()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", object()])
async def test_a_body_that_json_cannot_tell_is_refused_before_it_is_sent(
    now: Callable[[], float], value: Any
) -> None:
    async with Foreign(answer("200 OK")) as server, client_of(server.url, now) as client:
        with pytest.raises(errors.Rejected, match="JSON"):
            await client.submit(MODEL, {"x": value}, 0.0)
        assert server.requests == 0


# --- where the key goes


async def test_a_redirect_does_not_carry_the_key_away(sandbox: MakeSandbox, now: Callable[[], float]) -> None:
    async with Foreign(answer("200 OK", b"{}")) as thief:
        script = Faults(
            [faults.Redirect(route=["submit", "sync", "status", "result", "upload", "credits"], to=thief.url)]
        )
        async with sandbox(faults=script) as server, client_of(server.url, now) as client:
            for call in (
                client.submit(MODEL, BODY, 0.0),
                client.sync(MODEL, BODY, 0.0),
                client.status(f"{server.url}/v2/requests/x/status", 0.0),
                client.result(f"{server.url}/v2/requests/x", 0.0),
                client.upload(whole(b"data:,"), 0.0),
                client.credits(0.0),
            ):
                with pytest.raises((errors.WrongEndpoint, errors.NotUnderstood), match="redirects"):
                    await call
        assert thief.requests == 0


async def test_a_foreign_status_url_is_never_called_but_the_record_at_the_api_is(
    now: Callable[[], float],
) -> None:
    async with Foreign(answer("200 OK", b'{"status":"COMPLETED"}')) as thief:
        accepted = json.dumps(
            {"request_id": "r", "status_url": f"{thief.url}/s", "response_url": f"{thief.url}/r"}
        )
        async with (
            Foreign(answer("200 OK", accepted.encode())) as server,
            client_of(server.url, now) as client,
        ):
            told = await client.submit(MODEL, BODY, 0.0)
            assert told == ("r", f"{server.url}/v2/requests/r/status", f"{server.url}/v2/requests/r")
            for call in (client.status(f"{thief.url}/s", 0.0), client.result(f"{thief.url}/r", 0.0)):
                with pytest.raises(errors.WrongEndpoint, match="may not see the key"):
                    await call
            assert server.requests == 1
        assert thief.requests == 0


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://api.segmind.com/v2/requests/x", True),
        ("https://API.segmind.com/x", True),
        ("https://other.segmind.com/x", True),
        ("https://own.example:8443/x", True),
        ("https://OWN.example:8443/x", True),
        ("http://plain.example/x", True),
        ("http://plain.example:80/x", True),
        ("http://api.segmind.com/x", False),
        ("https://segmind.com/x", False),
        ("https://evilsegmind.com/x", False),
        ("https://api.segmind.com.evil.example/x", False),
        ("https://evil.example/api.segmind.com", False),
        ("https://api.segmind.com@evil.example/x", False),
        ("https://evil.example@api.segmind.com/x", False),
        ("https://evil.example#.segmind.com", False),
        ("https://evil.example?.segmind.com", False),
        ("https://evil.example\\@x.segmind.com/", False),
        ("http://own.example:8443/x", False),
        ("https://own.example/x", False),
        ("https://own.example:8444/x", False),
        ("https://plain.example/x", False),
        ("https://own.example:port/x", False),
        ("http://[bad", False),
        ("file:///etc/passwd", False),
        ("//api.segmind.com/x", False),
        ("", False),
    ],
)
def test_the_key_goes_to_our_hosts_alone(url: str, may: bool) -> None:
    ours = Endpoints("https://own.example:8443", "http://plain.example", "https://own.example:8443")
    assert ours.may_see_the_key(url) is may


@given(st.text("htps:/\\@.#?[]segmindcoevil 1", max_size=40).map(lambda tail: f"https://{tail}"))
def test_no_spelling_of_a_url_raises_or_leads_the_key_astray(url: str) -> None:
    from yarl import URL

    if Endpoints().may_see_the_key(url):
        try:
            host = URL(url).host or ""
        except ValueError:
            return
        assert host.endswith(".segmind.com")


async def test_the_key_is_in_no_text_about_the_client(sandbox: MakeSandbox, now: Callable[[], float]) -> None:
    async with sandbox() as server, client_of(server.url, now) as client:
        assert KEY not in f"{client!r} {client.endpoints!r}"


# --- answers out of step, and the way to the API


@pytest.mark.parametrize("call", ["status", "result"])
async def test_an_answer_says_which_job_it_is_about(now: Callable[[], float], call: str) -> None:
    """Whoever asked compares (tests/engine/test_astray.py): only the ledger knows the other jobs."""
    failed = json.dumps({"request_id": "other", "status": "FAILED", "error": "not ours"}).encode()
    async with Foreign(answer("422 X", failed)) as server, client_of(server.url, now) as client:
        with pytest.raises(errors.InferenceFailed) as raised:
            await getattr(client, call)(f"{server.url}/v2/requests/own", 0.0)
        assert raised.value.request_id == "other"
    done = json.dumps({"request_id": "other", "status": "COMPLETED", "output": "https://x/a.png"}).encode()
    async with Foreign(answer("200 OK", done)) as server, client_of(server.url, now) as client:
        assert (await getattr(client, call)(f"{server.url}/v2/requests/own", 0.0)).request_id == "other"


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        ("/a%2Fb/c.png?X=a%2Bb+c/d%3D%3D&e=%7E~%41&k=a;b&sp=a%20b", ""),
        ("/a b.png", "/a%20b.png"),
        ("/ü.png", "/%C3%BC.png"),
        ("/100%.png", "/100%25.png"),
        ("/a.png#end", "/a.png"),
    ],
)
def test_a_url_goes_out_as_it_was_told(told: str, sent: str) -> None:
    assert http.exact(f"https://host{told}").raw_path_qs == (sent or told)


@pytest.mark.parametrize("url", ["http://[bad", "http://host:99999999/x"])
def test_a_url_that_is_none_was_sent_nothing(url: str) -> None:
    with pytest.raises(errors.Unreachable), http.transport_errors():
        http.exact(url)


async def test_a_proxy_that_makes_no_tunnel_proves_that_nothing_was_sent(
    now: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Foreign(answer("407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with client_of("https://127.0.0.1:1", now) as client:
            with pytest.raises(errors.Unreachable, match="the proxy lets nothing through: HTTP 407"):
                await client.submit(MODEL, BODY, 0.0)
        assert proxy.heads[0].startswith("CONNECT ")
        assert KEY not in proxy.heads[0]


async def test_netrc_is_never_read_and_a_proxy_gets_its_own_credentials(
    now: Callable[[], float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password SECRET\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with Foreign(answer("404 Not Found", b"{}")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://me:pa%40ss@"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("no_proxy", "elsewhere.example")
        async with client_of("http://127.0.0.1:1", now) as client:
            with pytest.raises(errors.ApiError):
                await client.submit(MODEL, BODY, 0.0)
    (head,) = proxy.heads
    assert head.startswith("POST http://127.0.0.1:1/v2/")
    assert "\r\nAuthorization:" not in head
    assert f"Proxy-Authorization: Basic {b64encode(b'me:pa@ss').decode()}" in head


@pytest.mark.parametrize(
    "address", ["http://me:SECRETpa#ss@host:3128", "http://me:SECRETpa/ss@host:1", "http://[bad", "SECRET:31"]
)
def test_a_proxy_that_is_no_url_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(errors.UsageError, match="the http proxy that the environment names") as caught:
        http.check_proxies()
    assert "SECRET" not in str(caught.value)


def test_a_certificate_that_is_not_trusted_stops_at_once() -> None:
    key: Any = type("Key", (), {"host": "api.example", "port": 443, "ssl": True, "is_ssl": True})()
    error = aiohttp.ClientConnectorCertificateError(key, ssl.SSLCertVerificationError("self-signed"))
    with pytest.raises(errors.WrongEndpoint, match="certificate of api"), http.transport_errors():
        raise error
