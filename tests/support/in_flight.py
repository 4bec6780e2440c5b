"""A process that ends while its jobs are in flight."""

from __future__ import annotations

from typing import Any

import anyio

from batcher.sandbox import Sandbox
from tests.support.harness import Harness


async def left_in_flight(harness: Harness, server: Sandbox, tasks: int, **changes: Any) -> None:
    """A job of so many tasks whose process dies when all are submitted and none has a result."""
    manifest = harness.manifest(tasks, **changes)
    async with anyio.create_task_group() as process:
        process.start_soon(harness.run, server, manifest)
        while not harness.output.exists() or harness.states().get("submitted", 0) < tasks:
            await anyio.sleep(0.05)
        process.cancel_scope.cancel()
    assert harness.states() == {"submitted": tasks}
