"""The limit belongs to the account: several gates share it, to the call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.pacing import CallKind, Pacing, PacingEvent, next_slot
from batcher.ledger.account_file import AccountFile
from tests.support.pacing import (
    START,
    WALL,
    FixedWindows,
    Server,
    TokenBucket,
    busiest_minute,
    simulate,
    wall,
    with_gate,
)
from tests.support.shared_limit import FileSlots, SharedJob, run_together

LIMITS = {
    "windows": lambda: FixedWindows([(0, 60)], phase=17),
    "bucket": lambda: TokenBucket([(0, 60)], 10),
}


@given(
    pace=st.floats(0.05, 50),
    gaps=st.lists(st.floats(0, 10), min_size=2, max_size=60),
    late=st.floats(0, 0.05),
)
def test_no_window_holds_more_slots_than_the_rate_and_nobody_waits_for_a_free_one(
    pace: float, gaps: list[float], late: float
) -> None:
    free, now, slots = -1e18, 0.0, list[float]()
    for gap in gaps:
        now += gap
        before = free
        at, free = next_slot(free, now, pace=pace, late=late, blocked=-1e18)
        assert at == max(now, before), "never idle while somebody waits"
        slots.append(at)
    for first in range(len(slots)):
        for last in range(first + 1, len(slots)):
            # What was made good is at most `late` seconds.
            allowed = 1 + (slots[last] - slots[first] + late) * pace
            assert last - first + 1 <= allowed + 1 + 1e-6


@given(now=st.floats(0, 100), blocked=st.floats(0, 200), free=st.floats(-10, 200))
def test_no_slot_lies_within_a_pause(now: float, blocked: float, free: float) -> None:
    at, until = next_slot(free, now, pace=1.0, late=0.05, blocked=blocked)
    assert at >= max(blocked, now)
    assert until > at - 0.05


@pytest.mark.parametrize("limit", LIMITS)
def test_three_equal_jobs_use_the_limit_up_without_a_429_and_end_together(tmp_path: Path, limit: str) -> None:
    jobs = [SharedJob(200) for _ in range(3)]
    passed = run_together(tmp_path, LIMITS[limit](), jobs)
    assert passed[-1] <= 1.01 * 600
    assert not [at for job in jobs for at in job.refused]
    assert busiest_minute(passed) <= 60
    ends = [job.accepted[-1] for job in jobs]
    assert min(ends) > 0.97 * max(ends)


def test_small_jobs_beside_a_large_one_get_their_turns_and_idle_ones_take_none(tmp_path: Path) -> None:
    jobs = [SharedJob(1000), SharedJob(30, start=100), SharedJob(30, start=200)]
    passed = run_together(tmp_path, FixedWindows([(0, 60)], phase=17), jobs)
    assert passed[-1] <= 1.01 * 1060
    assert jobs[1].accepted[-1] <= 100 + 2 * 30 + 3
    assert jobs[2].accepted[-1] <= 200 + 2 * 30 + 3
    gaps = [after - before for before, after in pairwise(passed)]
    assert max(gaps) < 2.1, "work-conserving"


def test_a_killed_job_takes_one_slot_along_and_is_forgotten_within_seconds(tmp_path: Path) -> None:
    jobs = [SharedJob(120), SharedJob(1000, killed=40)]
    passed = run_together(tmp_path, FixedWindows([(0, 60)], phase=17), jobs)
    alone = [at for at in jobs[0].accepted if at > 40 + 6]
    assert len(alone) >= 0.97 * (alone[-1] - alone[0])
    assert max(after - before for before, after in pairwise(passed)) < 2.1


@pytest.mark.parametrize(
    ("server", "share"),
    [(FixedWindows([(0, 60)], phase=17), 0.02), (TokenBucket([(0, 60)], 10), 0.12)],
)
def test_told_four_times_too_much_what_one_learns_all_have_learned(
    tmp_path: Path, server: Server, share: float
) -> None:
    jobs = [SharedJob(200, rpm=240) for _ in range(3)]
    passed = run_together(tmp_path, server, jobs)
    assert passed[-1] <= 1.06 * 600
    assert sum(len(job.refused) for job in jobs) <= share * 600
    ends = [job.accepted[-1] for job in jobs]
    assert min(ends) > 0.9 * max(ends)


def test_of_two_limits_that_were_told_the_lower_holds_and_is_said_once(tmp_path: Path) -> None:
    jobs = [SharedJob(120, rpm=120), SharedJob(60, rpm=60)]
    passed = run_together(tmp_path, FixedWindows([(0, 60)], phase=17), jobs)
    said = [text for text in jobs[0].told if "the lower holds" in text]
    assert said == ["limits.rpm is 60 in job 1, which runs beside, and 120 here: the lower holds"]
    assert not jobs[1].told
    beside = [at for at in passed if at < jobs[1].accepted[-1]]
    assert busiest_minute(beside) <= 62


def test_what_an_earlier_boot_of_the_machine_left_holds_nobody(tmp_path: Path) -> None:
    file = AccountFile(tmp_path / "accounts" / "a.sqlite")
    file.enter("one", folder=tmp_path, name="one", manifest="", at=90_000, now=0)
    file.pause("one", until=93_000, reset=93_000, at=90_000)
    slot = file.take("two", at=100, pace=1, late=0, spaced=False)
    file.close()
    assert (slot.at, slot.state.other_runs) == (100, 0)


async def test_a_slot_that_nobody_used_is_the_next_ones(tmp_path: Path) -> None:
    at = asyncio.get_running_loop().time()
    file = AccountFile(tmp_path / "accounts" / "a.sqlite")
    file.enter("one", folder=tmp_path, name="one", manifest="", at=at, now=0)
    first = file.take("two", at=at, pace=1, late=0, spaced=False)
    second = file.take("two", at=at, pace=1, late=0, spaced=False)
    file.give_back(second)
    assert file.take("two", at=at, pace=1, late=0, spaced=False).at == second.at == first.until
    assert file.state("two", at).calls == 2
    file.close()


HALF_AN_HOUR = 1800.0
"""The stamp of the 429 that another run gets."""


@dataclass
class Refused:
    """Two runs of one account. At second 0 the first one is refused for half an hour; the other one, `gate`,
    had no call until then, and hears of it when it asks for a slot."""

    folder: Path
    patience: float = 3600.0
    told: list[PacingEvent] = field(default_factory=list)
    gate: Pacing = field(init=False)

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        async def both() -> None:
            path = self.folder / "accounts" / "0123456789abcdef.sqlite"
            first, second = FileSlots(path, "first", 60.0), FileSlots(path, "second", 60.0)
            refused = Pacing(rpm=60, metered="all", now=wall, shared=first)
            self.gate = Pacing(
                rpm=60, metered="all", now=wall, patience=self.patience, tell=self.told.append, shared=second
            )
            self.gate.listen()
            refused.throttled(CallKind.SUBMIT, WALL + START + HALF_AN_HOUR, wall(), START)
            looking = asyncio.ensure_future(self._look(first, second))
            await with_gate(self.gate, story)
            looking.cancel()
            first.leave()
            second.leave()

        simulate(both())

    async def _look(self, *slots: FileSlots) -> None:
        while True:
            for one in slots:
                one.beat()
            await asyncio.sleep(1.0)
            self.gate.listen()

    async def call(self, kind: CallKind, deadline: float = math.inf) -> float:
        """The second at which it may go."""
        return await self.gate.acquire(kind, START + deadline) - START


def test_a_result_that_would_not_survive_another_runs_pause_goes_out_within_it(tmp_path: Path) -> None:
    runs = Refused(tmp_path)

    async def story() -> None:
        status = asyncio.ensure_future(runs.call(CallKind.STATUS, 600))
        await asyncio.sleep(5)
        assert await runs.call(CallKind.RESULT, 300) == pytest.approx(5, abs=0.1)
        assert not status.done()
        assert await status == pytest.approx(HALF_AN_HOUR, abs=1.1)

    runs.run(story)


def test_another_runs_pause_is_waited_for_no_longer_than_the_user_does(tmp_path: Path) -> None:
    runs = Refused(tmp_path, patience=60)

    async def story() -> None:
        call = asyncio.ensure_future(runs.call(CallKind.SUBMIT))
        await asyncio.sleep(1)
        (event,) = [event for event in runs.told if event.what == "exhausted"]
        assert event.text == "the API's limit is used up until 2026-01-05 12:46 UTC: run again then"
        assert await call == pytest.approx(60, abs=1.1)
        assert await runs.call(CallKind.SUBMIT) == pytest.approx(61, abs=1.1)
        assert len([event for event in runs.told if event.what == "exhausted"]) == 1

    runs.run(story)


def test_a_run_that_has_no_call_is_not_stopped_by_another_ones_pause(tmp_path: Path) -> None:
    runs = Refused(tmp_path, patience=60)

    async def story() -> None:
        await asyncio.sleep(HALF_AN_HOUR)
        assert not [event for event in runs.told if event.what == "exhausted"]

    runs.run(story)


def test_a_stop_ends_the_wait_for_another_runs_pause_and_leaves_no_slot_taken(tmp_path: Path) -> None:
    runs = Refused(tmp_path)

    async def story() -> None:
        call = asyncio.ensure_future(runs.call(CallKind.SUBMIT))
        await asyncio.sleep(5)
        assert runs.gate.pause_left == pytest.approx(HALF_AN_HOUR - 5, abs=0.2)
        call.cancel()
        await asyncio.wait([call])
        # What is in flight is asked for meanwhile where it cannot wait.
        assert await runs.call(CallKind.RESULT, 100) == pytest.approx(5, abs=0.1)
        state = FileSlots(runs.folder / "accounts" / "0123456789abcdef.sqlite", "third", None).state()
        assert state.calls == 0

    runs.run(story)
