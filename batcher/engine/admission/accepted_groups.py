"""`accept`: which task may be submitted next, so that no group gets more pictures than it is to have.

Rule: accepted and under way never exceed a group's count. A task holds its place from the moment in which it
is taken, through waits for its next try, until it is rejected or has failed; a doubtful one holds it, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from batcher.ledger.acceptance import BEFORE_ALL, AcceptRule, Candidates, Place, may_submit
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.task import IN_FLIGHT, State

HOLDING = IN_FLIGHT | {State.DONE}
"""States in which a task's pictures are accepted, or may be."""


class AcceptedGroups:
    """The groups of one run, and their places."""

    def __init__(self, ledger: Ledger, rule: AcceptRule) -> None:
        self._ledger = ledger
        self._rule = rule
        self._candidates = Candidates(ledger.connection, ledger.plan_number, rule)
        self._claimed: dict[int, tuple[int, int]] = {}
        self._unsent = set[int]()
        self.recount()

    def recount(self) -> None:
        """Another process wrote: what is accepted and in flight is counted anew."""
        statuses = self._candidates.statuses()
        self._images = [group.images for group in statuses]
        self._held = [group.accepted + group.in_flight for group in statuses]
        self._waiting = [group.waiting for group in statuses]
        for task, (group, images) in self._claimed.items():
            if task in self._unsent:
                self._held[group] += images
        self._after: list[Place] = [BEFORE_ALL] * len(statuses)
        self._open = deque(range(len(statuses)))
        self._closed = set[int]()

    @property
    def to_come(self) -> int:
        """Planned tasks that this run will still submit, as far as is known."""
        claimed = [0] * len(self._held)
        for task in self._unsent:
            claimed[self._claimed[task][0]] += 1
        return sum(
            claimed[group] + min(self._room(group), max(0, self._waiting[group] - claimed[group]))
            for group in range(len(self._held))
        )

    def next(self, is_busy: Callable[[int], bool]) -> TaskEntry | None:
        """The next task, of each group in turn, whose place is held from now on; None: no group needs one
        that is there. Tasks that are busy are passed over."""
        for _ in range(len(self._open)):
            group = self._open[0]
            place = self._first(group, is_busy) if self._room(group) else None
            if place is None:
                self._open.popleft()
                self._closed.add(group)
                continue
            self._open.rotate(-1)
            self._after[group] = place
            self._hold(place[1])
            return self._ledger.entry(place[1])
        return None

    def _first(self, group: int, is_busy: Callable[[int], bool]) -> Place | None:
        for place in self._candidates.planned(group, self._after[group]):
            if not is_busy(place[1]) and place[1] not in self._claimed:
                return place
        return None

    def _room(self, group: int) -> int:
        return may_submit(self._rule.count, self._held[group], 0, self._images[group])

    def _hold(self, task: int) -> None:
        found = self._candidates.group_of(task)
        if found is not None and task not in self._claimed:
            self._claimed[task] = found
            self._unsent.add(task)
            self._held[found[0]] += found[1]

    def keeps(self, task: int) -> bool:
        """Whether a task that is planned again has its place for its next try: this run took it. What an
        earlier process had sent is a candidate as any other, within what this run may submit."""
        if task not in self._claimed and (found := self._candidates.group_of(task)) is not None:
            self._reopen(found[0])
        return task in self._claimed

    def leave(self, entry: TaskEntry) -> None:
        """A task that this run took is done with, as far as it can go now."""
        self._unsent.discard(entry.id)
        found = self._claimed.pop(entry.id, None)
        if found is not None and entry.state not in HOLDING:
            self._free(*found)

    def moved(self, before: TaskEntry, after: TaskEntry) -> None:
        """The places follow every move of a task."""
        found = self._candidates.group_of(after.id)
        if found is None:
            return
        group, images = found
        if after.id in self._claimed and after.state is State.PLANNED:
            self._unsent.add(after.id)
        else:
            self._unsent.discard(after.id)
        waits = after.state is State.PLANNED and self._ledger.is_waiting(after.id)
        self._waiting[group] += waits - (before.state is State.PLANNED)
        if after.state in (State.REJECTED, State.FAILED):
            held = self._claimed.pop(after.id, None) is not None or before.state in HOLDING
        else:
            held = after.id not in self._claimed and before.state in HOLDING
        holds = after.id not in self._claimed and after.state in HOLDING
        if held and not holds:
            self._free(group, images)
        elif holds and not held:
            self._held[group] += images
        if after.state is State.DONE and images > 1:
            delivered = len(self._ledger.files(after))
            if delivered < images:
                self._free(group, images - delivered)

    def added(self, tasks: Iterable[int]) -> None:
        """Replacements were planned."""
        tasks = list(tasks)
        self._candidates.add(tasks)
        for task in tasks:
            found = self._candidates.group_of(task)
            if found is not None:
                self._waiting[found[0]] += 1
                self._reopen(found[0])

    def _free(self, group: int, images: int) -> None:
        self._held[group] -= images
        self._reopen(group)

    def _reopen(self, group: int) -> None:
        self._after[group] = BEFORE_ALL
        if group in self._closed:
            self._closed.discard(group)
            self._open.append(group)
