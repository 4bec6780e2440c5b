"""Plain HTTP over aiohttp, for whoever calls: sessions, sizes, exact URLs, and aiohttp's errors as ours.

Rule: nothing here knows the key. What an answer means is decided by who asked.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from batcher import __version__, errors
from batcher.api.content_encoding import ACCEPTED, Damaged, is_packed, unpacked
from batcher.api.time_limit import time_limit

LONGEST_HEADER = 64 * 1024
"""Bytes; proxies add long ones, and an answer that was paid for is not lost over them."""
USER_AGENT = f"batcher/{__version__}"
CONNECT_SECONDS = 10.0
UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=None)
"""aiohttp's own limits count the time in which nobody ran, too: each call has a `time_limit` instead."""


PLAIN, DENSEST = 8 * 1024 * 1024, 100
"""A packed answer may have so many bytes; a larger one no more than so many times those that came: pictures,
and base64 of them, cannot be packed as densely as a bomb."""
SMALL = BEGINNING = 1 << 20
"""So many bytes are read in one go; of an answer that is too large, so many are kept for people."""


class TooLarge(errors.AnswerLost):
    """A body that is larger than any answer should be; `beginning` is what was read of it."""

    def __init__(self, most: int, beginning: bytes) -> None:
        super().__init__(f"the answer is larger than {most >> 20} MB")
        self.beginning = beginning


class Garbled(errors.AnswerLost):
    """An answer came, and it is no HTTP, or not what its headers say: the next one will be no better."""


async def always(_size: int) -> None:
    """There is room for so many bytes."""


async def read_limited(
    response: aiohttp.ClientResponse,
    most: int,
    reserve: Callable[[int], Awaitable[None]] = always,
    *,
    chunks: list[bytes] | None = None,
) -> bytes:
    """A whole body, for whose bytes room is had by `reserve` before they are read. Raises TooLarge when it is
    larger than `most` bytes. `chunks` gets what came, piece by piece, where the body may break off."""
    told = response.content_length or most
    sized = chunks is None and told < most and "Content-Encoding" not in response.headers
    if sized:
        await reserve(told)  # no more comes than it says
        if told <= SMALL:
            return await response.read()
    body, size = io.BytesIO(), 0  # which grows in place, and hands out what it has without a copy
    async for chunk in pieces_of(response):
        size += len(chunk)
        if size > most:
            raise TooLarge(most, bytes(body.getbuffer()[:BEGINNING]))
        if not sized:
            await reserve(len(chunk))
        body.write(chunk)
        if chunks is not None:
            chunks.append(chunk)
    return body.getvalue()


async def pieces_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """A body as it comes, unpacked, in small pieces. Raises Garbled where it is not packed as it says, and
    TooLarge where it unfolds to more than pictures can be packed into."""
    encoding = response.headers.get("Content-Encoding", "")
    if not is_packed(encoding):
        async for piece in response.content.iter_chunked(1 << 16):
            yield piece
        return
    came = size = 0

    async def packed() -> AsyncIterator[bytes]:
        nonlocal came
        async for piece in response.content.iter_chunked(1 << 16):
            came += len(piece)
            yield piece

    try:
        async for piece in unpacked(packed(), encoding):
            size += len(piece)
            if size > max(PLAIN, DENSEST * came):
                raise TooLarge(size, piece)
            yield piece
    except Damaged as error:
        raise Garbled(str(error)) from error


NO_ADDRESS = (
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    UnicodeError,  # a host with a label that no name has, as in api..example
)
"""Raised for a URL that leads nowhere, at any time."""
NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,  # a proxy makes no tunnel
    aiohttp.ConnectionTimeoutError,
    *NO_ADDRESS,
)
"""Raised before a byte of the request left: proof that nothing was accepted."""


@contextmanager
def transport_errors() -> Iterator[None]:
    """aiohttp's errors become ours: Unreachable where nothing was sent, AnswerLost where it may have been,
    Garbled where an answer came that cannot be read as one."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise errors.WrongEndpoint(f"{_plain(error)}; nothing was sent") from error
    except NEVER_SENT as error:
        raise errors.Unreachable(_plain(error)) from error
    except TimeoutError as error:
        raise errors.AnswerLost("no answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error, aiohttp.ClientResponseError):
            raise Garbled("the answer is no HTTP that can be read") from error
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
        parsed_url = URL(url, encoded=CLEAN.fullmatch(url) is not None)
        parsed_url.port  # noqa: B018  # a number that is none is told here
    except ValueError as error:
        raise aiohttp.InvalidURL(url) from error
    return parsed_url


CLEAN = re.compile(r"https?://(?:[\w.~:/?#@!$&'()*+,;=-]|%[0-9a-f]{2})+", re.IGNORECASE | re.ASCII)


def check_proxies() -> None:
    """Raises UsageError where a proxy that the environment names is no URL, without what it is: it may hold a
    password."""
    for scheme in ("http", "https"):
        address = _proxy_address(scheme)
        if address and not _is_proxy(address):
            raise errors.UsageError(
                f"the {scheme} proxy that the environment names is no URL; it is told as "
                "http://user:password@host:port, with %40, %2F and %23 for an @, / and # in the password"
            )


def proxy_of(url: URL) -> URL | None:
    """The proxy that the environment (`http_proxy`, `https_proxy`, `no_proxy`) names for this URL, with its
    credentials. Not by `trust_env`: that reads ~/.netrc too and sends what stands there."""
    address = _proxy_address(url.scheme)
    if not address or proxy_bypass(f"{url.host}:{url.port}"):
        return None
    return URL(address)


def _proxy_address(scheme: str) -> str:
    return os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY") or ""


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:
        return False


class Connector(aiohttp.TCPConnector):
    """Connects within its time. How many calls are under way is bounded by limits.in_flight, not here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(limit=0, ttl_dns_cache=300, **options)

    async def connect(self, *arguments: Any, **options: Any) -> Connection:
        """As aiohttp's, which calls it."""
        try:
            with time_limit(CONNECT_SECONDS):
                return await super().connect(*arguments, **options)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error


@asynccontextmanager
async def plain_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that has no key: for file hosts. Raises UsageError as `check_proxies`."""
    check_proxies()
    async with aiohttp.ClientSession(
        connector=Connector(),
        timeout=UNLIMITED,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": ACCEPTED},
        auto_decompress=False,
        requote_redirect_url=False,
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
    ) as session:
        yield session
