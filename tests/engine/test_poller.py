"""The poller at work, in simulated time: polls and delay of whole runs, and when it wakes whom."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from batcher.api.pacing import CallKind, Pacing
from batcher.api.polling import EAGER, SCOUTS, PollTiming
from batcher.api.polling.poll_timing import COLD_START_POLLS
from batcher.engine import poller as poller_module
from batcher.engine.admission import InFlightLimit
from batcher.engine.poll_cost import PollCost
from batcher.engine.poller import LAST_JOBS, LONGEST_WAIT, RESCHEDULE_INTERVAL, PendingJob, Poller
from batcher.task import State
from tests.support.pacing import simulate, wall, with_gate

Service = Callable[[random.Random, int], float]


def lognormal(median: float, sigma: float) -> Service:
    return lambda draw, _: median * math.exp(draw.gauss(0, sigma))


@dataclass
class Run:
    """A run without a network: tasks start as places and `rate` (per second) allow, and calls cost nothing.

    `metrics`: the provider says how long a job took; `workers`: so many jobs are worked on at a time.
    """

    polling: PollTiming
    service: Service
    tasks: int = 300
    in_flight: int = 64
    rate: float = math.inf
    seed: int = 0
    metrics: bool = True
    workers: int | None = None
    polls: list[int] = field(default_factory=list)
    """Of each task, in the order of their completion being noticed, like `delays` (seconds)."""
    delays: list[float] = field(default_factory=list)
    makespan: float = 0.0

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._busy = [0.0] * (self.workers or 0)
        simulate(self._run())
        assert len(self.delays) == self.tasks

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = last_submit = loop.time()
        self._busy = [began for _ in self._busy]
        poller = Poller(self.polling, price=lambda: 0.0, free_for_good=lambda: False, now=loop.time)
        places = asyncio.Semaphore(self.in_flight)
        async with anyio.create_task_group() as beside:
            beside.start_soon(poller.run)
            async with anyio.create_task_group() as jobs:
                for number in range(self.tasks):
                    await places.acquire()
                    await anyio.sleep(max(0.0, last_submit + 1 / self.rate - loop.time()))
                    last_submit = loop.time()
                    jobs.start_soon(self._job, poller, number, places)
            beside.cancel_scope.cancel()
        self.makespan = loop.time() - began

    async def _job(self, poller: Poller, number: int, places: asyncio.Semaphore) -> None:
        now = asyncio.get_running_loop().time
        submitted = now()
        starts = max(submitted, heapq.heappop(self._busy)) if self._busy else submitted
        ends = starts + self.service(self._draw, number)
        if self.workers:
            heapq.heappush(self._busy, ends)
        with poller.track(submitted) as job:
            await job.until_due(math.inf)
            while now() < ends:
                job.still_running(now() - submitted)
                await job.until_due(math.inf)
        self.polls.append(job.polls + 1)
        self.delays.append(now() - ends)
        poller.learned(ends - submitted if self.metrics else job.estimate(now() - submitted))
        places.release()


def of(runs: list[Run]) -> tuple[float, float]:
    """Polls per task and mean delay over several runs."""
    return (
        statistics.fmean(statistics.fmean(run.polls) for run in runs),
        statistics.fmean(statistics.fmean(run.delays) for run in runs),
    )


# --- polls and delay of whole runs


@pytest.mark.parametrize(
    ("in_flight", "rate", "most"), [(64, math.inf, 3.5), (300, math.inf, 4.2), (64, 20.0, 3.5)]
)
def test_from_a_cold_start_three_and_a_half_polls_keep_the_wanted_half_second(
    in_flight: int, rate: float, most: float
) -> None:
    """Where all begin at once, none of them learns from another's end: that takes a few more."""
    runs = [
        Run(PollTiming(delay=0.5), lognormal(5, 0.3), in_flight=in_flight, rate=rate, seed=seed)
        for seed in range(2)
    ]
    polls, delay = of(runs)
    assert polls <= most
    assert delay <= 0.55


