"""How a fault is played to the caller, around the answer that would have been given.

Law: every fault says whether the call took effect first (`proceed`), so that a test knows what is billed.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import anyio
from aiohttp import web

from batcher.sandbox.answers import error, page, throttled
from batcher.sandbox.faults.kinds import Fault

FATES = frozenset({"failed", "stuck", "hidden", "dead_link"})
"""Faults that happen to the job or to the content of its result, not to the call."""

PIECES = 20
"""Into at most so many pieces a trickling body is divided."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault has to play with: the call, its settings, the clock, and the real answer on demand."""

    request: web.Request
    settings: Mapping[str, Any]
    now: Callable[[], float]
    proceed: Callable[[], Awaitable[web.StreamResponse]]

    async def body(self) -> tuple[web.StreamResponse, bytes]:
        """The real answer and its bytes."""
        answer = await self.proceed()
        body = answer.body if isinstance(answer, web.Response) else None
        return answer, body if isinstance(body, bytes) else b""


async def play(
    fault: Fault,
    request: web.Request,
    now: Callable[[], float],
    proceed: Callable[[], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Answer `request` as the fault would have it; a fate is not played but handed to the handler."""
    return await _EFFECTS[fault.kind](Scene(request, fault.settings, now, proceed))


async def _throttle(scene: Scene) -> web.StreamResponse:
    reset_in = scene.settings["reset_in"]
    answer = throttled(None if reset_in is None else scene.now() + reset_in)
    wait = 1.0 if reset_in is None else reset_in
    retry_after = scene.settings["retry_after"]
    if retry_after == "date":
        answer.headers["Retry-After"] = formatdate(math.ceil(scene.now() + wait), usegmt=True)
    elif retry_after == "digits":
        answer.headers["Retry-After"] = str(math.ceil(wait))
    elif retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


async def _status(scene: Scene) -> web.StreamResponse:
    code = scene.settings["code"]
    if scene.settings["page"]:
        return page(code)
    return error(code, scene.settings["message"])


async def _html(scene: Scene) -> web.StreamResponse:
    return page(scene.settings["code"])


async def _not_json(scene: Scene) -> web.StreamResponse:
    await scene.proceed()
    return web.Response(text="upstream connect: ok")


async def _half_json(scene: Scene) -> web.StreamResponse:
    answer, body = await scene.body()
    return _instead(answer, body[: len(body) // 2])


async def _cut(scene: Scene) -> web.StreamResponse:
    if scene.settings.get("accepted"):
        await scene.proceed()
    if scene.request.transport:
        scene.request.transport.abort()
    return web.Response()


async def _hang(scene: Scene) -> web.StreamResponse:
    if scene.settings["accepted"]:
        await scene.proceed()
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


async def _slow(scene: Scene) -> web.StreamResponse:
    answer = await scene.proceed()
    await anyio.sleep(scene.settings["delay"])
    return answer


async def _redirect(scene: Scene) -> web.StreamResponse:
    code = 302 if scene.request.method == "GET" else 307
    location = scene.settings["to"].rstrip("/") + scene.request.path_qs
    return web.Response(status=code, headers={"Location": location})


async def _truncated(scene: Scene) -> web.StreamResponse:
    answer, body = await scene.body()
    return _instead(answer, body[: len(body) // 2])


async def _empty(scene: Scene) -> web.StreamResponse:
    return _instead(await scene.proceed(), b"")


async def _not_an_image(scene: Scene) -> web.StreamResponse:
    await scene.proceed()
    return page(200)


async def _short(scene: Scene) -> web.StreamResponse:
    answer, body = await scene.body()
    stream = await _stream(scene, answer, len(body))
    await stream.write(body[: len(body) // 2])
    if scene.request.transport:
        scene.request.transport.close()
    return stream


async def _slow_body(scene: Scene) -> web.StreamResponse:
    answer, body = await scene.body()
    stream = await _stream(scene, answer, len(body))
    step = max(1, math.ceil(len(body) / PIECES))
    starts = range(0, len(body), step)
    for start in starts:
        await anyio.sleep(scene.settings["delay"] / len(starts))
        await stream.write(body[start : start + step])
    await stream.write_eof()
    return stream


def _instead(answer: web.StreamResponse, body: bytes) -> web.Response:
    """The same answer with another body."""
    return web.Response(status=answer.status, headers=_headers(answer), body=body)


async def _stream(scene: Scene, answer: web.StreamResponse, length: int) -> web.StreamResponse:
    """The beginning of the same answer, whose body is still to be written."""
    stream = web.StreamResponse(status=answer.status, headers=_headers(answer))
    stream.content_length = length
    await stream.prepare(scene.request)
    return stream


def _headers(answer: web.StreamResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "Content-Length"}


_EFFECTS: Mapping[str, Callable[[Scene], Awaitable[web.StreamResponse]]] = {
    "throttle": _throttle,
    "status": _status,
    "html": _html,
    "not_json": _not_json,
    "half_json": _half_json,
    "cut": _cut,
    "down": _cut,
    "hang": _hang,
    "slow": _slow,
    "redirect": _redirect,
    "truncated": _truncated,
    "short": _short,
    "empty": _empty,
    "not_an_image": _not_an_image,
    "slow_body": _slow_body,
}
