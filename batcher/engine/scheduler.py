"""All tasks: take the next, start it, wait, stop in good order. The ledger is the queue.

Rule: what is owed comes before what is new; memory does not grow with the number of tasks; a run always ends.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Collection

import anyio
from anyio.abc import TaskGroup

from batcher.api.signal import Signal
from batcher.engine.admission import AcceptedGroups, InFlight
from batcher.engine.delivery import Delivery
from batcher.engine.lifecycle import Lifecycle
from batcher.engine.stopping import Stopping
from batcher.ledger import plan_sample
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.task import State

BATCH = 256
LONGEST_PAUSE = 600.0
"""Seconds. No task waits longer for its next try, whatever moment an earlier process or a clock that was set
since has left."""
BACKLOG = 256
"""So many results may wait for their files before submits wait for them."""


class Scheduler:
    """Starts tasks as there is room, and ends when nothing is left that it may do. `changed` says that there
    may be room; `max_tasks`: it submits no more than so many; `sample`: none but these (by id; None: any);
    `groups`: none that no group of `accept` needs (None: every one is needed)."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        lifecycle: Lifecycle,
        delivery: Delivery,
        in_flight: InFlight,
        stopping: Stopping,
        changed: Signal,
        max_tasks: int | None = None,
        sample: Collection[int] | None = None,
        paused: Callable[[], bool] = lambda: False,
        groups: AcceptedGroups | None = None,
    ) -> None:
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._delivery = delivery
        self._in_flight = in_flight
        self._stopping = stopping
        self._remaining = math.inf if max_tasks is None else max_tasks
        self._sample = sample
        self._groups = groups
        self._batch: deque[TaskEntry] = deque()
        self._cursor = 0
        self._exhausted = False
        self._later: list[tuple[float, int]] = []
        self._put_off_ids: set[int] = set()
        self._source_changed_ids = lifecycle.source_changed
        self._changed = changed
        self._paused = paused
        self._started_ids: set[int] = set()

    @property
    def started(self) -> int:
        """Tasks on their way at this moment."""
        return len(self._started_ids)

    @property
    def to_come(self) -> int:
        """Planned tasks that this run will still submit, as far as is known."""
        planned = max(0, self._ledger.planned_tasks(self._sample) - len(self._source_changed_ids))
        if self._groups is not None:
            planned = min(planned, self._groups.to_come)
        if self._stopping.requested:
            return 0
        if math.isinf(self._remaining):
            return planned
        sent = sum(self._ledger.counts[state] for state in (State.SUBMITTING, State.SUBMITTED, State.READY))
        started = max(0, self.started - sent) + len(self._put_off_ids)
        return min(planned, int(self._remaining) + started)

    def rescan(self) -> None:
        """Another process moved tasks: some behind the cursor may be planned again."""
        for _, task in self._later:
            if not self._ledger.is_waiting(task):
                self._drop(task)
        self._later = [(at, task) for at, task in self._later if task in self._put_off_ids]
        heapq.heapify(self._later)
        if self._groups is not None:
            self._groups.recount()
        self._batch.clear()
        self._cursor = 0
        self._exhausted = False
        self.notify()

    def added(self, tasks: Collection[int]) -> None:
        """These tasks were planned, behind the cursor or, taken up again, before it."""
        if self._groups is not None:
            self._groups.added(tasks)
        if self._sample is not None:
            plan = self._ledger.plan_number
            self._sample = frozenset(self._sample) | self._ledger.read(
                plan_sample.replacements_of, plan, self._sample
            )
        self._batch.clear()
        self._cursor = 0
        self._exhausted = False

    def notify(self) -> None:
        """Something changed that may make room."""
        self._changed.notify()

    async def run(self) -> None:
        """Returns when every task that can move has moved, or a stop let what was in flight come home."""
        async with anyio.create_task_group() as tasks:
            await self._resume(tasks)
            await self._submit(tasks)

    async def _resume(self, tasks: TaskGroup) -> None:
        """What an earlier process left in flight, the one whose record ends first at the head."""
        up_to = self._ledger.last_submission()
        after = (-math.inf, 0)
        while entries := self._ledger.in_flight(after, up_to, BATCH):
            for entry in entries:
                while self.started >= BACKLOG:
                    await self._wait()
                self._start(tasks, entry)
            last = entries[-1]
            after = (last.submission.submitted_at if last.submission else 0.0, last.id)

    async def _submit(self, tasks: TaskGroup) -> None:
        while not self._stopping.requested:
            if self._paused() and (self.to_come or self.started):
                with self._stopping.cancelled_by_stop():
                    await self._wait()
            elif not self._has_room():
                await self._wait()
            elif (entry := self._next()) is not None:
                self._in_flight.expect(entry.id)
                self._start(tasks, entry)
            elif self._later:
                await self._wait(self._later[0][0] - self._clock())
            elif self.started:
                await self._wait()
            else:
                return

    def _has_room(self) -> bool:
        return self._in_flight.has_room and self._delivery.under_way < BACKLOG

    def _next(self) -> TaskEntry | None:
        """The next task whose time has come: retries that are due, then the plan's order."""
        while self._later and self._later[0][0] <= self._clock():
            number = heapq.heappop(self._later)[1]
            if self._ledger.is_waiting(number):
                self._put_off_ids.discard(number)
                return self._ledger.entry(number)
            self._drop(number)
        while self._remaining > 0 and (entry := self._next_planned()) is not None:
            if self._is_busy(entry.id):
                continue
            self._remaining -= 1
            if entry.not_before <= self._ledger.now():
                return entry
            self._put_off(entry)
        return None

    def _is_busy(self, task: int) -> bool:
        return any(task in ids for ids in (self._started_ids, self._put_off_ids, self._source_changed_ids))

    def _drop(self, task: int) -> None:
        """A task that waited for its next try left the plan: it stays as it is, and is not submitted."""
        self._put_off_ids.discard(task)
        if self._groups is not None:
            self._groups.leave(self._ledger.entry(task))

    def _next_planned(self) -> TaskEntry | None:
        if self._groups is not None:
            return self._groups.next(
                lambda task: self._is_busy(task) or (self._sample is not None and task not in self._sample)
            )
        if not self._batch and not self._exhausted:
            self._batch.extend(self._ledger.next_planned(self._cursor, BATCH, self._sample))
            self._exhausted = len(self._batch) == 0
            self._cursor = self._batch[-1].id if self._batch else self._cursor
        return self._batch.popleft() if self._batch else None

    def _start(self, tasks: TaskGroup, entry: TaskEntry) -> None:
        self._started_ids.add(entry.id)
        tasks.start_soon(self._advance, entry, name=entry.task.name)

    async def _advance(self, entry: TaskEntry) -> None:
        try:
            entry = await self._lifecycle.advance(entry)
        finally:
            self._started_ids.discard(entry.id)
            self._in_flight.leave(entry.id)
            self.notify()
        if entry.state is State.PLANNED and entry.id not in self._source_changed_ids:
            self._requeue(entry)
        elif self._groups is not None:
            self._groups.leave(entry)

    def _requeue(self, entry: TaskEntry) -> None:
        """Back in the queue. One that was resumed in flight may lie ahead of the cursor, and is met there;
        what is not in the present plan stays as it is."""
        if not self._ledger.is_waiting(entry.id):
            if self._groups is not None:
                self._groups.leave(entry)
        elif self._groups is not None:
            if self._groups.keeps(entry.id):
                self._put_off(entry)
        elif entry.id <= self._cursor:
            self._put_off(entry)
        else:
            self._exhausted = False

    def _put_off(self, entry: TaskEntry) -> None:
        self._put_off_ids.add(entry.id)
        pause = min(max(0.0, entry.not_before - self._ledger.now()), LONGEST_PAUSE)
        heapq.heappush(self._later, (self._clock() + pause, entry.id))

    @staticmethod
    def _clock() -> float:
        """Seconds of the loop's clock, which nobody sets."""
        return asyncio.get_running_loop().time()

    async def _wait(self, seconds: float = math.inf) -> None:
        with anyio.move_on_after(max(seconds, 0.0)):
            await self._changed.wait()