@pytest.mark.parametrize("typical", [0.5, 1.5, 15.0, 50.0])
def test_a_wrong_first_guess_costs_little(typical: float) -> None:
    run = Run(PollTiming(delay=0.5, typical=typical), lognormal(5, 0.3), rate=20)
    polls, delay = of([run])
    assert polls <= 3.6
    assert delay <= 0.75


def test_a_wide_spread_in_two_hundred_places_is_kept_busy_at_six_polls() -> None:
    run = Run(PollTiming(delay=0.22), lognormal(3, 0.5), tasks=2000, in_flight=200)
    draw, places = random.Random(0), [0.0] * 200
    for _ in range(2000):
        heapq.heappush(places, heapq.heappop(places) + 3 * math.exp(draw.gauss(0, 0.5)))
    assert of([run])[0] <= 6
    assert run.makespan <= 1.08 * max(places)


@pytest.mark.parametrize(("before", "after"), [(5.0, 15.0), (15.0, 5.0), (5.0, 6.5)])
def test_a_step_in_the_service_time_is_followed_within_a_few_dozen_tasks(before: float, after: float) -> None:
    def service(draw: random.Random, task: int) -> float:
        return (before if task < 200 else after) * math.exp(draw.gauss(0, 0.3))

    run = Run(PollTiming(delay=0.5), service, tasks=400, in_flight=32, rate=20)
    assert statistics.fmean(run.delays) <= 0.65
    assert statistics.fmean(run.delays[260:]) <= 0.6
    assert statistics.fmean(run.polls[300:]) <= {5.0: 3.6, 6.5: 4.3, 15.0: 10}[after]


def test_a_slow_drift_is_followed() -> None:
    run = Run(PollTiming(delay=0.5), lambda draw, i: (3 + i / 60) * math.exp(draw.gauss(0, 0.2)), 500, 32, 20)
    polls, delay = of([run])
    assert polls <= 4.2
    assert delay <= 0.5


@pytest.mark.parametrize("cached", [0.1, 0.5, 0.9])
def test_cached_and_cold_jobs_are_told_apart(cached: float) -> None:
    def service(draw: random.Random, _: int) -> float:
        return (0.5 if draw.random() < cached else 15) * math.exp(draw.gauss(0, 0.15))

    run = Run(PollTiming(delay=1), service, tasks=500, in_flight=32, rate=20)
    polls, delay = of([run])
    assert polls <= 3.6
    assert delay <= 1.0


def test_odd_jobs_do_not_move_the_rest() -> None:
    def service(draw: random.Random, _: int) -> float:
        return 5 * math.exp(draw.gauss(0, 0.3)) * (10 if draw.random() < 0.03 else 1)

    run = Run(PollTiming(delay=0.5), service, tasks=500, in_flight=32, rate=20)
    polls, delay = of([run])
    assert polls <= 4.3
    assert delay <= 0.65


def test_a_queue_that_builds_up_is_followed() -> None:
    run = Run(PollTiming(delay=1), lognormal(5, 0.3), tasks=500, in_flight=400, rate=2.2, workers=10)
    polls, delay = of([run])
    assert polls <= 7
    assert delay <= 1.0


def test_answers_that_are_there_at_once_take_one_poll() -> None:
    run = Run(PollTiming(delay=1), lambda _draw, _i: 0.0, in_flight=32, rate=20)
    assert of([run])[0] == 1
    assert statistics.fmean(run.delays[50:]) <= 1.0


def test_jobs_of_minutes_are_not_asked_hundreds_of_times() -> None:
    run = Run(PollTiming(delay=0.5), lognormal(300, 0.3), tasks=150, in_flight=32)
    polls, delay = of([run])
    assert polls <= 45
    assert statistics.fmean(run.polls[64:]) <= 35, "without those that began when five seconds were the guess"
    assert delay <= 6  # 1 % of a job's time is the finest that is aimed at


@pytest.mark.parametrize(("median", "tasks"), [(0.5, 500), (5.0, 6000)])
def test_without_metrics_the_wanted_delay_does_not_run_away(median: float, tasks: int) -> None:
    run = Run(PollTiming(delay=0.5), lognormal(median, 0.3), tasks, in_flight=16, rate=20, metrics=False)
    for start in range(0, tasks, 500):
        assert statistics.fmean(run.delays[start : start + 500]) < 0.8
    assert statistics.fmean(run.polls) <= 4


