"""Faults of the answer to a call.

Rule: each says whether the call takes effect first (`proceed`), so that a test knows what is billed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Annotated, ClassVar

import anyio
from aiohttp import web
from pydantic import Field

from batcher.sandbox.error_responses import error, page, throttled
from batcher.sandbox.faults.fault import Fault, Route, Seconds, Share

PIECES = 20
"""Into at most so many pieces a trickling body is divided."""

HttpStatus = Annotated[int, Field(ge=200, le=599, strict=True)]
Origin = Annotated[str, Field(pattern=r"^https?://[^/]")]


@dataclass(frozen=True, slots=True)
class Call:
    """What a fault has to play with: the call, the wall clock, and the real answer on demand."""

    request: web.Request
    now: Callable[[], float]
    proceed: Callable[[], Awaitable[web.StreamResponse]]

    async def answer(self) -> tuple[web.StreamResponse, bytes]:
        """The real answer and its bytes."""
        answer = await self.proceed()
        body = answer.body if isinstance(answer, web.Response) else None
        return answer, body if isinstance(body, bytes) else b""


class AnswerFault(Fault):
    """Happens to an answer."""

    @abstractmethod
    async def play(self, call: Call) -> web.StreamResponse:
        """The answer as the fault would have it."""


class Throttle(AnswerFault):
    """429, with a reset stamp `reset_in` from now (null: no stamp) and perhaps a Retry-After.

    `retry_after`: `date` or `digits` of the same moment (of one second, without a stamp), else this text.
    """

    reset_in: Seconds | None = 7.0
    retry_after: str | None = None

    async def play(self, call: Call) -> web.StreamResponse:
        answer = throttled(None if self.reset_in is None else call.now() + self.reset_in)
        wait = 1.0 if self.reset_in is None else self.reset_in
        if self.retry_after == "date":
            answer.headers["Retry-After"] = formatdate(math.ceil(call.now() + wait), usegmt=True)
        elif self.retry_after == "digits":
            answer.headers["Retry-After"] = str(math.ceil(wait))
        elif self.retry_after is not None:
            answer.headers["Retry-After"] = self.retry_after
        return answer


class Status(AnswerFault):
    """An error answer with this HTTP status, before the call takes effect; `accepted`: after it, as of a
    gateway that gave up waiting; `page`: HTML in place of JSON."""

    code: HttpStatus = 503
    page: bool = False
    message: str | None = None
    accepted: bool = False

    async def play(self, call: Call) -> web.StreamResponse:
        if self.accepted:
            await call.proceed()
        return page(self.code) if self.page else error(self.code, self.message)


class StorageFull(Status):
    """An upload is refused because the plan's storage is used up."""

    possible: ClassVar[frozenset[Route]] = frozenset({Route.UPLOAD})
    usual: ClassVar[frozenset[Route]] = possible

    code: HttpStatus = 403
    message: str | None = "Storage quota exceeded: your plan's 1 GB is used up. Upgrade your plan."


class Html(AnswerFault):
    """An HTML page in place of the answer, before the call takes effect."""

    code: HttpStatus = 200

    async def play(self, call: Call) -> web.StreamResponse:
        return page(self.code)


class NotJson(AnswerFault):
    """A 2xx answer in plain text, after the call took effect."""

    async def play(self, call: Call) -> web.StreamResponse:
        await call.proceed()
        return web.Response(text="upstream connect: ok")


class HalfJson(AnswerFault):
    """The real answer, broken off after this `share` of it, after the call took effect."""

    share: Share = 0.5

    async def play(self, call: Call) -> web.StreamResponse:
        answer, body = await call.answer()
        return _instead(answer, body[: int(len(body) * self.share)])


class Cut(AnswerFault):
    """The line is cut; `accepted`: after the call took effect."""

    accepted: bool = False

    async def play(self, call: Call) -> web.StreamResponse:
        if self.accepted:
            await call.proceed()
        if call.request.transport:
            call.request.transport.abort()
        return web.Response()


