"""How a model reads its media inputs: data URIs, the own file host, the loopback, and made-up pictures.

Rule: no byte ever comes from the network; a URL of a foreign host gets a picture made up from the URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from urllib.parse import unquote_to_bytes, urlsplit

import aiohttp

from batcher.sandbox.file_host import FileHost
from batcher.sandbox.generation import CONSTANT
from batcher.sandbox.job import JobFailed

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LIMIT = 64 * 1024 * 1024
TIMEOUT = 20.0

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*")


class Media:
    """Fetches the inputs of jobs."""

    def __init__(self, files: FileHost, *, made_up: bool) -> None:
        self._files = files
        self._made_up = made_up
        """Whether foreign hosts deliver landscapes, or all of them the constant picture."""
        self._session: aiohttp.ClientSession | None = None
        self.origins: set[tuple[str, int | None]] = set()
        """(host, port) under which our own file host is known."""

    async def fetch(self, kind: str, url: str) -> bytes:
        """The bytes of one input. `kind` is `image` or `mask`.

        Raises:
            JobFailed: there is no image at this URL.
        """
        if url.startswith("data:"):
            data = _decode(url)
        else:
            data = await self._get(kind, url)
        if not data.startswith(_SIGNATURES):
            raise JobFailed(f"cannot identify image file from {_shown(url)}")
        return data

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def _get(self, kind: str, url: str) -> bytes:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise JobFailed(f"Invalid URL: {_shown(url)}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise JobFailed(f"Invalid URL: {_shown(url)}")
        if (host, port) in self.origins:
            file = self._files.find(parts.path)
            if file is None:
                raise JobFailed(f"could not fetch {_shown(url)}: HTTP 404")
            return self._files.read(file)
        if host in LOOPBACK:
            return await self._download(url)
        if not self._made_up:
            return CONSTANT
        from batcher.sandbox.generation import stock

        return await asyncio.to_thread(stock.photograph if kind != "mask" else stock.mask, url)

    async def _download(self, url: str) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise JobFailed(f"could not fetch {_shown(url)}: HTTP {answer.status}")
                data = await answer.content.read(LIMIT + 1)
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise JobFailed(f"could not fetch {_shown(url)}: {type(problem).__name__}") from problem
        if len(data) > LIMIT:
            raise JobFailed(f"could not fetch {_shown(url)}: larger than {LIMIT} bytes")
        return data


def _decode(uri: str) -> bytes:
    head, comma, payload = uri.partition(",")
    try:
        if not comma:
            raise ValueError("no comma")
        return (
            base64.b64decode(payload, validate=True)
            if head.endswith(";base64")
            else unquote_to_bytes(payload)
        )
    except (binascii.Error, ValueError):
        raise JobFailed("invalid data URI") from None


def _shown(url: str) -> str:
    return url if len(url) <= 120 else url[:117] + "..."
