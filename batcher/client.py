"""The hosted API over aiohttp: submit, status, result, sync, upload, credits. Foreign errors become ours.

Law: the key goes to the API, its storage and its history, and to nobody else; a redirect is never
followed with it. What an answer means is decided once, in `wire`; what its absence means, here.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies

import aiohttp
from yarl import URL

from batcher import errors, wire
from batcher.pacing import Kind, Pacing, Skew, reset_stamp

CONNECT_SECONDS = 10.0
SUBMIT_SECONDS = 60.0
SYNC_SECONDS = 180.0
ASK_SECONDS = 30.0
UPLOAD_HEAD, UPLOAD_TAIL = b'{"data_urls":["', b'"]}'
UPLOAD_SECONDS = 300.0
LARGEST_ANSWER = 8 * 1024 * 1024
LARGEST_OF_ALL = 256 * 1024 * 1024
"""Bytes of an answer, and of one that may carry several pictures as base64."""
PICTURED = frozenset({Kind.RESULT, Kind.SYNC, Kind.HISTORY})
REDIRECTS = frozenset({301, 302, 307, 308})
"""Answers that have done nothing but name another place; a 303 tells that it is done."""
HIDDEN = b"(the key)"
"""Stands in an answer where it had the key itself."""


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


class Answer(NamedTuple):
    """What came back: HTTP status, headers, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Streamed(NamedTuple):
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
        self.skew = Skew()
        self._key = key
        self._pacing = pacing
        self._now = now
        self._called = called

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # How many calls are under way is bounded by limits.in_flight, not by the pool.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "batcher/0.1", "Accept": "application/json, image/*;q=0.9"},
            trust_env=behind_a_proxy(),
            requote_redirect_url=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def __repr__(self) -> str:
        return f"<Client {self.endpoints.api}>"

    # --- the calls. `turn` is what the pacing's gate gave for it: no call without one.

    async def submit(self, model: str, params: Mapping[str, Any], turn: float) -> wire.Accepted:
        """POST /v2/{model}. Raises ApiError; AnswerLost where the job may exist all the same."""
        url = f"{self.endpoints.api}/v2/{model}"
        answer = await self._call("POST", url, Kind.SUBMIT, turn, SUBMIT_SECONDS, body=body_of(params))
        with unreadable_is(errors.AnswerLost):
            return wire.accepted(answer.body, self.endpoints.api)

    async def sync(self, model: str, params: Mapping[str, Any], turn: float) -> wire.Result:
        """POST /v1/{model}: blocks, and its answer is the result. Raises ApiError; a gateway's answer is
        AnswerLost here: the job it stood before may go on and be paid."""
        url = f"{self.endpoints.api}/v1/{model}"
        try:
            answer = await self._call("POST", url, Kind.SYNC, turn, SYNC_SECONDS, body=body_of(params))
        except errors.Gateway as error:
            raise errors.AnswerLost(error.message, status=error.status) from error
        with unreadable_is(errors.AnswerLost):
            return wire.sync_result(answer.headers, answer.body)

    async def status(self, url: str, turn: float, *, foreign: wire.Foreign = wire.of_no_other) -> wire.Status:
        """GET status_url; `foreign` knows the other jobs. Raises ApiError; InferenceFailed when it says
        FAILED."""
        answer = await self._call("GET", url, Kind.STATUS, turn, ASK_SECONDS, also=422)
        with unreadable_is(errors.AnswerLost):
            return wire.status(answer.body, code=answer.status, foreign=foreign)

    async def result(self, url: str, turn: float, *, foreign: wire.Foreign = wire.of_no_other) -> wire.Result:
        """GET response_url; `foreign` knows the other jobs. Raises ApiError; InferenceFailed when it says
        FAILED."""
        answer = await self._call("GET", url, Kind.RESULT, turn, ASK_SECONDS, also=422)
        with unreadable_is(errors.AnswerLost):
            return wire.result(answer.body, code=answer.status, foreign=foreign)

    async def upload(self, data_url: Streamed, turn: float) -> str:
        """POST {storage}/upload-asset with one file as a data URL (ASCII bytes); its URL. Raises ApiError."""
        body = Streamed(len(UPLOAD_HEAD) + data_url.size + len(UPLOAD_TAIL), _framed(data_url.pieces))
        url = f"{self.endpoints.storage}/upload-asset"
        answer = await self._call("POST", url, Kind.UPLOAD, turn, UPLOAD_SECONDS, body=body)
        with unreadable_is(errors.AnswerLost):
            return wire.uploaded_urls(answer.body)[0]

    async def history(
        self, turn: float, *, model: str, first: str, last: str, page: int, per_page: int
    ) -> list[wire.HistoryRow]:
        """GET the request history, days `first` to `last` (YYYY-MM-DD, UTC). Raises ApiError."""
        asked = {"page": page, "per_page": per_page, "from_date": first, "to_date": last, "model_name": model}
        url = f"{self.endpoints.history}/inference-request/request-history?{urlencode(asked)}"
        answer = await self._call("GET", url, Kind.HISTORY, turn, ASK_SECONDS)
        with unreadable_is(errors.AnswerLost):
            return wire.history_rows(answer.body)

    async def credits(self, turn: float) -> float:
        """GET /v1/get-user-credits, free of charge: what the account has left. Raises ApiError."""
        url = f"{self.endpoints.api}/v1/get-user-credits"
        answer = await self._call("GET", url, Kind.CREDITS, turn, ASK_SECONDS)
        with unreadable_is(errors.AnswerLost):
            return wire.credits_left(answer.body)

    # --- one call

    async def _call(
        self,
        method: str,
        url: str,
        kind: Kind,
        turn: float,
        seconds: float,
        *,
        body: bytes | Streamed | None = None,
        also: int | None = None,
    ) -> Answer:
        """Makes one call and hands back an answer that says yes, every 2xx or `also`: a 2xx that is not
        expected may be a yes too. Every other is raised as what it means."""
        if not self.endpoints.may_see_the_key(url):
            host = urlsplit(url).netloc
            raise errors.Misled(f"the API names the host {host} for its answers, which may not see the key")
        self._called(kind)
        answer = await self._exchange(method, url, kind, body, seconds)
        self.skew.observe(answer.headers, self._now())
        if answer.status == 429:
            raise self._throttled(kind, answer, turn)
        self._pacing.accepted(kind)
        if 200 <= answer.status < 300 or answer.status == also:
            return answer
        if answer.status in REDIRECTS:
            raise errors.Misled("the API redirects its calls; is the base URL right?", status=answer.status)
        raise wire.refusal(answer.status, answer.body, call=kind)

    async def _exchange(
        self, method: str, url: str, kind: Kind, body: bytes | Streamed | None, seconds: float
    ) -> Answer:
        headers = {"x-api-key": self._key}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data: bytes | AsyncIterable[bytes] | None
        if isinstance(body, Streamed):
            headers["Content-Length"] = str(body.size)
            data = body.pieces
        else:
            data = body
        with transport_errors():
            async with self._session.request(
                method,
                exact(url),
                data=data,
                headers=headers,
                timeout=_timeout(seconds),
                allow_redirects=False,
            ) as response:
                told = await read_limited(response, LARGEST_OF_ALL if kind in PICTURED else LARGEST_ANSWER)
        # What an answer says is written down, and some services repeat the key that they refuse.
        return Answer(response.status, response.headers, told.replace(self._key.encode(), HIDDEN))

    def _throttled(self, kind: Kind, answer: Answer, turn: float) -> errors.Throttled:
        self._called("throttled")
        now = self._now()
        reset_at = reset_stamp(answer.headers, now, self.skew)
        self._pacing.throttled(kind, reset_at, now, turn)
        return errors.Throttled(wire.message_of(answer.body) or "rate limited", reset_at=reset_at)


