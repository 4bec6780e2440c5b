"""The hosted API over aiohttp: submit, status, result, sync, upload, history, credits. Foreign
errors become ours.

Rule: the key goes to the API, its storage and its history, and to nobody else; a redirect is never
followed with it. What an answer means is decided once, in `wire`; what its absence means, here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from batcher import errors
from batcher.api import wire
from batcher.api.answer_memory import AnswerMemory, Lease, released_on_error
from batcher.api.connections import PostConnector, post_session, watched_request
from batcher.api.content_encoding import ACCEPTED
from batcher.api.http import (
    LONGEST_HEADER,
    UNLIMITED,
    USER_AGENT,
    Connector,
    Garbled,
    TooLarge,
    check_proxies,
    exact,
    proxy_of,
    read_limited,
    transport_errors,
)
from batcher.api.key_mask import KeyMask
from batcher.api.pacing import CallKind, ClockSkew, Pacing, reset_stamp
from batcher.api.time_limit import time_limit
from batcher.api.unreadable import (
    LARGEST_KEPT,
    Response,
    not_understood,
    unreadable_is,
    unreadable_is_not_understood,
)

SUBMIT_SECONDS = 60.0
SYNC_SECONDS = 180.0
ASK_SECONDS = 30.0
UPLOAD_HEAD, UPLOAD_BETWEEN, UPLOAD_TAIL = b'{"data_urls":["', b'","', b'"]}'
UPLOAD_SECONDS = 300.0
LARGEST_ANSWER = 8 * 1024 * 1024
LARGEST_OF_ALL = 256 * 1024 * 1024
"""Bytes of an answer, and of one that may carry several pictures as base64."""
PICTURED = frozenset({CallKind.RESULT, CallKind.SYNC})
PAYING = frozenset({CallKind.SUBMIT, CallKind.SYNC})


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the API lives: the hosts that may see the key, besides *.segmind.com."""

    api: str = "https://api.segmind.com"
    storage: str = "https://workflows-api.segmind.com"
    history: str = "https://api.spotprod.segmind.com"

    def may_see_the_key(self, url: str) -> bool:
        """Whether `url` is at one of our hosts, by the same scheme."""
        if url.startswith((f"{self.api}/v2/", f"{self.api}/v1/")):
            return True
        asked = _origin(url)
        if asked is None:
            return False
        if asked[0] == "https" and asked[1].endswith(".segmind.com"):
            return True
        return asked in (_origin(self.api), _origin(self.storage), _origin(self.history))


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of a URL; None: it has none, or a user name, which no answer of the API has."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


class StreamedBody(NamedTuple):
    """A body that is never held as a whole: how many bytes it has, and these in pieces, once."""

    size: int
    pieces: AsyncIterable[bytes]


