"""The reading half of the gate: which calls count, and what others may know of it."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from batcher.api.pacing.call_queue import SUBMITS, UNTHROTTLED, CallKind, CallQueue
from batcher.api.pacing.events import LearnedRate, Metered, PacingStatistics
from batcher.api.pacing.pause import Pause
from batcher.api.pacing.rate import MINUTE, Rate
from batcher.api.pacing.shared_slots import SharedSlots
from batcher.api.pacing.unmetered import UnmeteredEvidence


class GateReads:
    """What can be asked of a gate; `Pacing` says what it is."""

    _now: Callable[[], float]
    _auto: bool
    _found_out: bool
    _metered: Metered
    _rate: Rate
    _others: UnmeteredEvidence
    _paced: CallQueue
    _free: CallQueue
    _waiting: Counter[CallKind]
    _granted: Counter[CallKind]
    _throttled: int
    _pause: Pause
    _pause_of_all: Pause
    _shared: SharedSlots | None
    _own_rpm: float | None

    def _left(self, at: float) -> float:
        raise NotImplementedError

    def _submits_left(self, at: float) -> float:
        raise NotImplementedError

    def _guarding(self) -> bool:
        raise NotImplementedError

    def _is_metered(self, kind: CallKind) -> bool:
        return kind in SUBMITS if self._metered == "submits" else kind not in UNTHROTTLED

    def _is_paced(self, kind: CallKind) -> bool:
        return self._is_metered(kind) and math.isfinite(self._rate.per_second)

    def _queue_of(self, kind: CallKind) -> CallQueue:
        return self._paced if self._is_paced(kind) else self._free

    @property
    def rate(self) -> float | None:
        """Calls per minute at present, None where nothing is paced."""
        return _per_minute(self._rate.per_second)

    @property
    def own_rpm(self) -> float | None:
        """Calls per minute as this run was told, whatever those beside were."""
        return self._own_rpm

    @property
    def sure_rate(self) -> float | None:
        """The part of it that this run has for itself, whatever the runs beside it do."""
        rate = self.rate
        return None if rate is None else rate / (1 + self.beside)

    @property
    def beside(self) -> int:
        """How many other runs share the limit."""
        return 0 if self._shared is None else self._shared.beside

    @property
    def metered(self) -> Metered:
        """Which calls count, as far as known."""
        return self._metered

    @property
    def waiting(self) -> Mapping[CallKind, int]:
        """How many calls of each kind wait for their turn; kinds without any are left out."""
        return {kind: waiting for kind, waiting in self._waiting.items() if waiting}

    @property
    def free(self) -> bool:
        """Whether status and result calls are known not to count: it was said, no call does, or they proved
        it."""
        if self._metered == "all" or not self._auto:
            return self._metered == "submits"
        return self._others.proved or math.isinf(self._rate.per_second)

    @property
    def scarce(self) -> bool:
        """Whether a status call costs a submit its turn: every call counts, and submits wait."""
        return self._is_paced(CallKind.STATUS) and any(self._waiting[kind] for kind in SUBMITS)

    @property
    def guarding(self) -> bool:
        """Whether submits wait until what is in flight can be fetched in time."""
        return any(self._waiting[kind] for kind in SUBMITS) and self._guarding()

    @property
    def pause_left(self) -> float:
        """Seconds for which every call to the API still waits after a 429."""
        return self._left(asyncio.get_running_loop().time())

    @property
    def reason(self) -> str:
        """Why submits wait, as a sentence; empty when none does."""
        remaining = self._submits_left(asyncio.get_running_loop().time())
        if remaining:
            return f"the API's limit is reached, submits pass again in {math.ceil(remaining)} s"
        submits = sum(self._waiting[kind] for kind in SUBMITS)
        if submits and self.rate is not None:
            return f"at the limit of {self.rate:.4g} a minute"
        return ""

    def statistics(self) -> PacingStatistics:
        """The gate at this moment."""
        return PacingStatistics(
            rate=self.rate,
            configured=_per_minute(self._rate.configured),
            metered=self._metered,
            waiting=self.waiting,
            granted=dict(self._granted),
            throttled=self._throttled,
            resets=self._pause.resets + self._pause_of_all.resets,
        )

    def snapshot(self) -> dict[str, Any]:
        """What 429s taught, for the next run's `learned`: plain JSON."""
        per_minute = self._rate.proved * MINUTE if self._rate.learned else None
        return LearnedRate(per_minute, self._metered, self._found_out).written(self._now())

    def __repr__(self) -> str:
        waiting = ", ".join(f"{number} {kind}" for kind, number in self.waiting.items()) or "nobody"
        paused = ", paused" if any(math.isfinite(p.until) for p in (self._pause, self._pause_of_all)) else ""
        calls = f"metered {self._metered}, waiting {waiting}{paused}, {self._throttled} 429s"
        return f"<Pacing {self._rate!r}, {calls}>"


def _per_minute(per_second: float) -> float | None:
    return None if math.isinf(per_second) else per_second * MINUTE
