"""Several gates that share one limit through an account's file, in simulated time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batcher.api.pacing import CallKind, Pacing, SharedState, Slot
from batcher.ledger.account_file import AccountFile
from tests.support.pacing import START, WALL, Server, simulate, wall, with_gate


class FileSlots:
    """The shared slots of one job, straight from the file."""

    def __init__(self, path: Path, job: str, rpm: float | None) -> None:
        self.file = AccountFile(path)
        self.job = job
        self._rpm = rpm
        self._state = SharedState()
        self.file.enter(job, folder=path.parent / job, name=job, manifest="", at=_clock(), now=wall())
        self.beat()

    def beat(self) -> None:
        self.file.beat(self.job, total=0, done=0, spent=0, rpm=self._rpm, at=_clock(), now=wall())

    def leave(self) -> None:
        self.file.leave(self.job, ended_at=wall(), exit_code=0, why="")
        self.file.close()

    @property
    def other_runs(self) -> int:
        return self._state.other_runs

    def state(self) -> SharedState:
        self._state = self.file.state(self.job, _clock())
        return self._state

    async def take(self, pace: float, late: float, *, spaced: bool) -> Slot:
        slot = self.file.take(self.job, at=_clock(), pace=pace, late=late, spaced=spaced)
        self._state = slot.state
        return slot

    def give_back(self, slot: Slot) -> None:
        self.file.give_back(slot)

    def refused(self) -> None:
        self.file.count_refused()

    def pause(self, until: float, reset: float | None) -> None:
        self.file.pause(self.job, until=until, reset=reset, at=_clock())


def _clock() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class SharedJob:
    """So many submits from second `start` on, by a gate that was told `rpm`; killed at second `killed`."""

    tasks: int
    start: float = 0.0
    rpm: float | None = 60.0
    killed: float | None = None
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def run(self, path: Path, name: str, server: Server, chance: random.Random) -> None:
        await asyncio.sleep(self.start)
        slots = FileSlots(path, name, self.rpm)
        slots.state()
        gate = Pacing(rpm=self.rpm, now=wall, tell=lambda event: self.told.append(event.text), shared=slots)

        async def look() -> None:
            while True:
                slots.beat()
                gate.listen()
                await asyncio.sleep(1.0)

        async def everything() -> None:
            looking = asyncio.ensure_future(look())
            calls = asyncio.gather(*(self._call(gate, server, chance) for _ in range(self.tasks)))
            await asyncio.wait([calls], timeout=None if self.killed is None else self.killed - self.start)
            looking.cancel()
            if not calls.done():
                calls.cancel()
            await asyncio.gather(looking, calls, return_exceptions=True)

        await with_gate(gate, everything)
        if self.killed is None:
            slots.leave()
        else:
            slots.file.close()

    async def _call(self, gate: Pacing, server: Server, chance: random.Random) -> None:
        while True:
            sent = await gate.acquire(CallKind.SUBMIT)
            await asyncio.sleep(chance.uniform(0.0005, 0.0025))
            at = _clock() - START
            reset = server.admit(at)
            (self.accepted if reset is None else self.refused).append(at)
            await asyncio.sleep(chance.uniform(0.0005, 0.0025))
            if reset is None:
                gate.accepted(CallKind.SUBMIT)
                return
            gate.throttled(CallKind.SUBMIT, WALL + START + reset, wall(), sent)


def run_together(folder: Path, server: Server, jobs: Sequence[SharedJob]) -> list[float]:
    """All of them in one loop; when their calls passed, in order."""
    chance = random.Random(42)

    async def story() -> None:
        path = folder / "accounts" / "0123456789abcdef.sqlite"
        async with asyncio.TaskGroup() as group:
            for number, job in enumerate(jobs):
                group.create_task(job.run(path, f"job {number}", server, chance))

    simulate(story())
    return sorted(at for job in jobs for at in job.accepted)
