"""Who goes first: the kinds of calls, their urgency, and the queue that keeps it.

Promise 3: result before status before submit; statuses and submits take turns while the expiry guard lets
submits go at all: what is submitted early is done early, and a question put later is more likely put once.
Nothing starves, and no result expires for a submit's sake.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

from batcher.api.signal import Signal


class CallKind(StrEnum):
    """What a call does: the words of `calls` in the JSON, and three that are not counted there apart."""

    SUBMIT = "submit"
    SYNC = "sync"
    STATUS = "status"
    RESULT = "result"
    UPLOAD = "upload"
    CREDITS = "credits"
    HISTORY = "history"


SUBMITS = frozenset({CallKind.SUBMIT, CallKind.SYNC})
"""What consumes the budget where only submits are metered."""
UNTHROTTLED = frozenset({CallKind.UPLOAD, CallKind.HISTORY})
"""Calls to other hosts: neither the API's limit nor its pauses are theirs."""
URGENCY: Mapping[CallKind, int] = {
    CallKind.RESULT: 0,
    CallKind.CREDITS: 1,
    CallKind.STATUS: 1,
    CallKind.SUBMIT: 2,
    CallKind.SYNC: 2,
}
STATUSES, SUBMITTING = 1, 2
SUBMITS_TO_A_STATUS = 2
"""With one, the last jobs are submitted so late that their service ends a run when calls are to spare."""
STARVED = 60.0
"""Seconds without a turn after which a less urgent kind has one, unless a result would expire within them."""

_arrivals = count()


@dataclass(order=True, slots=True)
class Waiter:
    """A call that waits for its turn; ordered within its urgency by deadline, then arrival.

    `since` is the loop's time of its arrival; `granted` gets the loop's time at which it was let out.
    """

    deadline: float
    arrival: int = field(init=False, default_factory=lambda: next(_arrivals))
    kind: CallKind = field(compare=False)
    since: float = field(compare=False)
    granted: asyncio.Future[float] = field(compare=False)

    def __post_init__(self) -> None:
        if self.kind in SUBMITS:
            self.deadline = math.inf


class CallQueue:
    """Waiting calls by urgency. `changed` is notified whenever something arrives, for the one who serves it.

    While `held` says so, submits do not exist here: the expiry guard wants what is in flight fetched first.
    """

    def __init__(self, held: Callable[[], bool]) -> None:
        self.changed = Signal()
        self._held = held
        self._heaps: tuple[list[Waiter], ...] = ([], [], [])
        self._served_at = [-math.inf] * len(self._heaps)
        self._submits = SUBMITS_TO_A_STATUS
        self._gone = 0

    def __len__(self) -> int:
        """0 when nobody may go; else about how many wait: the cancelled count until they are cleared away."""
        if not any(self._heaps):
            return 0
        if not any(self._head(urgency) for urgency in range(len(self._heaps))):
            return 0
        return sum(len(heap) for heap in self._heaps)

    def push(self, waiter: Waiter) -> None:
        heapq.heappush(self._heaps[URGENCY[waiter.kind]], waiter)
        self.changed.notify()

    def pop(self, at: float) -> Waiter | None:
        """The call whose turn it is at loop time `at`; None when nobody waits."""
        urgency = self._next_urgency(at)
        if urgency is None:
            return None
        self._served_at[urgency] = at
        if urgency == SUBMITTING:
            self._submits += 1
        elif urgency == STATUSES:
            self._submits = 0
        return heapq.heappop(self._heaps[urgency])

    def expires_before(self, at: float) -> bool:
        """Whether the first result's record is gone by this loop's time."""
        head = self._head(0)
        return head is not None and head.deadline <= at

    def discard_gone(self) -> None:
        """One waiter was cancelled; its place is freed when it is reached, or with many others."""
        self._gone += 1
        if 2 * self._gone > sum(len(heap) for heap in self._heaps):
            self._put([waiter for heap in self._heaps for waiter in heap if not waiter.granted.done()])

    def drain(self) -> Iterator[Waiter]:
        """Everybody who waits, taken out."""
        waiting = [waiter for heap in self._heaps for waiter in heap if not waiter.granted.done()]
        self._put([])
        yield from waiting

    def _next_urgency(self, at: float) -> int | None:
        heads = [(urgency, head) for urgency in range(len(self._heaps)) if (head := self._head(urgency))]
        if not heads:
            return None
        if not self.expires_before(at + STARVED):
            for urgency, head in heads[1:]:
                if at - max(head.since, self._served_at[urgency]) > STARVED:
                    return urgency
        first = heads[0][0]
        if first == STATUSES and heads[-1][0] == SUBMITTING:
            # In turns: a wave of questions behind a wave of submits would leave places empty in between.
            return SUBMITTING if self._submits < SUBMITS_TO_A_STATUS else STATUSES
        return first

    def _head(self, urgency: int) -> Waiter | None:
        heap = self._heaps[urgency]
        while heap and heap[0].granted.done():
            heapq.heappop(heap)
        if not heap or (urgency == SUBMITTING and self._held()):
            return None
        return heap[0]

    def _put(self, waiting: list[Waiter]) -> None:
        for urgency, heap in enumerate(self._heaps):
            heap[:] = [waiter for waiter in waiting if URGENCY[waiter.kind] == urgency]
            heapq.heapify(heap)
        self._gone = 0
