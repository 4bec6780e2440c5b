"""A foreign server that says whatever a test tells it, byte by byte, and remembers what it was asked.

async with Foreign(answer("200 OK", b"...")) as server:
    ... server.url ...
    assert server.requests == 1
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
"""Plays one exchange whose request was read; the number counts the requests of the server from 1."""


class Foreign:
    """Lives in the running loop. `heads`: the requests' first lines and headers as text; `bodies`: theirs."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0

    @property
    def requests(self) -> int:
        return len(self.heads)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [
                    line[15:] for line in head.lower().split("\r\n") if line.startswith("content-length:")
                ]
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(int(length[0])) if length else b"")
                await self._script(reader, writer, self.requests)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answer(status: str, body: bytes = b"", *headers: str) -> Script:
    """The same whole answer to every request; the line stays open."""
    head = "".join(f"{header}\r\n" for header in headers)

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)

    return script


def raw(data: bytes, *, then_cut: bool = True) -> Script:
    """These very bytes, and the end of the line."""

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(data)
        if then_cut:
            writer.close()

    return script


def closed_port() -> str:
    """The address of a port at which nobody listens."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