async def _framed(data_url: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    yield UPLOAD_HEAD
    async for piece in data_url:
        yield piece
    yield UPLOAD_TAIL


@cache
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)


def body_of(params: Mapping[str, Any]) -> bytes:
    """The request body as JSON. Raises Rejected where it cannot be told in JSON: nothing was sent."""
    try:
        return json.dumps(params, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise errors.Rejected(f"the parameters cannot be told in JSON: {error}") from error


async def read_limited(response: aiohttp.ClientResponse, most: int) -> bytes:
    """A whole body. Raises AnswerLost when it is larger than `most` bytes."""
    if (response.content_length or most) < most and "Content-Encoding" not in response.headers:
        return await response.read()  # no more comes than it says
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > most:
            raise errors.AnswerLost(f"the answer is larger than {most >> 20} MB")
        chunks.append(chunk)
    return b"".join(chunks)


@contextmanager
def unreadable_is(kind: type[errors.ApiError]) -> Iterator[None]:
    """Turns an answer that cannot be read into the error that this means at its place."""
    try:
        yield
    except wire.Unreadable as error:
        raise kind(str(error), status=200) from error


NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,  # a proxy makes no tunnel
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    UnicodeError,  # a host with a label that no name has, as in api..example
)
"""Raised before a byte of the request left: proof that nothing was accepted."""


@contextmanager
def transport_errors() -> Iterator[None]:
    """aiohttp's errors become ours: Refused where nothing was sent, AnswerLost where it may have been."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise errors.Misled(f"{_plain(error)}; nothing was sent") from error
    except NEVER_SENT as error:
        raise errors.Refused(_plain(error)) from error
    except TimeoutError as error:
        raise errors.AnswerLost("no answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise errors.AnswerLost(_plain(error)) from error


def _plain(error: BaseException) -> str:
    """The error's words without addresses that differ from call to call: equal causes count as one."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return f"the certificate of {error.host} is not to be trusted: {why}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy lets nothing through: HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


def exact(url: str) -> URL:
    """A URL of an answer as it stands there, to the byte: a signature may cover its very spelling. One that
    no request can hold is spelled anew."""
    try:
        found = URL(url, encoded=CLEAN.fullmatch(url) is not None)
        found.port  # noqa: B018  # a number that is none is told here
    except ValueError as error:
        raise aiohttp.InvalidURL(url) from error
    return found


CLEAN = re.compile(r"https?://(?:[\w.~:/?#@!$&'()*+,;=-]|%[0-9a-f]{2})+", re.IGNORECASE | re.ASCII)


def behind_a_proxy() -> bool:
    """Whether the environment names a proxy. Where it does not, no call need look for one. Raises UsageError
    where what it names is no URL, without what it is: it may hold a password."""
    named = {scheme: address for scheme, address in getproxies().items() if scheme in ("http", "https")}
    for scheme, address in named.items():
        if not _is_proxy(address):
            raise errors.UsageError(
                f"the {scheme} proxy that the environment names is no URL; it is told as "
                "http://user:password@host:port, with %40, %2F and %23 for an @, / and # in the password"
            )
    return bool(named)


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:
        return False


@asynccontextmanager
async def plain_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that has no key: for file hosts."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "batcher/0.1"},
        trust_env=behind_a_proxy(),
        requote_redirect_url=False,
    ) as session:
        yield session