class Hang(AnswerFault):
    """No answer ever comes; `accepted`: though the call took effect."""

    accepted: bool = True

    async def play(self, call: Call) -> web.StreamResponse:
        if self.accepted:
            await call.proceed()
        await anyio.sleep_forever()
        raise AssertionError("unreachable")


class Down(AnswerFault):
    """Every line is cut before anything takes effect, on all routes unless one is named."""

    usual: ClassVar[frozenset[Route]] = frozenset(Route)

    async def play(self, call: Call) -> web.StreamResponse:
        return await Cut(route="all").play(call)


class Slow(AnswerFault):
    """The answer comes `delay` after the call took effect."""

    delay: Seconds = 5.0

    async def play(self, call: Call) -> web.StreamResponse:
        answer = await call.proceed()
        await anyio.sleep(self.delay)
        return answer


class Redirect(AnswerFault):
    """The call is sent to another origin (`http://host:port`), by 302 or, where it has a body, 307."""

    to: Origin

    async def play(self, call: Call) -> web.StreamResponse:
        code = 302 if call.request.method == "GET" else 307
        location = self.to.rstrip("/") + call.request.path_qs
        return web.Response(status=code, headers={"Location": location})


class DeadLink(AnswerFault):
    """A result whose URLs lead nowhere; asked again, it gives good ones."""

    possible: ClassVar[frozenset[Route]] = frozenset({Route.RESULT})
    usual: ClassVar[frozenset[Route]] = possible

    async def play(self, call: Call) -> web.StreamResponse:
        answer, body = await call.answer()
        return _instead(answer, body.replace(b"/files/", b"/files/gone/"))


class BytesFault(AnswerFault):
    """Happens to the bytes of a picture: a download's, or those of a blocking call."""

    possible: ClassVar[frozenset[Route]] = frozenset({Route.DOWNLOAD, Route.SYNC})
    usual: ClassVar[frozenset[Route]] = frozenset({Route.DOWNLOAD})


class Truncated(BytesFault):
    """Half a file, with a Content-Length that fits the half."""

    async def play(self, call: Call) -> web.StreamResponse:
        answer, body = await call.answer()
        return _instead(answer, body[: len(body) // 2])


class Short(BytesFault):
    """The line is cut before the Content-Length is reached."""

    async def play(self, call: Call) -> web.StreamResponse:
        answer, body = await call.answer()
        stream = await _stream(call, answer, len(body))
        await stream.write(body[: len(body) // 2])
        if call.request.transport:
            call.request.transport.close()
        return stream


class Empty(BytesFault):
    """No bytes."""

    async def play(self, call: Call) -> web.StreamResponse:
        return _instead(await call.proceed(), b"")


class NotAnImage(BytesFault):
    """An HTML page with status 200."""

    async def play(self, call: Call) -> web.StreamResponse:
        await call.proceed()
        return page(200)


class SlowBody(BytesFault):
    """The body trickles over `delay`."""

    delay: Seconds = 10.0

    async def play(self, call: Call) -> web.StreamResponse:
        answer, body = await call.answer()
        stream = await _stream(call, answer, len(body))
        step = max(1, math.ceil(len(body) / PIECES))
        starts = range(0, len(body), step)
        for start in starts:
            await anyio.sleep(self.delay / len(starts))
            await stream.write(body[start : start + step])
        await stream.write_eof()
        return stream


def _instead(answer: web.StreamResponse, body: bytes) -> web.Response:
    """The same answer with another body."""
    return web.Response(status=answer.status, headers=_headers(answer), body=body)


async def _stream(call: Call, answer: web.StreamResponse, length: int) -> web.StreamResponse:
    """The beginning of the same answer, whose body is still to be written."""
    stream = web.StreamResponse(status=answer.status, headers=_headers(answer))
    stream.content_length = length
    await stream.prepare(call.request)
    return stream


def _headers(answer: web.StreamResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "Content-Length"}
