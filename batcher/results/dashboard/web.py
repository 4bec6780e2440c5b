"""A web server for one person: the live page, its events and the pictures it shows.

Rule: it listens on 127.0.0.1 only, and answers nobody whom `guard.py` does not know. It reads what the ledger
names and nothing else of this disk.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from aiohttp import web

from batcher import errors
from batcher.results.dashboard.control_pages import ControlPages
from batcher.results.dashboard.feed import LedgerFeed
from batcher.results.dashboard.guard import ALWAYS, HOST, LARGEST_BODY, guarded
from batcher.results.dashboard.picture_answers import PictureAnswers
from batcher.results.dashboard.review_pages import ReviewPages
from batcher.results.report.page import live_page
from batcher.results.report.thumbnails import Thumbnails, ThumbnailSource
from batcher.results.review import ReviewSession

HEARTBEAT = 15.0
"""Seconds without news after which the browser is told that the line is alive."""
PARTING = 2.0
"""Seconds that the last look and its telling may take."""
QUIET = 0.4
"""Seconds after which a browser that was told the last pictures has asked for all that it shows."""


async def serve(
    output: Path,
    *,
    port: int,
    announce: Callable[[str], None],
    now: Callable[[], float] = time.time,  # noqa: TID251  # here the wall clock enters
    review: ReviewSession | None = None,
) -> None:
    """Serves the live page of the output folder until it is cancelled; the folder may still be empty. With a
    `review`, the page of that.

    `port` 0 picks one. `announce` is told the address, with its token, once it can be opened. Raises
    UsageError when the port cannot be had.
    """
    token = secrets.token_urlsafe(24)
    feed = LedgerFeed(output, now=now, reviewing=review is not None)
    thumbnails = Thumbnails(output)
    pages = Pages(feed, thumbnails, output.name)
    reviewing = None if review is None else ReviewPages(review, thumbnails)
    app = application(pages, token, reviewing or ControlPages(output, now))
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
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
            tasks.start_soon(anyio.sleep_forever if reviewing is None else reviewing.write_records)
    finally:
        with anyio.CancelScope(shield=True):
            await pages.end()
            await runner.cleanup()


def application(pages: Pages, token: str, changes: ReviewPages | ControlPages) -> web.Application:
    """The routes, behind their guard; `changes` has those that change something."""
    app = web.Application(middlewares=[guarded(token)], client_max_size=LARGEST_BODY)
    app.router.add_get("/{token}/events", pages.events)
    changes.add_routes(app.router)
    if isinstance(changes, ReviewPages):
        return app
    app.router.add_get("/{token}/", pages.page)
    app.router.add_get("/{token}/thumb/{digest}", pages.thumbnail)
    app.router.add_get("/{token}/full/{digest}", pages.full)
    return app


class Pages:
    """What is answered to somebody who may watch."""

    def __init__(self, feed: LedgerFeed, thumbnails: Thumbnails, name: str) -> None:
        self._feed = feed
        self._pictures = PictureAnswers(thumbnails)
        self._text, self._policy = live_page(name)
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
                if tasks := feed.to_review(last_sent):
                    await response.write(_event("tasks", tasks))
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
        return await self._pictures.small(self._feed.source(request.match_info["digest"]))

    async def full(self, request: web.Request) -> web.StreamResponse:
        """A picture as it lies on the disk, if it is one."""
        self._asked = anyio.current_time()
        return await self._pictures.large(self._feed.source(request.match_info["digest"]))


def _full(source: ThumbnailSource) -> str:
    return f"full/{source.digest}"


def _event(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode()
