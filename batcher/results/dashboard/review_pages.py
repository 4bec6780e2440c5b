"""`batcher review`: its page, the rows and pictures that it asks for, and the decisions that it sends.

Rule: a GET changes nothing. A decision is answered when it is in the ledger and its file in its place; the
records are written when nobody decides, and when the review ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any, TypeGuard

import anyio
from aiohttp import web

from batcher import errors
from batcher.ledger import database, reviews
from batcher.results.dashboard.guard import ALWAYS, answer, changing, refusal
from batcher.results.dashboard.picture_answers import PictureAnswers
from batcher.results.report import gallery
from batcher.results.report.gallery import GalleryRow
from batcher.results.report.page import review_page
from batcher.results.report.thumbnails import Thumbnails, ThumbnailSource
from batcher.results.review import Decision, ReviewSession
from batcher.storage import destination, layout

ROWS_AT_ONCE = 100
QUIET = 3.0
"""Seconds without a decision after which the records are written."""
AGAIN = 5.0
"""Seconds after which it is tried again, where a run holds the job."""
REST_FACTOR = 10
"""Writing that takes t seconds is followed by at least REST_FACTOR * t seconds of rest."""
LONGEST_REASON = 500
"""Characters."""


class ReviewPages:
    """What is answered to the person who reviews."""

    def __init__(self, session: ReviewSession, thumbnails: Thumbnails) -> None:
        self._session = session
        self._output = session.output
        self._pictures = PictureAnswers(thumbnails)
        self._deciding = asyncio.Lock()
        self._decided = asyncio.Event()
        self._decided.set()
        """Set at first: an earlier review may have been killed before it wrote the records."""
        self._last = 0.0

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Its addresses."""
        router.add_get("/{token}/", self.page)
        router.add_get("/{token}/rows", self.rows)
        router.add_get("/{token}/thumb/{task}/{digest}", self.thumbnail)
        router.add_get("/{token}/full/{task}/{digest}", self.full)
        router.add_post("/{token}/decisions", changing(self.decide))
        router.add_post("/{token}/take-back", changing(self.take_back))

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page itself."""
        text, policy = review_page(
            self._session.job, {"reasons": self._session.reasons, "redo": self._session.can_redo}
        )
        headers = {**ALWAYS, "Content-Security-Policy": policy}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def rows(self, request: web.Request) -> web.StreamResponse:
        """What is known of these tasks: `?tasks=1,2,3`."""
        try:
            tasks = [int(number) for number in request.query.get("tasks", "").split(",")]
        except ValueError:
            tasks = []
        if not 0 < len(tasks) <= ROWS_AT_ONCE or not all(map(_is_task, tasks)):
            return refusal(400, f"tasks is 1 to {ROWS_AT_ONCE} numbers, divided by commas")
        try:
            return answer({"rows": await asyncio.to_thread(self._rows, tasks)})
        except errors.BatcherError as error:
            return refusal(409, str(error))

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        """A small picture of a task."""
        return await self._pictures.small(await self._source(request))

    async def full(self, request: web.Request) -> web.StreamResponse:
        """A picture of a task as it lies on the disk."""
        return await self._pictures.large(await self._source(request))

    async def decide(self, body: Mapping[str, Any]) -> web.StreamResponse:
        """`{"task": n, "decision": "keep", "reject" or "redo", "reason": text}`: how the task stands then."""
        task, verdict, reason = body.get("task"), body.get("decision"), body.get("reason", "")
        if not (_is_task(task) and verdict in ("keep", "reject", "redo") and _is_text(reason)):
            return refusal(
                400, "a decision has a task, a decision (keep, reject or redo), and perhaps a reason"
            )
        decide = partial(self._session.decide, task, verdict, reason[:LONGEST_REASON])
        return await self._stands(await self._at_once(decide))

    async def take_back(self, body: Mapping[str, Any]) -> web.StreamResponse:
        """The last decision of this review is undone."""
        return await self._stands(await self._at_once(self._session.take_back))

    async def write_records(self) -> None:
        """Writes the records whenever nobody decides, for ever; what is last is left to whoever ends us."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._decided.wait()
            self._decided.clear()
            while (until := self._last + QUIET) > clock():  # noqa: ASYNC110  # each decision moves it
                await anyio.sleep_until(until)
            began = clock()
            if await self._written():
                await anyio.sleep(REST_FACTOR * (clock() - began))
            else:
                self._decided.set()
                await anyio.sleep(AGAIN)

    async def _written(self) -> bool:
        try:
            return await asyncio.to_thread(self._session.write_records)
        except errors.BatcherError:
            return False  # the disk is full, or refuses; what is decided is in the ledger

    async def _at_once(self, decide: Callable[[], Decision]) -> Decision:
        """One decision after another; one that has begun is brought to its end whatever becomes of us."""
        async with self._deciding:
            with anyio.CancelScope(shield=True):
                try:
                    decision = await asyncio.to_thread(decide)
                finally:
                    self._last = asyncio.get_running_loop().time()
                    self._decided.set()
            return decision

    async def _stands(self, decision: Decision) -> web.StreamResponse:
        task = decision.status.task
        (row,) = await asyncio.to_thread(self._rows, [task])
        lost = list(decision.lost)
        return answer(
            {"row": row, "reasons": self._session.reasons, "lost": lost, "beside": decision.has_another}
        )

    # --- in a thread

    def _rows(self, tasks: list[int]) -> list[dict[str, Any]]:
        path = layout.ledger_path(self._output)
        with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
            connection.execute("BEGIN")
            where = destination.open_destination(database.meta(connection, "destination"), self._output)
            found = gallery.rows_of(connection, where, tasks)
            looks = {row.id: reviews.look_of(connection, row.id) for row in found}
        rows = []
        for row in found:
            look = looks[row.id]
            told = row.as_json(_link(row))
            rows.append(told if look is None else {**told, "look": [look.at, look.by]})
        return rows

    async def _source(self, request: web.Request) -> ThumbnailSource | None:
        task, digest = request.match_info["task"], request.match_info["digest"]
        if not (task.isascii() and task.isdigit() and len(task) < 19):
            return None
        return await asyncio.to_thread(self._source_of, int(task), digest)

    def _source_of(self, task: int, digest: str) -> ThumbnailSource | None:
        """The picture of that content that the ledger knows of this task, where it lies now."""
        path = layout.ledger_path(self._output)
        try:
            with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
                where = destination.open_destination(database.meta(connection, "destination"), self._output)
                rows = gallery.rows_of(connection, where, [task])
        except errors.BatcherError:
            return None
        return next((one for row in rows for one in row.sources if one.digest == digest), None)


def _is_task(number: object) -> TypeGuard[int]:
    """Whether it can be a row's number."""
    return type(number) is int and 0 <= number < 1 << 63


def _is_text(reason: object) -> TypeGuard[str]:
    """Whether it can be written: JSON may hold halves of characters."""
    return isinstance(reason, str) and reason.encode(errors="ignore").decode() == reason


def _link(row: GalleryRow) -> Callable[[ThumbnailSource], str]:
    return lambda source: f"full/{row.id}/{source.digest}"
