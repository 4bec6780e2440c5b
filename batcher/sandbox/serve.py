"""Serving until a signal ends it, for the command line."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio

from batcher.sandbox.server import Sandbox
from batcher.sandbox.server_options import Options


async def serve(options: Options, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is told the address once calls are answered.

    Raises:
        OSError: the port cannot be had.
    """
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with Sandbox(options) as sandbox:
            announce(sandbox.url)
            async for _ in signals:
                break
