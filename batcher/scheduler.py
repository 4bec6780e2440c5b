"""All tasks: claim, start, wait, stop in good order. The ledger is the queue.

Law: what is owed comes before what is new; memory does not grow with the number of tasks; a run always ends.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque

import anyio
from anyio.abc import TaskGroup

from batcher.admission import Window
from batcher.delivery import Delivery
from batcher.ledger.entries import Entry
from batcher.ledger.writer import Ledger
from batcher.lifecycle import Lifecycle
from batcher.stopping import Stopping
from batcher.task import State

CLAIMED_AT_ONCE = 256
BACKLOG = 256
"""So many results may wait for their files before submits wait for them."""


class Scheduler:
    """Starts tasks as there is room, and ends when nothing is left that it may do."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        lifecycle: Lifecycle,
        delivery: Delivery,
        window: Window,
        stopping: Stopping,
        most: int | None = None,
    ) -> None:
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._delivery = delivery
        self._window = window
        self._stopping = stopping
        self._left = math.inf if most is None else most
        self._claimed: deque[Entry] = deque()
        self._cursor = 0
        self._exhausted = False
        self._later: list[tuple[float, int]] = []
        self._put_off_ids: set[int] = set()
        self._changed = asyncio.Event()
        self._live_ids: set[int] = set()

    @property
    def live(self) -> int:
        """Tasks on their way at this moment."""
        return len(self._live_ids)

    @property
    def to_come(self) -> int:
        """Planned tasks that this run will still submit, as far as it can be told."""
        planned = self._ledger.counts[State.PLANNED]
        if self._stopping.requested:
            return 0
        if math.isinf(self._left):
            return planned
        sent = sum(self._ledger.counts[state] for state in (State.SUBMITTING, State.SUBMITTED, State.READY))
        started = max(0, self.live - sent) + len(self._put_off_ids)
        return min(planned, int(self._left) + started)

    def look_again_from_the_start(self) -> None:
        """Tasks behind the cursor may be planned again: another process moved them."""
        self._claimed.clear()
        self._cursor = 0
        self._exhausted = False
        self.look()

    def look(self) -> None:
        """Something changed that may make room."""
        self._changed.set()

    @property
    def in_flight(self) -> int:
        """Tasks on their way to a result; those whose files are being fetched are past it."""
        return self.live - self._delivery.under_way

    async def run(self) -> None:
        """Returns when every task that can move has moved, or a stop let what was in flight come home."""
        async with anyio.create_task_group() as tasks:
            await self._resume(tasks)
            await self._submit(tasks)

    async def _resume(self, tasks: TaskGroup) -> None:
        """What an earlier process left in flight, the one whose record ends first at the head."""
        up_to = self._ledger.last_submission()
        after = (-math.inf, 0)
        while owed := self._ledger.in_flight(after, up_to, CLAIMED_AT_ONCE):
            for entry in owed:
                while self.live >= BACKLOG:
                    await self._wait()
                self._start(tasks, entry)
            last = owed[-1]
            after = (last.submission.submitted_at if last.submission else 0.0, last.id)

    async def _submit(self, tasks: TaskGroup) -> None:
        while not self._stopping.requested:
            if not self._has_room():
                await self._wait()
            elif (entry := self._next()) is not None:
                self._start(tasks, entry)
            elif self._later:
                await self._wait(self._later[0][0] - self._ledger.now())
            elif self.live:
                await self._wait()
            else:
                return

    def _has_room(self) -> bool:
        return self.in_flight < self._window.size and self._delivery.under_way < BACKLOG

    def _next(self) -> Entry | None:
        """The next task whose time has come: retries that are due, then the plan's order."""
        if self._later and self._later[0][0] <= self._ledger.now():
            number = heapq.heappop(self._later)[1]
            self._put_off_ids.discard(number)
            return self._ledger.entry(number)
        while self._left > 0 and (entry := self._claim()) is not None:
            if entry.id in self._live_ids or entry.id in self._put_off_ids:
                continue
            self._left -= 1
            if entry.not_before <= self._ledger.now():
                return entry
            self._put_off(entry)
        return None

    def _claim(self) -> Entry | None:
        if not self._claimed and not self._exhausted:
            self._claimed.extend(self._ledger.claim(self._cursor, CLAIMED_AT_ONCE))
            self._exhausted = len(self._claimed) == 0
            self._cursor = self._claimed[-1].id if self._claimed else self._cursor
        return self._claimed.popleft() if self._claimed else None

    def _start(self, tasks: TaskGroup, entry: Entry) -> None:
        self._live_ids.add(entry.id)
        tasks.start_soon(self._live, entry, name=entry.task.name)

    async def _live(self, entry: Entry) -> None:
        try:
            ended = await self._lifecycle.live(entry)
        finally:
            self._live_ids.discard(entry.id)
            self.look()
        if ended.state is State.PLANNED:
            self._again(ended)

    def _again(self, entry: Entry) -> None:
        """Back in the queue. One that was resumed in flight and lies ahead will be claimed in its turn."""
        if entry.id <= self._cursor:
            self._put_off(entry)
        else:
            self._exhausted = False

    def _put_off(self, entry: Entry) -> None:
        self._put_off_ids.add(entry.id)
        heapq.heappush(self._later, (entry.not_before, entry.id))

    async def _wait(self, seconds: float = math.inf) -> None:
        self._changed = asyncio.Event()
        with anyio.move_on_after(max(seconds, 0.0)):
            await self._changed.wait()