def test_where_every_call_counts_a_task_takes_little_more_than_one_poll() -> None:
    """The price feeds back: the more calls wait at the gate, the dearer, and the fewer, status calls are."""
    tasks, rate = 200, 1.0
    draw, granted = random.Random(0), Counter[CallKind]()
    counts = Counter({State.PLANNED: tasks})
    limit = InFlightLimit(life=3600, most=64)

    async def story() -> float:
        gate = Pacing(rpm=60 * rate, metered="all", now=wall)
        return await with_gate(gate, lambda: run(gate))

    async def run(gate: Pacing) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        polling = PollTiming()
        price = PollCost(SimpleNamespace(counts=counts), gate, polling, limit)  # type: ignore[arg-type]
        poller = Poller(polling, price=price.seconds, free_for_good=price.is_free_for_good, now=wall)
        places = asyncio.Semaphore(64)

        async def call(kind: CallKind) -> None:
            await gate.acquire(kind)
            granted[kind] += 1

        async def task() -> None:
            async with places:
                await call(CallKind.SUBMIT)
                counts[State.PLANNED] -= 1
                submitted, took = wall(), 15 * math.exp(draw.gauss(0, 0.3))
                with poller.track(submitted) as job:
                    while True:
                        await job.until_due(math.inf)
                        await call(CallKind.STATUS)
                        if wall() >= submitted + took:
                            break
                        job.still_running(wall() - submitted)
                await call(CallKind.RESULT)
                poller.learned(took)

        async with anyio.create_task_group() as beside:
            beside.start_soon(poller.run)
            async with anyio.create_task_group() as all_tasks:
                for _ in range(tasks):
                    all_tasks.start_soon(task)
            beside.cancel_scope.cancel()
        return loop.time() - began

    makespan = simulate(story())
    assert (granted[CallKind.SUBMIT], granted[CallKind.RESULT]) == (tasks, tasks)
    assert granted.total() / tasks <= 3.15
    assert makespan <= 1.08 * 3 * tasks / rate


# --- who is woken when


class Watched:
    """A poller with jobs that never end: `asked` has the age of each at each poll."""

    def __init__(self, polling: PollTiming, *, price: float = 0.0, free_for_good: bool = False) -> None:
        self.price = price
        self.asked: list[list[float]] = []
        self.poller = Poller(
            polling,
            price=lambda: self.price,
            free_for_good=lambda: free_for_good,
            now=lambda: asyncio.get_running_loop().time(),
        )

    async def job(self, latest: float = math.inf) -> None:
        """Submitted now, and asked about for ever; once by `latest` (age)."""
        now = asyncio.get_running_loop().time
        submitted, ages = now(), list[float]()
        self.asked.append(ages)
        with self.poller.track(submitted) as job:
            while True:
                await job.until_due(submitted + latest if not ages else math.inf)
                ages.append(round(now() - submitted, 3))
                job.still_running(now() - submitted)

    def watch(self, seconds: float, *stories: Callable[[], Any]) -> list[list[float]]:
        """Runs these side by side for so long."""

        async def run() -> None:
            with anyio.move_on_after(seconds):
                async with anyio.create_task_group() as group:
                    group.start_soon(self.poller.run)
                    for story in stories:
                        group.start_soon(story)

        simulate(run())
        return self.asked


def known(seconds: float, *, delay: float = 0.5) -> PollTiming:
    return PollTiming.restore({"seconds": [seconds * (1 + n / 100) for n in range(-9, 10)]}, delay=delay)


def test_where_nothing_is_known_the_oldest_job_alone_is_looked_at_early_twice() -> None:
    watched = Watched(PollTiming(typical=60))
    oldest, other = watched.watch(100, watched.job, watched.job)
    assert oldest[:2] == pytest.approx(COLD_START_POLLS, abs=0.01)
    assert oldest[2] > 5
    assert other[0] > 5


@pytest.mark.parametrize("polling", [known(60), PollTiming(every=20)])
def test_what_is_known_or_told_is_not_looked_at_early(polling: PollTiming) -> None:
    watched = Watched(polling)
    (ages,) = watched.watch(100, watched.job)
    assert ages[0] >= 20


