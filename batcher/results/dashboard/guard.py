"""Who may ask, and who may change something.

Rule: whoever has not the token, or came by another host name (DNS rebinding), finds nothing. What changes
something is a POST of JSON from this very page: the token, the host, the origin and the kind of its body are
looked at before the body is, and no other site's form or script can send all four.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from batcher import errors

HOST = "127.0.0.1"
FOREIGN = "only the page whose address batcher has told may change something"
LARGEST_BODY = 16 * 1024
"""Bytes."""
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
Change = Callable[[Mapping[str, Any]], Awaitable[web.StreamResponse]]
"""What is done with the JSON object that a request brought."""


def guarded(token: str) -> Any:
    """The guard of an application whose paths begin with the token."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = request.match_info.http_exception is None
        given = request.match_info.get("token", "")
        valid = hmac.compare_digest(given.encode(), token.encode()) and _by_name(request)
        if request.method == "POST" and found:
            return await handler(request) if valid and _is_own(request) else refusal(403, FOREIGN)
        if not (valid and request.method in ("GET", "HEAD")):
            return missing()
        return await handler(request)

    return guard


def changing(change: Change) -> Handler:
    """The handler of a POST: the body is read once the guard has let it pass."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            return refusal(415, "what is sent here is application/json")
        try:
            body = json.loads(await request.text())
        except web.HTTPRequestEntityTooLarge:
            return refusal(413, f"what is sent here has at most {LARGEST_BODY:,} bytes")
        except (ValueError, RecursionError, LookupError):
            body = None
        if not isinstance(body, dict):
            return refusal(400, "what is sent here is one JSON object")
        try:
            return await change(body)
        except errors.BatcherError as error:
            return refusal(409, str(error))

    return handler


def _is_own(request: web.Request) -> bool:
    """Whether the page itself sent it; a browser says so, and a script of another site cannot."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return request.headers.get("Origin") == f"http://{request.host}" and site == "same-origin"


def _by_name(request: web.Request) -> bool:
    port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
    return request.host in (f"{HOST}:{port}", f"localhost:{port}")


def refusal(status: int, sentence: str) -> web.Response:
    """Nothing was changed, and why."""
    return answer({"error": sentence}, status)


def answer(value: Any, status: int = 200) -> web.Response:
    """JSON, for the page alone."""
    text = json.dumps(value, separators=(",", ":"))
    headers = {**ALWAYS, "Content-Security-Policy": SEALED}
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)


def missing() -> web.Response:
    """Nothing is here: the same answer for all who may not know more."""
    return web.Response(status=404, text="not found\n", headers={**ALWAYS, "Content-Security-Policy": SEALED})
