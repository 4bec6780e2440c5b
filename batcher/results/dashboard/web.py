"""A web server for one person: the live page, its events and the pictures it shows.

Rule: it listens on 127.0.0.1 only, and answers nobody who does not know the token in the path or who came by
another host name (DNS rebinding). It reads what the ledger names and nothing else of this disk.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from aiohttp import web

from batcher import errors
from batcher.results.dashboard.feed import LedgerFeed
from batcher.results.report.page import live_page
from batcher.results.report.thumbnails import LARGEST, Thumbnails, ThumbnailSource
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored

HOST = "127.0.0.1"
HEARTBEAT = 15.0
"""Seconds without news after which the browser is told that the line is alive."""
PARTING = 2.0
"""Seconds that the last look and its telling may take."""
QUIET = 0.4
"""Seconds after which a browser that was told the last pictures has asked for all that it shows."""
AT_ONCE = 2
"""Thumbnails that are made at the same time."""
ALWAYS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
SEALED = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""The policy of everything that is not the page itself."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(
    output: Path,
    *,
    port: int,
    announce: Callable[[str], None],
    now: Callable[[], float] = time.time,  # noqa: TID251  # here the wall clock enters
) -> None:
    """Serves the live page of the output folder until it is cancelled; the folder may still be empty.

    `port` 0 picks one. `announce` is told the address, with its token, once it can be opened. Raises
    UsageError when the port cannot be had.
    """
    token = secrets.token_urlsafe(24)
    feed = LedgerFeed(output, now=now)
    pages = Pages(feed, Thumbnails(output), output.name)
    runner = web.AppRunner(
        application(pages, token), access_log=None, handle_signals=False, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        try:
            await site.start()
        except OSError as error:
            raise errors.UsageError(f"port {port} cannot be had: {error.strerror}") from error
        announce(f"http://{HOST}:{runner.addresses[0][1]}/{token}/")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.run)
            tasks.start_soon(anyio.sleep_forever)
    finally:
        with anyio.CancelScope(shield=True):
            await pages.end()
            await runner.cleanup()


def application(pages: Pages, token: str) -> web.Application:
    """The routes, behind their guard."""
    app = web.Application(middlewares=[_guarded(token)])
    app.router.add_get("/{token}/", pages.page)
    app.router.add_get("/{token}/events", pages.events)
    app.router.add_get("/{token}/thumb/{digest}", pages.thumbnail)
    app.router.add_get("/{token}/full/{digest}", pages.full)
    return app


def _guarded(token: str) -> Any:
    """Whoever comes by another name, or without the token, finds nothing: the same answer for both."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.match_info.get("token", "")
        valid = hmac.compare_digest(given.encode(), token.encode())
        port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        by_name = request.host in (f"{HOST}:{port}", f"localhost:{port}")
        if not (valid and by_name and request.method in ("GET", "HEAD")):
            return web.Response(status=404, text="not found\n", headers=ALWAYS)
        return await handler(request)

    return guard


class Pages:
    """What is answered to somebody who may watch."""

    def __init__(self, feed: LedgerFeed, thumbnails: Thumbnails, name: str) -> None:
        self._feed = feed
        self._thumbnails = thumbnails
        self._text, self._policy = live_page(name)
        self._making = asyncio.Semaphore(AT_ONCE)
        self._streams: set[asyncio.Task[Any]] = set()
        self._left = asyncio.Event()
        self._left.set()
        self._asked = -QUIET
        """When a picture, or the end, was last asked for; on the loop's clock."""

    async def end(self) -> None:
        """Tells the watchers how it ended, workers out the pictures that came last and lets them go."""
        with anyio.move_on_after(PARTING):
            await self._feed.end()
            await self._left.wait()
            while (until := self._asked + QUIET) > anyio.current_time():  # noqa: ASYNC110  # each request moves it
                await anyio.sleep_until(until)
        for stream in self._streams:
            stream.cancel()

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page itself."""
        headers = {**ALWAYS, "Content-Security-Policy": self._policy}
        return web.Response(text=self._text, content_type="text/html", headers=headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Figures and pictures as they come: a slow browser skips figures, and no picture it can keep."""
        response = web.StreamResponse(headers={**ALWAYS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        stream = asyncio.current_task()
        assert stream is not None
        self._streams.add(stream)
        self._left.clear()
        try:
            with self._feed.watched(), suppress(ConnectionError):
                await response.write(b"retry: 2000\n\n")
                await self._stream(response)
        finally:
            self._streams.discard(stream)
            self._asked = anyio.current_time()
            if not self._streams:
                self._left.set()
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        feed = self._feed
        last_sent = 0
        if not feed.news:
            await response.write(_event("waiting", feed.trouble))
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    news = await feed.changed(last_sent)
            except TimeoutError:
                await response.write(b": alive\n\n")
                continue
            if feed.figures is None:
                await response.write(_event("waiting", feed.trouble))
            else:
                await response.write(_event("figures", feed.figures))
                arrived = feed.pictures(last_sent)
                if arrived:
                    rows = [shown.as_json(_full) for shown in arrived]
                    pictures = {"rows": rows, "facets": feed.facets.as_json()}
                    await response.write(_event("pictures", pictures))
            if feed.ended:
                await response.write(_event("ended", ""))
                return
            last_sent = news

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        """A small picture, made when it is first asked for."""
        self._asked = anyio.current_time()
        source = self._feed.source(request.match_info["digest"])
        made = None
        if source is not None:
            async with self._making:
                made = await asyncio.to_thread(self._thumbnails.of, source)
        if made is None:
            return _missing()
        return web.Response(body=made, headers=_picture("image/webp"))

    async def full(self, request: web.Request) -> web.StreamResponse:
        """A picture as it lies on the disk, if it is one."""
        self._asked = anyio.current_time()
        source = self._feed.source(request.match_info["digest"])
        mime = None if source is None else await asyncio.to_thread(_mime, source)
        if source is None or mime is None:
            return _missing()
        if not is_stored(str(source.path)):
            return web.FileResponse(source.path, headers=_picture(mime))
        try:
            body = await asyncio.to_thread(stores.first_bytes, str(source.path), LARGEST)
        except OSError:
            return _missing()
        return web.Response(body=body, headers=_picture(mime))


def _mime(source: ThumbnailSource) -> str | None:
    try:
        with stores.open_address(str(source.path)) as file:
            return pictures.identify(file).mime
    except (OSError, errors.BadDownload):
        return None


def _full(source: ThumbnailSource) -> str:
    return f"full/{source.digest}"


def _picture(mime: str) -> dict[str, str]:
    """A content never changes under its digest."""
    kept = {"Cache-Control": "private, max-age=86400, immutable", "Content-Type": mime}
    return {**ALWAYS, **kept, "Content-Security-Policy": SEALED}


def _missing() -> web.Response:
    return web.Response(status=404, text="not found\n", headers={**ALWAYS, "Content-Security-Policy": SEALED})


def _event(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode()
