"""A process that stands still (SIGSTOP, a closed laptop, a paused machine): what arrived meanwhile counts."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tests.support.harness import Harness
from tests.support.scripted_api import PNG, Api
from tests.support.virtualtime import VirtualTimeLoop

TASKS = 32


class Frozen(Api):
    """The run stands still for `seconds` while the answers to all calls of one kind are on their way, but for
    the `first` ones: of a cold v1 model one call goes before the others."""

    def __init__(self, kind: str, seconds: float, together: int = TASKS, *, first: int = 0) -> None:
        super().__init__()
        self._first = first
        self._kind = kind
        self._seconds = seconds
        self._together = asyncio.Barrier(together)
        self._met = 0

    async def __call__(self, reader: Any, writer: Any, number: int) -> None:
        method, path, _ = self.server.heads[number - 1].split(" ", 2)
        kind = "file" if path.startswith("/files/") else "submit" if method == "POST" else path[-6:]
        if kind == self._kind and self._first:
            self._first -= 1
        elif kind == self._kind and self._met < self._together.parties:
            self._met += 1
            if await self._together.wait() == 0:
                cast(VirtualTimeLoop, asyncio.get_running_loop()).stand_still(self._seconds)
        await super().__call__(reader, writer, number)


@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("seconds", [5.0, 70.0, 4000.0])
async def test_submits_whose_answers_lie_in_their_sockets_are_not_paid_again(
    harness: Harness, api: str, seconds: float
) -> None:
    class Pictures(Frozen):
        def submitted(self, number: int) -> Any:
            return PNG if api == "v1" else super().submitted(number)

    first = 1 if api == "v1" else 0
    frozen = Pictures("submit", seconds, TASKS - first, first=first)
    limits = {"in_flight": TASKS, "rpm": 60_000}
    (report,) = await frozen.serve(harness, TASKS, api=api, limits=limits)
    harness.check(report)
    assert (report.exit_code, report.counts["done"], frozen.submits) == (0, TASKS, TASKS)
    assert harness.outcomes() == {"completed": TASKS}


@pytest.mark.parametrize(("kind", "tasks"), [("status", 1), ("file", 8)])
async def test_so_are_statuses_and_files_read_that_have_arrived(
    harness: Harness, kind: str, tasks: int
) -> None:
    frozen = Frozen(kind, 70, tasks)
    (report,) = await frozen.serve(harness, tasks)
    harness.check(report)
    assert (report.exit_code, report.counts["done"], frozen.submits) == (0, tasks, tasks)
    asked = [path for path in frozen.asked if "credits" not in path and "history" not in path]
    assert len(asked) == 4 * tasks
