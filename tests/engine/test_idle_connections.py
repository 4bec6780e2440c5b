"""Hosts close the connections that lie idle: at whatever moment they do, no submit is in doubt for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.support.harness import Harness
from tests.support.scripted_api import PNG, Api

TASKS = 40


class Closing(Api):
    """Each connection is closed once it lay idle for so many seconds, without a word before."""

    def __init__(self, idle: float, api: str) -> None:
        super().__init__()
        self._idle = idle
        self._api = api
        self._served: Counter[Any] = Counter()
        self.closed = 0

    def submitted(self, number: int) -> Any:
        return PNG if self._api == "v1" else super().submitted(number)

    async def __call__(self, reader: Any, writer: Any, number: int) -> None:
        self._served[writer] += 1
        await super().__call__(reader, writer, number)
        await writer.drain()
        asyncio.get_running_loop().call_later(self._idle, self._close, writer, self._served[writer])

    def _close(self, writer: Any, served: int) -> None:
        if self._served[writer] == served:
            self.closed += 1
            writer.close()


@pytest.mark.parametrize(
    ("idle", "api"), [(0.0, "v2"), (0.3, "v2"), (1.0, "v2"), (0.3, "v1"), (1.0, "v1"), (2.0, "v1")]
)
async def test_no_submit_is_in_doubt_for_a_connection_that_was_closed_while_idle(
    harness: Harness, idle: float, api: str
) -> None:
    closing = Closing(idle, api)
    (report,) = await closing.serve(harness, TASKS, api=api, limits={"rpm": 60})
    harness.check(report)
    assert closing.closed > 0
    assert (report.exit_code, report.counts["done"], closing.submits) == (0, TASKS, TASKS)
    assert harness.outcomes() == {"completed": TASKS}
