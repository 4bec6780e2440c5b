"""The limit belongs to the account: what the gates of several runs have in common.

Rule: a gate that runs beside others takes each slot of a call that counts from what they share, one at a time
and only for a call that waits. So slots go round in turn whatever the runs' size, none is kept for a run that
has nothing to call, and one that is killed takes along a single slot. What one learns from a 429, all hear.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol


class SharedState(NamedTuple):
    """What is known in common. Times are seconds of the machine's steady clock.

    `other_runs` are going on, the lowest of whose limits is `rpm` (None: none has any), in the job
    `slowest`; `calls` and `refused` count what all have sent and was refused; nothing that counts leaves
    before `blocked`, `reset` is the reset that this waits for (-inf: none); `all_metered`: a 429 proved that
    every call counts.
    """

    other_runs: int = 0
    rpm: float | None = None
    slowest: str = ""
    calls: int = 0
    refused: int = 0
    blocked: float = -math.inf
    reset: float = -math.inf
    all_metered: bool = False


class Slot(NamedTuple):
    """The right to one call that counts, from `at` on; `until`: the next one's time."""

    at: float
    until: float
    state: SharedState


def next_slot(free: float, now: float, *, pace: float, late: float, blocked: float) -> tuple[float, float]:
    """The slot that is taken at `now`, and when the next one is free: one call every 1 / `pace` seconds, with
    up to `late` seconds of lateness made good, none before `blocked`."""
    at = max(free, now - late, blocked)
    return max(at, now), at + 1 / pace


class SharedSlots(Protocol):
    """The slots of the account, as a gate sees them. None of it raises."""

    @property
    def other_runs(self) -> int:
        """How many other runs go on, as far as was heard last; 0 where nothing is shared."""

    def state(self) -> SharedState | None:
        """What is known in common at this moment; None where it cannot be had."""

    async def take(self, pace: float, late: float, *, spaced: bool) -> Slot | None:
        """The next slot at `pace` calls a second; None where it cannot be had. `spaced`: this run has spaced
        its calls itself, and where nobody runs beside it the slot is now."""

    def give_back(self, slot: Slot) -> None:
        """Nobody has used it."""

    def refused(self) -> None:
        """A call that counts got a 429."""

    def pause(self, until: float, reset: float | None) -> None:
        """Nothing that counts leaves before `until`, where calls pass again from `reset` on."""
