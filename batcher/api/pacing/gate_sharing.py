"""What a gate has in common with those of the account's other runs: counted, heard, and told once.

Rule: what others sent and what they were refused counts as if this gate had sent it, so that every run learns
the same of the limit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from batcher.api.pacing.events import PacingEvent
from batcher.api.pacing.gate_reads import GateReads
from batcher.api.pacing.shared_slots import SharedState, Slot


class GateSharing(GateReads):
    """The half of a gate that hears of the others."""

    _seen: SharedState | None
    _others_rpm: float
    _tell: Callable[[PacingEvent], None]
    _patience: float
    _told_end: float

    def _configure(self) -> None:
        raise NotImplementedError

    def _all_are_metered(self) -> None:
        raise NotImplementedError

    def _tell_used_up(self, left: float) -> None:
        raise NotImplementedError

    def listen(self) -> None:
        """Hears what the account's other runs have sent and learned meanwhile."""
        state = None if self._shared is None else self._shared.state()
        if state is not None:
            self._hear(state)

    def _hear(self, state: SharedState, own: int = 0) -> None:
        """`own` of the calls are this gate's, and counted already."""
        at, before = asyncio.get_running_loop().time(), self._seen or state
        self._seen = state
        self._rate.sent_by_others(at, max(0, state.calls - before.calls - own))
        self._rate.refused_by_others(max(0, state.refused - before.refused))
        rpm = math.inf if state.rpm is None else state.rpm
        if rpm != self._others_rpm:
            self._tell_lower(rpm, state.slowest)
        if state.all_metered and self._auto and not self._found_out:
            self._all_are_metered()
        if state.blocked > at and self._pause.hear(state.reset, state.blocked, at):
            for queue in (self._free, self._paced):
                queue.changed.notify()
        self._tell_far_end(max(state.blocked, state.reset), at)

    def _tell_far_end(self, end: float, at: float) -> None:
        """Others are refused for longer than the user of this run waits, and a call of this one waits for it:
        said once of each end."""
        if end - at <= self._patience or end <= self._told_end + 1:
            return
        if any(self._is_metered(kind) for kind in self.waiting):
            self._told_end = end
            self._tell_used_up(end - at)

    def _tell_lower(self, rpm: float, job: str) -> None:
        own = math.inf if self._own_rpm is None else self._own_rpm
        self._others_rpm = rpm
        if rpm < own:
            mine = "none" if math.isinf(own) else f"{own:g}"
            text = f"limits.rpm is {rpm:g} in {job}, which runs beside, and {mine} here: the lower holds"
            self._tell(PacingEvent("shared", text, per_minute=rpm))
        self._configure()

    def _count_refused(self) -> None:
        if self._shared is not None:
            self._shared.refused()
            if self._seen is not None:
                self._seen = self._seen._replace(refused=self._seen.refused + 1)

    def _give_back(self, slot: Slot | None) -> None:
        if slot is not None and self._shared is not None:
            self._shared.give_back(slot)
            if self._seen is not None:
                self._seen = self._seen._replace(calls=self._seen.calls - 1)