class Client:
    """The API as one account sees it. An async context manager.

    `called` is told every call by its kind, and "throttled" at each 429.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        key: str,
        *,
        pacing: Pacing,
        now: Callable[[], float],
        called: Callable[[str], None],
    ) -> None:
        self.endpoints = endpoints
        self.pacing = pacing
        self.skew = ClockSkew()
        self._key = key
        self._mask = KeyMask(key)
        self._now = now
        self._called = called
        self.memory = AnswerMemory()

    async def __aenter__(self) -> Self:
        check_proxies()
        options: dict[str, Any] = {
            "cookie_jar": aiohttp.DummyCookieJar(),
            "headers": {
                "User-Agent": USER_AGENT,
                "Accept": "application/json, image/*;q=0.9",
                "Accept-Encoding": ACCEPTED,
            },
            "auto_decompress": False,
            "requote_redirect_url": False,
            "timeout": UNLIMITED,
            "max_line_size": LONGEST_HEADER,
            "max_field_size": LONGEST_HEADER,
        }
        self._session = aiohttp.ClientSession(
            connector=Connector(),
            **options,
        )
        self._post_connector = PostConnector()
        self._posts = post_session(self._post_connector, **options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._session.close()
        finally:
            await self._posts.close()

    def __repr__(self) -> str:
        return f"<Client {self.endpoints.api}>"

    # --- the calls. `sent_at` is what the gate's `acquire` returned: no call is made without it. It is not
    # asked for in here, since an intent must be on disk between that moment and the POST.

    async def submit(self, model: str, params: Mapping[str, Any], sent_at: float) -> wire.Accepted:
        """POST /v2/{model}. Raises ApiError; AnswerLost, NotUnderstood where the job may exist."""
        url = f"{self.endpoints.api}/v2/{model}"
        try:
            answer = await self._call(
                "POST", url, CallKind.SUBMIT, sent_at, SUBMIT_SECONDS, body=body_of(params)
            )
        except errors.AnswerLost as error:
            if 200 <= error.status < 300:
                with suppress(wire.Unreadable):
                    return self._accepted(error.answer)  # the line was cut behind the id
            raise
        with unreadable_is_not_understood(answer):
            return self._accepted(answer.body)

    def _accepted(self, body: bytes) -> wire.Accepted:
        return wire.accepted(body, self.endpoints.api, may_follow=self.endpoints.may_see_the_key)

    async def sync(
        self, model: str, params: Mapping[str, Any], sent_at: float, room: Lease | None = None
    ) -> wire.Result:
        """POST /v1/{model}: blocks, and its answer is the result, whose bytes take `room`. Raises ApiError; a
        gateway's answer is AnswerLost here: the job it stood before may go on and be paid."""
        url = f"{self.endpoints.api}/v1/{model}"
        with released_on_error(room):
            try:
                answer = await self._call(
                    "POST", url, CallKind.SYNC, sent_at, SYNC_SECONDS, body=body_of(params), room=room
                )
            except errors.Gateway as error:
                raise errors.AnswerLost(error.message, status=error.status) from error
            with unreadable_is_not_understood(answer, names_its_job=True):
                return wire.sync_result(answer.headers, answer.body, base=url)

    async def status(self, url: str, sent_at: float) -> wire.Status:
        """GET status_url. Raises ApiError; InferenceFailed when it says FAILED."""
        answer = await self._call("GET", url, CallKind.STATUS, sent_at, ASK_SECONDS, also=422)
        with unreadable_is(errors.AnswerLost):
            return wire.status(answer.body, code=answer.status)

    async def result(self, url: str, sent_at: float, room: Lease | None = None) -> wire.Result:
        """GET response_url; what its answer brings takes `room`. Raises ApiError; InferenceFailed when it
        says FAILED, NotUnderstood when it says another word that may be an end."""
        with released_on_error(room), unreadable_is(errors.AnswerLost):
            answer = await self._call("GET", url, CallKind.RESULT, sent_at, ASK_SECONDS, also=422, room=room)
            try:
                return wire.result(answer.body, code=answer.status, base=url)
            except wire.UnknownEnd as error:
                raise not_understood(answer, str(error)) from error

    async def upload(self, data_url: StreamedBody, sent_at: float) -> str:
        """POST {storage}/upload-asset with one file as a data URL (ASCII bytes); its URL. Raises ApiError."""
        return (await self.upload_all([data_url], sent_at))[0]

    async def upload_all(self, data_urls: Sequence[StreamedBody], sent_at: float) -> list[str]:
        """The same with several files in one call: the URLs as they are answered, one or more. Raises
        ApiError."""
        between = len(UPLOAD_BETWEEN) * (len(data_urls) - 1)
        size = len(UPLOAD_HEAD) + sum(data_url.size for data_url in data_urls) + between + len(UPLOAD_TAIL)
        body = StreamedBody(size, _framed(data_urls))
        url = f"{self.endpoints.storage}/upload-asset"
        answer = await self._call("POST", url, CallKind.UPLOAD, sent_at, UPLOAD_SECONDS, body=body)
        with unreadable_is(errors.AnswerLost):
            return wire.uploaded_urls(answer.body)

    async def history(
        self, sent_at: float, *, model: str, first: str, last: str, page: int, per_page: int
    ) -> wire.HistoryPage:
        """GET a page of the request history, days `first` to `last` (YYYY-MM-DD, UTC), the newest first.
        Raises ApiError; AnswerLost with a status where the answer cannot be believed."""
        asked = {"page": page, "per_page": per_page, "from_date": first, "to_date": last, "model_name": model}
        url = f"{self._history}?{urlencode(asked)}"
        answer = await self._call("GET", url, CallKind.HISTORY, sent_at, ASK_SECONDS)
        with unreadable_is(errors.AnswerLost):
            return wire.history_page(answer.body, url)

    async def history_of(self, request_id: str, sent_at: float) -> wire.HistoryRow:
        """GET one request of ours, of any age, from the history. Raises ApiError as `history`; RecordGone
        where the history knows no such request of this key."""
        url = f"{self._history}/{quote(request_id, safe='')}"
        answer = await self._call("GET", url, CallKind.HISTORY, sent_at, ASK_SECONDS)
        with unreadable_is(errors.AnswerLost):
            return wire.history_row(answer.body, request_id, url)

    @property
    def _history(self) -> str:
        return f"{self.endpoints.history}/inference-request/request-history"

    async def credits(self, sent_at: float) -> float:
        """GET /v1/get-user-credits, free of charge: what the account has left. Raises ApiError."""
        url = f"{self.endpoints.api}/v1/get-user-credits"
        answer = await self._call("GET", url, CallKind.CREDITS, sent_at, ASK_SECONDS)
        with unreadable_is(errors.AnswerLost):
            return wire.credits_left(answer.body)

    # --- one call

    async def _call(
        self,
        method: str,
        url: str,
        kind: CallKind,
        sent_at: float,
        seconds: float,
        *,
        body: bytes | StreamedBody | None = None,
        also: int | None = None,
        room: Lease | None = None,
    ) -> Response:
        """Makes one call and hands back an answer that says yes, every 2xx or `also`: a 2xx that is not
        expected may be a yes too. Every other is raised as what it means."""
        if not self.endpoints.may_see_the_key(url):
            host = urlsplit(url).netloc
            raise errors.WrongEndpoint(
                f"the API names the host {host} for its answers, which may not see the key"
            )
        self._called(kind)
        with self.memory.lease() as own:
            room = room or own
            if kind in PAYING:
                answer = await self._post_once(url, kind, body, seconds, room)
            else:
                answer = await self._exchange(method, url, kind, body, seconds, room)
        self.skew.observe(answer.headers, self._now())
        if answer.status == 429:
            raise self._throttled(kind, answer, sent_at)
        self.pacing.accepted(kind)
        if 200 <= answer.status < 300 or answer.status == also:
            return answer
        location = answer.headers.get("Location", "")
        raise wire.refusal(answer.status, answer.body, call=kind, location=location)

    async def _post_once(
        self, url: str, kind: CallKind, body: bytes | StreamedBody | None, seconds: float, room: Lease
    ) -> Response:
        """A POST that may be paid for. Raises Unreachable where its body was never written."""
        while True:
            with watched_request() as request:
                try:
                    return await self._exchange("POST", url, kind, body, seconds, room)
                except errors.AnswerLost as error:
                    if request.reused and not error.status:
                        self._post_connector.fresh_only = True
                    if request.stale:
                        continue
                    if not request.began:
                        raise errors.Unreachable(error.message) from error
                    raise

    async def _exchange(
        self,
        method: str,
        url: str,
        kind: CallKind,
        body: bytes | StreamedBody | None,
        seconds: float,
        room: Lease,
    ) -> Response:
        headers = {"x-api-key": self._key}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data: bytes | AsyncIterable[bytes] | None
        if isinstance(body, StreamedBody):
            headers["Content-Length"] = str(body.size)
            data = body.pieces
        else:
            data = body
        status, job = 0, None
        chunks: list[bytes] | None = [] if kind is CallKind.SUBMIT else None
        try:
            with transport_errors(), time_limit(seconds) as limit:

                async def reserve(size: int) -> None:
                    with limit.paused():
                        await room.reserve(size)

                target = exact(url)
                async with (self._posts if kind in PAYING else self._session).request(
                    method,
                    target,
                    proxy=proxy_of(target),
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                ) as response:
                    status = response.status
                    if kind is CallKind.SYNC:
                        job = wire.header(response.headers, "x-request-id")
                    most = LARGEST_OF_ALL if kind in PICTURED else LARGEST_ANSWER
                    content = await read_limited(response, most, reserve, chunks=chunks)
        except TooLarge as error:
            if kind not in PAYING:
                error.status = status  # it came, and tells nothing that can be used
                raise
            kept = self._mask.body(error.beginning[:LARGEST_KEPT])
            said = f"HTTP {status}: {error.message}"
            raise _held(said, status, job, kept) from error
        except Garbled as error:
            if status >= 300:  # it says no by that alone
                return Response(status, self._mask.headers(response.headers), b"")
            if kind not in PAYING:
                raise errors.AnswerLost(error.message, status=status) from error
            raise _held(error.message, status, job) from error
        except errors.AnswerLost as error:
            came = self._mask.body(b"".join(chunks or ()))
            raise errors.AnswerLost(error.message, status=status, answer=came, request_id=job) from error
        return Response(status, self._mask.headers(response.headers), self._mask.body(content))

    def _throttled(self, kind: CallKind, answer: Response, sent_at: float) -> errors.Throttled:
        self._called("throttled")
        now = self._now()
        reset_at = reset_stamp(answer.headers, now, self.skew)
        self.pacing.throttled(kind, reset_at, now, sent_at)
        return errors.Throttled(wire.message_of(answer.body) or "rate limited", reset_at=reset_at)


def _held(said: str, status: int, job: str | None, answer: bytes = b"") -> errors.NotUnderstood:
    """An answer that may be a yes, and cannot be taken; its headers may have named the job."""
    error = errors.NotUnderstood(said, status=status, answer=answer)
    error.request_id = job
    return error


async def _framed(data_urls: Sequence[StreamedBody]) -> AsyncIterator[bytes]:
    between = UPLOAD_HEAD
    for data_url in data_urls:
        yield between
        async for piece in data_url.pieces:
            yield piece
        between = UPLOAD_BETWEEN
    yield UPLOAD_TAIL


def body_of(params: Mapping[str, Any]) -> bytes:
    """The request body as JSON. Raises Rejected where it cannot be told in JSON: nothing was sent."""
    try:
        return json.dumps(params, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise errors.Rejected(f"the parameters cannot be told in JSON: {error}") from error