def test_a_fixed_interval_is_kept() -> None:
    watched = Watched(PollTiming(every=2))
    (ages,) = watched.watch(9, watched.job)
    assert ages == pytest.approx([2, 4, 6, 8], abs=0.01)


def test_from_a_cold_start_only_the_oldest_few_ask_and_stay_the_same_ones() -> None:
    watched = Watched(PollTiming(typical=5))
    asked = watched.watch(60, *[watched.job] * (SCOUTS + 3))
    assert all(asked[:SCOUTS])
    assert asked[SCOUTS:] == [[]] * 3


def test_what_one_job_teaches_reaches_all_who_sleep_at_once() -> None:
    watched = Watched(PollTiming(typical=600))

    async def teach() -> None:
        await anyio.sleep(10)
        for _ in range(20):
            watched.poller.learned(2.0)

    asked = watched.watch(10 + 2 * RESCHEDULE_INTERVAL, *[watched.job] * (SCOUTS + 3), teach)
    assert all(10 <= ages[-1] <= 10 + 2 * RESCHEDULE_INTERVAL for ages in asked)


def test_many_lessons_at_once_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, looks = Watched(known(600)), list[float]()
    look = poller_module.Poller._wake_due

    def counted(self: Poller) -> float:
        looks.append(asyncio.get_running_loop().time())
        return look(self)

    monkeypatch.setattr(poller_module.Poller, "_wake_due", counted)

    async def teach() -> None:
        await anyio.sleep(1)
        for _ in range(100):
            watched.poller.learned(600.0)

    watched.watch(1 + 2 * RESCHEDULE_INTERVAL, watched.job, teach)
    assert len(looks) <= 4


@pytest.mark.parametrize(
    ("jobs", "free_for_good", "eager"),
    [(LAST_JOBS, True, True), (LAST_JOBS + 1, True, False), (LAST_JOBS, False, False)],
)
def test_the_last_jobs_of_a_run_are_asked_about_eagerly_where_that_costs_nobody_a_call(
    jobs: int, free_for_good: bool, eager: bool
) -> None:
    """From the first poll on, which comes when it always does."""
    watched = Watched(known(10, delay=2.0), free_for_good=free_for_good)
    for ages in watched.watch(20, *[watched.job] * jobs):
        assert ages[0] > 5
        assert (ages[1] - ages[0] <= EAGER * 2.0 + 0.01) is eager


def test_a_dear_call_is_put_off_and_a_price_that_falls_is_noticed_while_all_sleep() -> None:
    cheap, dear, falling = (Watched(known(10), price=price) for price in (0.0, 300.0, 300.0))

    async def fall() -> None:
        await anyio.sleep(15)
        falling.price = 0.0

    (soon,) = cheap.watch(20, cheap.job)
    (late,) = dear.watch(20, dear.job)
    (noticed,) = falling.watch(15 + LONGEST_WAIT + 0.1, falling.job, fall)
    assert len(soon) > 3
    assert len(late) <= 1
    assert 15 <= noticed[-1] <= 15 + LONGEST_WAIT + 0.01


def test_a_job_is_asked_about_by_its_latest_moment_whatever_was_learned() -> None:
    watched = Watched(known(600))

    async def job() -> None:
        await watched.job(latest=7.0)

    (ages,) = watched.watch(100, job)
    assert ages == pytest.approx([7.0], abs=0.01)


def test_who_is_in_flight_is_known_from_submission_to_end() -> None:
    watched = Watched(known(5))

    async def story() -> None:
        poller = watched.poller
        with poller.track(100.0), poller.track(90.0):
            assert list(poller.submission_times) == [100.0, 90.0]
        assert list(poller.submission_times) == []

    watched.watch(1, story)


def test_a_time_that_nobody_told_is_the_middle_of_the_last_interval() -> None:
    job = PendingJob(Watched(PollTiming()).poller, submitted_at=0.0)
    assert job.estimate(2.0) == 1.0
    job.still_running(4.0)
    assert job.estimate(6.0) == 5.0
