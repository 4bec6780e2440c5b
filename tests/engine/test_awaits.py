"""At every await of a task's way the process stands still, its wall clock is set, or its ledger refuses:
nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from PIL import Image

from batcher import errors
from batcher.engine.lifecycle import Lifecycle
from batcher.job.manifest import Manifest
from batcher.ledger import group_commit
from batcher.results.report import Report
from batcher.sandbox import Sandbox
from tests.support.awaits import AwaitPoints, watched
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox
from tests.support.virtualtime import VirtualTimeLoop

TASKS = 2
SAMPLES = 8
"""So many of a way's awaits are tried for each misfortune: the first, the last, and evenly between."""
STOOD = 70.0
SET = 7200.0
ADVANCE = Lifecycle.advance


def manifest(harness: Harness, api: str) -> Manifest:
    """Two tasks whose picture is uploaded."""
    photo = harness.folder / "photo.png"
    if not photo.exists():
        Image.new("RGB", (8, 8), "teal").save(photo)
    return harness.manifest(TASKS, api=api, params={"image": str(photo), "prompt": "{{ place }}"})


async def stricken(
    harness: Harness, server: Sandbox, points: AwaitPoints, monkeypatch: pytest.MonkeyPatch, api: str
) -> Report | None:
    """One run to which it happens; None: its ledger refused to the end."""
    with monkeypatch.context() as patch:
        patch.setattr(Lifecycle, "advance", watched(ADVANCE, points))
        with suppress(errors.DiskError):
            return await harness.run(server, manifest(harness, api))
    return None


async def number_of_awaits(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, api: str
) -> int:
    points = AwaitPoints(None, lambda: None)
    async with sandbox(service=5) as server:
        await stricken(harness, server, points, monkeypatch, api)
        assert (server.billed, harness.states()["done"]) == (TASKS, TASKS)
    return points.passed


def samples(number: int) -> list[int]:
    return sorted({round(n * (number - 1) / (SAMPLES - 1)) for n in range(SAMPLES)})


class WallClock:
    """The harness's clock, which somebody sets."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.offset = 0.0

    def __call__(self) -> float:
        return self._now() + self.offset


@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("misfortune", ["stands still", "clock set on", "clock set back"])
async def test_a_standstill_or_a_clock_that_is_set_at_any_await_costs_nothing(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, misfortune: str, api: str
) -> None:
    loop, real = cast(VirtualTimeLoop, asyncio.get_running_loop()), harness.now

    def strike() -> None:
        if misfortune == "stands still":
            loop.stand_still(STOOD)
        else:
            clock.offset = SET if misfortune == "clock set on" else -SET

    number = await number_of_awaits(harness, sandbox, monkeypatch, api)
    assert number >= 20
    for at in samples(number):
        clock = WallClock(real)
        harness.now = clock
        harness.move_to(f"out-{at}")
        points = AwaitPoints(at, strike)
        async with sandbox(service=5) as server:
            began = loop.time()
            report = await stricken(harness, server, points, monkeypatch, api)
            story = f"{misfortune} at await {at} of {number}"
            assert points.passed > at, story
            assert harness.states() == {"done": TASKS}, story
            assert (server.billed, len(server.jobs)) == (TASKS, TASKS), story
            assert harness.outcomes() == {"completed": TASKS}, story
            assert loop.time() - began < STOOD + 60, story
            assert report is not None, story
            harness.check(report)
            assert (report.exit_code, report.images) == (0, TASKS), story


class Refusing:
    """A connection that refuses what is written until `until` (the loop's time); `once`: one statement."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real
        self.until = 0.0
        self.once = False

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        refused = self.once or asyncio.get_running_loop().time() < self.until
        if refused and statement != "ROLLBACK":
            self.once = False
            raise sqlite3.OperationalError("database or disk is full")
        return self._real.execute(statement, values)


@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("seconds", [0.0, 15.0])
async def test_a_ledger_that_refuses_at_any_await_has_nothing_paid_twice(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, seconds: float, api: str
) -> None:
    made: list[Refusing] = []

    class Group(group_commit.GroupCommit):
        def __init__(self, connection: sqlite3.Connection, *rest: Any) -> None:
            made.append(Refusing(connection))
            super().__init__(made[-1], *rest)  # type: ignore[arg-type]

    def strike() -> None:
        made[-1].once = not seconds
        made[-1].until = asyncio.get_running_loop().time() + seconds

    number = await number_of_awaits(harness, sandbox, monkeypatch, api)
    for at in samples(number):
        harness.move_to(f"out-{at}")
        async with sandbox(service=5) as server:
            with monkeypatch.context() as patch:
                patch.setattr(group_commit, "GroupCommit", Group)
                await stricken(harness, server, AwaitPoints(at, strike), monkeypatch, api)
            report = await harness.run(server, manifest(harness, api))
            harness.check(report)
            story = f"refused for {seconds:g} s from await {at} of {number} on"
            assert (report.exit_code, report.counts["done"], report.images) == (0, TASKS, TASKS), story
            assert (server.billed, len(server.jobs), report.cost["doubtful"]) == (TASKS, TASKS, 0), story
