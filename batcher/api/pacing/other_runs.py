"""What a gate has in common with those of the account's other runs: counted, heard, and told once.

Rule: what others sent and what they were refused counts as if this run had sent it, so that every run learns
the same of the limit.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from batcher.api.pacing.account_limit import AccountLimit, QueueAction
from batcher.api.pacing.call_queue import CallKind
from batcher.api.pacing.shared_slots import SharedSlots, SharedState, Slot


class OtherRuns:
    """The account's other runs, beside one that knows `limit`; without `shared` there are none."""

    def __init__(self, limit: AccountLimit, shared: SharedSlots | None) -> None:
        self._limit = limit
        self._shared = shared
        self._seen: SharedState | None = None
        self._told_end = -math.inf

    @property
    def number(self) -> int:
        """How many there are, as far as was heard last."""
        return 0 if self._shared is None else self._shared.other_runs

    def state(self) -> SharedState | None:
        """What is known in common at this moment; None where nothing is shared, or it cannot be had."""
        return None if self._shared is None else self._shared.state()

    def hear(
        self, state: SharedState, at: float, waiting: Collection[CallKind], *, own: int = 0
    ) -> QueueAction:
        """Applies what is known in common to the limit. `own` of the calls are this run's, and counted
        already; `waiting` are the kinds of its calls that wait."""
        before, self._seen = self._seen or state, state
        limit, action = self._limit, QueueAction.NONE
        limit.rate.sent_by_others(at, max(0, state.calls - before.calls - own))
        limit.rate.refused_by_others(max(0, state.refused - before.refused))
        if limit.configure_others(state.rpm, state.slowest):
            action = QueueAction.SPACE
        if state.all_metered and limit.learn_all_metered():
            action = max(action, QueueAction.SORT)
        if state.blocked > at and limit.pause.hear(state.reset, state.blocked, at):
            action = max(action, QueueAction.WAKE)
        self._tell_far_end(max(state.blocked, state.reset), at, waiting)
        return action

    def _tell_far_end(self, end: float, at: float, waiting: Collection[CallKind]) -> None:
        """Others are refused for longer than the user of this run waits, and a call of this one waits for it:
        said once of each end."""
        if end - at <= self._limit.patience or end <= self._told_end + 1:
            return
        if any(self._limit.is_metered(kind) for kind in waiting):
            self._told_end = end
            self._limit.tell_used_up(end - at)

    async def take(self, pace: float, late: float, *, spaced: bool) -> Slot | None:
        """The next slot that all share, as `SharedSlots.take`; None where nothing is shared, too."""
        return None if self._shared is None else await self._shared.take(pace, late, spaced=spaced)

    def give_back(self, slot: Slot) -> None:
        """Nobody has used it."""
        if self._shared is not None:
            self._shared.give_back(slot)
            if self._seen is not None:
                self._seen = self._seen._replace(calls=self._seen.calls - 1)

    def tell_refused(self) -> None:
        """A call of this run that counts got a 429."""
        if self._shared is not None:
            self._shared.refused()
            if self._seen is not None:
                self._seen = self._seen._replace(refused=self._seen.refused + 1)

    def tell_pause(self, at: float) -> None:
        """This run waits with its calls that count, and so must they."""
        pause = self._limit.pause
        if self._shared is not None and pause.left(at):
            self._shared.pause(pause.until, pause.coming)
