"""The sandbox: a local server of the hosted API, its storage, history and file host, under one origin.

Rule: it behaves as the provider documents, not as our client expects; it shares no code with what it judges.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from email.utils import formatdate
from types import TracebackType

import anyio
from aiohttp import web

from batcher.sandbox.balance import MICRO, Balance
from batcher.sandbox.error_responses import error, page, throttled
from batcher.sandbox.faults import AnswerFault, Faults, Route
from batcher.sandbox.faults.answer_faults import Call
from batcher.sandbox.file_host import FileHost
from batcher.sandbox.handlers import Handler, Handlers
from batcher.sandbox.job import Job
from batcher.sandbox.job_queue import JobQueue
from batcher.sandbox.limits import limit
from batcher.sandbox.media import LOOPBACK, Media
from batcher.sandbox.server_options import Options

Responder = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_LIMIT = 64 * 1024 * 1024
IDLE = 75.37
"""Seconds until an idle connection is closed; odd, so that in virtual time nobody uses it in that moment."""
REMEMBERED = 1_000_000
"""So many of the latest calls are kept in `arrivals`."""

_KEY = re.compile(r"SG_[0-9a-fA-F]{16}")
_METERED = {
    "submits": frozenset({Route.SUBMIT, Route.SYNC}),
    "all": frozenset({Route.SUBMIT, Route.SYNC, Route.STATUS, Route.RESULT, Route.CREDITS}),
}


@dataclass(slots=True)
class Arrival:
    """One call that was seen. `at` is the loop's time; `status` is 0 while, or if, there was no answer."""

    at: float
    kind: Route
    status: int = 0

    def __iter__(self) -> Iterator[float | Route | int]:
        return iter((self.at, self.kind, self.status))


class Sandbox:
    """The server, as an async context manager; it lives in the running loop, and in its time.

        async with Sandbox(Options(service=2, rpm=60)) as sandbox:
            ... sandbox.url ...
            assert sandbox.billed == 3

    Enter and leave it in the same task. What a test may ask it afterwards as well:
    `arrivals`, `counts`, `throttled`, `jobs`, `billed`, `spent`, `credits_left`, `keys_seen_at_files`.

    `now` is the wall clock of everything it stamps, expires and counts (seconds since 1970).

    Raises:
        OSError: the port is taken (on entering).
    """

    def __init__(self, options: Options | None = None, now: Callable[[], float] | None = None) -> None:
        self.options = options or Options()
        self.url = ""
        self.arrivals: deque[Arrival] = deque(maxlen=REMEMBERED)
        self.counts: Counter[Route] = Counter()
        """Calls by kind, refused and faulty ones included."""
        self.throttled = 0
        """Number of 429 answers."""
        self.keys_seen_at_files: list[str] = []
        """Paths of the file host to which somebody sent an API key. There must never be any."""
        # The only clock that is not injected is the default of the injection.
        self._now = now or time.time  # noqa: TID251
        self._faults = self.options.faults or Faults()
        self._limit = limit(self.options)
        self._balance = Balance(self.options.credits)
        self._files = FileHost(self._now, self.options.file_ttl)
        self._media = Media(self._files, made_up=self.options.pictures)
        self._queue = JobQueue(self.options, self._balance, self._media, self._files, self._now)
        self._stack = AsyncExitStack()
        self._started = 0.0

    def allow(self, rpm: float | None) -> None:
        """From now on the account is allowed so many calls a minute (None: any number)."""
        self._limit = limit(replace(self.options, rpm=rpm))

    def serve_in(self, seconds: float) -> None:
        """From now on jobs that begin take so long on average."""
        self._queue.serve_in(seconds)

    @property
    def jobs(self) -> dict[str, Job]:
        """Every accepted submission by its request_id, v1 calls too, in the order of acceptance."""
        return self._queue.jobs

    @property
    def billed(self) -> int:
        """Number of jobs that completed and were billed."""
        return self._balance.billed

    @property
    def spent(self) -> float:
        """Credits billed."""
        return self._balance.spent / MICRO

    @property
    def credits_left(self) -> float:
        return self._balance.left / MICRO

    def __repr__(self) -> str:
        seen = " ".join(f"{kind}={count}" for kind, count in self.counts.items())
        return f"<Sandbox {self.url} jobs={len(self.jobs)} billed={self.billed} {seen}>"

    async def __aenter__(self) -> Sandbox:
        self._started = asyncio.get_running_loop().time()
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # The task group is not told of an error of the body, which so leaves as it is and not in a group.
        await self._stack.aclose()

    async def _open(self) -> None:
        stack = self._stack
        stack.callback(self._files.close)
        stack.push_async_callback(_undisturbed, self._media.close)
        stack.callback(self._queue.close)
        group = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(group.cancel_scope.cancel)
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.1,
            keepalive_timeout=IDLE,
        )
        stack.push_async_callback(_undisturbed, runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, self.options.host, self.options.port).start()
        host, port = self.options.host, runner.addresses[0][1]
        self.url = f"http://{'127.0.0.1' if host in ('', '0.0.0.0') else host}:{port}"
        self._media.origins = {(name, port) for name in (*LOOPBACK, host)}
        self._queue.start(group)

    def _application(self) -> web.Application:
        handlers = Handlers(self.options, self._balance, self._queue, self._files, self._now)
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_other_paths])
        app.on_response_prepare.append(self._date)
        for method, path, kind, handler in handlers.table():
            app.router.add_route(method, path, self._route(kind, handler))
        return app

    def _route(self, kind: Route, handler: Handler) -> Responder:
        """What every call passes: it is noted, a fault may happen, then key, limit and handler."""

        async def answer(request: web.Request) -> web.StreamResponse:
            at = asyncio.get_running_loop().time()
            arrival = Arrival(at, kind)
            self.arrivals.append(arrival)
            self.counts[kind] += 1
            faults = self._faults.match(kind, self.counts[kind], at - self._started)

            async def proceed() -> web.StreamResponse:
                refusal = self._refusal(kind, request)
                return refusal if refusal is not None else await handler(request, faults)

            fault = next((fault for fault in faults if isinstance(fault, AnswerFault)), None)
            response = await (fault.play(Call(request, self._now, proceed)) if fault else proceed())
            if request.transport and not request.transport.is_closing():
                arrival.status = response.status
                self.throttled += response.status == 429
            return response

        return answer

    def _refusal(self, kind: Route, request: web.Request) -> web.Response | None:
        if kind is Route.DOWNLOAD:
            if (
                "x-api-key" in request.headers
                or "Authorization" in request.headers
                or "SG_" in request.path_qs
            ):
                self.keys_seen_at_files.append(request.path)
            return None
        if kind is Route.MODELS:
            return None
        key = request.headers.get("x-api-key")
        if not key:
            return error(401, "Missing API key. Send it in the x-api-key header.")
        if key != self.options.key if self.options.key else not _KEY.fullmatch(key):
            return error(401, "Invalid API key")
        if self._limit is not None and kind in _METERED[self.options.metered]:
            reset_at = self._limit.admit(self._now())
            if reset_at is not None:
                return throttled(reset_at)
        return None

    async def _date(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self._now(), usegmt=True)


async def _undisturbed(close: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope(shield=True):
        await close()


@web.middleware
async def _other_paths(request: web.Request, handler: Responder) -> web.StreamResponse:
    """A wrong method is answered in HTML, an unknown path and an oversized body in JSON."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed:
        return page(405)
    except web.HTTPNotFound:
        return error(404, "Not found")
    except web.HTTPRequestEntityTooLarge:
        return error(413, "Request body too large")
