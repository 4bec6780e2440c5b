"""The buttons of the live page: pause, resume, other limits; as `batcher pause`, `resume` and `set`.

Rule: what is asked is a note in the ledger; the answer says what holds then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from aiohttp import web

from batcher.ledger import database
from batcher.ledger.controls import SETTABLE, limit_text
from batcher.results import run_control
from batcher.results.dashboard.guard import answer, changing, refusal
from batcher.results.run_control import Controls
from batcher.storage import layout, lock

OFFERED = SETTABLE
"""The limits that the page has fields for."""
LONGEST_VALUE = 40
"""Characters."""


class ControlPages:
    """What is answered to somebody who talks to a run."""

    def __init__(self, output: Path, now: Callable[[], float]) -> None:
        self._output = output
        self._now = now
        self._asking = asyncio.Lock()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Its addresses."""
        router.add_post("/{token}/pause", changing(self.pause))
        router.add_post("/{token}/resume", changing(self.resume))
        router.add_post("/{token}/limits", changing(self.set_limits))

    async def pause(self, body: Mapping[str, Any]) -> web.StreamResponse:
        """Nothing more is submitted until `resume`."""
        return await self._said(lambda: run_control.pause(self._output, self._now()))

    async def resume(self, body: Mapping[str, Any]) -> web.StreamResponse:
        """Runs submit again."""
        return await self._said(lambda: run_control.resume(self._output))

    async def set_limits(self, body: Mapping[str, Any]) -> web.StreamResponse:
        """`{"rpm": "120"}`: these limits hold from now on, in the manifest's words."""
        if not body or not all(key in OFFERED and _is_value(value) for key, value in body.items()):
            return refusal(400, f"limits are texts for {', '.join(OFFERED)}")
        texts = [f"limits.{key}={value.strip()}" for key, value in body.items()]

        changed: list[str] = []

        def change() -> None:
            for key, (before, after) in run_control.set_limits(self._output, texts).items():
                changed.append(f"limits.{key}: {limit_text(key, before)} -> {limit_text(key, after)}")

        return await self._said(change, changed)

    async def _said(self, ask: Callable[[], object], changed: Sequence[str] = ()) -> web.StreamResponse:
        async with self._asking:
            await asyncio.to_thread(ask)
            holds, running = await asyncio.to_thread(self._holds)
        return answer({**holds._asdict(), "changed": list(changed), "running": running})

    def _holds(self) -> tuple[Controls, bool]:
        path = layout.ledger_path(self._output)
        with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
            holds = run_control.in_force(connection, run_control.manifest_limits(self._output))
        return holds, lock.holder(layout.lock_path(self._output)) is not None


def _is_value(value: object) -> bool:
    """Whether it may be a limit's value; what it means the manifest's grammar says."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= LONGEST_VALUE
