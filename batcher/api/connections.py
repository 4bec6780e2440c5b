"""The connections that paying POSTs leave on: one that was just in use, or a fresh one.

Rule: what a host closed while it lay idle carries no POST. A request whose body was never written proves that
nothing was accepted, and leaves again on a fresh connection; for one that was written nothing is proven.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection

from batcher.api.http import Connector

IDLE_SECONDS = 0.5
"""A connection that lay idle for longer is not used again: hosts close theirs after some seconds, and say so
to a request that is on its way already."""


class RequestProgress:
    """How far a request got. `began`: its body is on its way; `stale`: its connection was closed before."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.reused = False
        self.began = False
        self.stale = False


_progress: ContextVar[RequestProgress | None] = ContextVar("request_progress", default=None)


@contextmanager
def watched_request() -> Iterator[RequestProgress]:
    """Watches the request of the block, which leaves in this task."""
    request = RequestProgress()
    token = _progress.set(request)
    try:
        yield request
    finally:
        _progress.reset(token)


class StaleConnection(ConnectionResetError):
    """The host closed this connection while it lay idle; nothing was written."""


class PostConnector(Connector):
    """Keeps connections for a moment only, and none any more once the host closed one under a request."""

    def __init__(self) -> None:
        super().__init__(keepalive_timeout=IDLE_SECONDS)
        self._used: WeakSet[Any] = WeakSet()
        self.fresh_only = False
        """The host closes idle connections within that moment."""

    async def connect(self, *arguments: Any, **options: Any) -> Connection:
        """As aiohttp's, which calls it."""
        while True:
            connection = await super().connect(*arguments, **options)
            reused = connection.protocol in self._used
            if not (reused and self.fresh_only):
                break
            connection.close()
        self._used.add(connection.protocol)
        if (sent := _progress.get()) is not None:
            sent.connection, sent.reused = connection, reused
        return connection


def post_session(connector: PostConnector, **options: Any) -> aiohttp.ClientSession:
    """A session whose requests with a body are watched by `sending`."""
    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(_before_writing)
    return aiohttp.ClientSession(connector=connector, trace_configs=[trace], **options)


async def _before_writing(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, _chunk: aiohttp.TraceRequestChunkSentParams
) -> None:
    """Right before a part of the body is written. Raises StaleConnection."""
    sent = _progress.get()
    if sent is None or sent.began:
        return
    if sent.reused and _is_closed(sent.connection):
        sent.stale = True
        raise StaleConnection("the host closed the connection while it lay idle")
    sent.began = True


def _is_closed(connection: Connection | None) -> bool:
    """Whether the host has closed it, even where its end lies unread in the socket: on an idle connection
    there is nothing else to read."""
    transport = None if connection is None else connection.transport
    if transport is None or transport.is_closing():
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
