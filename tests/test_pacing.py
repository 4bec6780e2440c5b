"""The call budget, judged by what a server sees: arrival times, 429s, and how long it all took.

The servers here are a few lines of arithmetic, so nothing real is waited for: the clock jumps at once.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import math
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal, Protocol, TypeVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.pacing import Kind, Pacing, PacingEvent, Rate, Skew, reset_stamp
from batcher.pacing.free import Free
from batcher.pacing.strays import Strays

T = TypeVar("T")
START = 1000.0
WALL = 1_767_614_400.0
"""What the wall clock shows at loop time 0."""


class SimulatedTime(asyncio.SelectorEventLoop):
    """Jumps to the next timer, and a nanosecond past it, as a real clock would: aiolimiter waits until its
    level is quite low enough, and asyncio runs timers early by up to a clock's resolution."""

    def __init__(self) -> None:
        self.now = START
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.DefaultSelector):
    def __init__(self, loop: SimulatedTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and (timeout > 0 or not self._loop._ready):
            self._loop.now += max(timeout, 0.0) + 1e-9
            timeout = 0
        return super().select(timeout)


def simulate(story: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=SimulatedTime) as runner:
        return runner.run(story)


def wall() -> float:
    return WALL + asyncio.get_running_loop().time()


async def with_gate(gate: Pacing, story: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.TaskGroup() as group:
        dispatcher = group.create_task(gate.run())
        result = await story()
        dispatcher.cancel()
    return result


# ---- servers that limit


class Server(Protocol):
    def admit(self, at: float) -> float | None:
        """None when it is accepted, else the time at which calls pass again (seconds since the start)."""


@dataclass
class Windows:
    """`plan`: (from second, calls a minute); windows begin `phase` seconds before the start and so on."""

    plan: list[tuple[float, float]]
    phase: float = 0.0
    used: int = 0
    length: float = 60.0
    _count: int = field(init=False, default=0)
    _present: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._count = self.used

    def admit(self, at: float) -> float | None:
        present = math.floor((at + self.phase) / self.length)
        if present != self._present:
            self._present, self._count = present, 0
        allowed = [rpm for since, rpm in self.plan if since <= at][-1] * self.length / 60
        if self._count + 1 > allowed + 1e-9:
            return (present + 1) * self.length - self.phase
        self._count += 1
        return None


@dataclass
class Bucket:
    plan: list[tuple[float, float]]
    capacity: float
    _level: float = field(init=False)
    _at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._level = self.capacity

    def admit(self, at: float) -> float | None:
        rate = [rpm for since, rpm in self.plan if since <= at][-1] / 60
        self._level = min(self.capacity, self._level + (at - self._at) * rate)
        self._at = at
        if self._level < 1 - 1e-9:
            return at + (1 - self._level) / rate
        self._level -= 1
        return None


@dataclass
class Seen:
    """Times in seconds since the start."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    events: list[PacingEvent] = field(default_factory=list)
    gate: Pacing = field(init=False)

    @property
    def makespan(self) -> float:
        return max(self.accepted)

    @property
    def throttled_share(self) -> float:
        return len(self.refused) / len(self.accepted)

    def per_minute(self, since: float, until: float) -> float:
        return sum(since <= at < until for at in self.accepted) / (until - since) * 60

    def ideal(self, per_minute: float) -> float:
        """What a client reaches that knows the rate, granted the calls that passed before the first 429."""
        first = min(self.refused, default=0.0)
        burst = sum(at <= first for at in self.accepted)
        resumed = min((at for at in self.accepted if at > first), default=0.0)
        return resumed + (len(self.accepted) - burst - 1) / per_minute * 60


def busiest_minute(times: list[float]) -> int:
    """The most that any half-open window of 60 s holds."""
    times = sorted(times)
    worst = oldest = 0
    for newest, at in enumerate(times):
        while times[oldest] <= at - 60:
            oldest += 1
        worst = max(worst, newest - oldest + 1)
    return worst


def run_submits(
    server: Server,
    tasks: int,
    *,
    told: float | None,
    latency: tuple[float, float] = (0.001, 0.005),
    learned: Mapping[str, Any] | None = None,
    clock_ahead: float = 0.0,
    tells_when_sent: bool = True,
) -> Seen:
    """All tasks at once, each until it is accepted; a call travels for half of `latency` each way."""
    chance = random.Random(42)
    seen = Seen()

    async def call(gate: Pacing) -> bool:
        loop = asyncio.get_running_loop()
        sent = await gate.turn(Kind.SUBMIT)
        await asyncio.sleep(chance.uniform(*latency) / 2)
        at = loop.time() - START
        reset = server.admit(at)
        (seen.accepted if reset is None else seen.refused).append(at)
        await asyncio.sleep(chance.uniform(*latency) / 2)
        if reset is None:
            gate.accepted(Kind.SUBMIT)
            return True
        stamp = WALL + START + reset - clock_ahead
        gate.throttled(Kind.SUBMIT, stamp, wall(), sent if tells_when_sent else None)
        return False

    async def task(gate: Pacing) -> None:
        while not await call(gate):
            pass

    async def story() -> None:
        seen.gate = gate = Pacing(rpm=told, now=wall, learned=learned, tell=seen.events.append)

        async def everything() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(tasks):
                    group.create_task(task(gate))

        await with_gate(gate, everything)

    simulate(story())
    return seen


# ---- the limit is kept, and used up


@pytest.mark.parametrize("phase", [0.0, 17.0, 59.9])
@pytest.mark.parametrize("latency", [(0.001, 0.005), (0.02, 0.1)])
def test_told_right_no_minute_holds_too_many_and_nothing_is_refused(
    phase: float, latency: tuple[float, float]
) -> None:
    seen = run_submits(Windows([(0, 60)], phase), 300, told=60, latency=latency)
    assert seen.refused == []
    assert busiest_minute(seen.accepted) <= 60
    assert seen.makespan <= 1.03 * 299 / 60 * 60


def test_told_right_twenty_a_second_are_used_up() -> None:
    for server in (Windows([(0, 1200)], length=1.0, phase=0.3), Bucket([(0, 1200)], 5)):
        seen = run_submits(server, 600, told=1200)
        assert seen.refused == []
        assert seen.makespan <= 1.01 * 599 / 20


def test_told_too_little_it_stays_there() -> None:
    seen = run_submits(Windows([(0, 600)]), 200, told=60)
    assert busiest_minute(seen.accepted) <= 60
    assert seen.gate.rate == 60


@pytest.mark.parametrize("phase", [0.0, 10.0, 30.0, 50.0])
def test_told_ten_times_too_much_fixed_windows_are_found_and_used_up(phase: float) -> None:
    seen = run_submits(Windows([(0, 60)], phase), 600, told=600)
    assert seen.throttled_share <= 0.015
    assert seen.makespan <= 1.05 * seen.ideal(60)
    assert 57 <= seen.per_minute(180, 480) <= 60


@pytest.mark.parametrize("capacity", [2.0, 10.0, 60.0])
def test_told_ten_times_too_much_a_bucket_is_found_and_used_up(capacity: float) -> None:
    seen = run_submits(Bucket([(0, 60)], capacity), 600, told=600)
    assert seen.throttled_share <= 0.03
    assert seen.makespan <= 1.10 * seen.ideal(60)


@pytest.mark.parametrize("capacity", [5.0, 20.0, 200.0])
def test_told_two_hundred_a_second_a_bucket_of_twenty_is_found(capacity: float) -> None:
    seen = run_submits(Bucket([(0, 1200)], capacity), 600, told=12000)
    assert seen.throttled_share <= 0.03
    assert seen.makespan <= 1.10 * seen.ideal(1200)


@pytest.mark.parametrize("capacity", [2, 5, 20])
@pytest.mark.parametrize("whole", [math.floor, math.ceil])
def test_stamps_of_whole_seconds_do_not_make_the_search_for_a_bucket_look_like_chance(
    capacity: float, whole: Callable[[float], int]
) -> None:
    class Coarse(Bucket):
        def admit(self, at: float) -> float | None:
            again = super().admit(at)
            return None if again is None else at + whole(again - at)

    seen = run_submits(Coarse([(0, 300)], capacity), 500, told=3000, latency=(0.02, 0.08))
    assert seen.throttled_share <= 0.035


def test_a_window_whose_429s_say_now_is_not_hammered() -> None:
    class Now(Windows):
        def admit(self, at: float) -> float | None:
            return None if super().admit(at) is None else at

    seen = run_submits(Now([(0, 150)]), 300, told=3000)
    assert len(seen.refused) <= 60
    assert seen.makespan <= 65


def test_a_free_account_told_the_default_rate_is_found() -> None:
    seen = run_submits(Windows([(0, 5)], 20), 100, told=60)
    assert len(seen.refused) <= 3
    assert seen.makespan <= 1.05 * seen.ideal(5)


@pytest.mark.parametrize("told", [60, 600])
def test_joining_a_window_that_an_earlier_run_used_up_does_not_lower_the_rate_for_long(told: float) -> None:
    seen = run_submits(Windows([(0, 60)], phase=30, used=55), 400, told=told)
    assert seen.per_minute(90, 390) >= 57
    assert seen.throttled_share <= 0.015


def test_a_limit_that_falls_in_mid_run_is_followed() -> None:
    seen = run_submits(Windows([(0, 60), (320, 30)], 17), 600, told=60)
    assert seen.per_minute(500, 900) >= 28
    assert seen.throttled_share <= 0.015


@pytest.mark.parametrize("windows", [True, False])
def test_a_limit_that_rises_again_is_found_by_gentle_probes(windows: bool) -> None:
    plan: list[tuple[float, float]] = [(0, 60), (320, 30), (920, 60)]
    seen = run_submits(Windows(plan, 17) if windows else Bucket(plan, 10), 1600, told=60)
    assert seen.gate.rate == 60
    assert len(seen.refused) <= 12
    assert seen.per_minute(seen.makespan - 240, seen.makespan) >= 58


def test_probing_a_limit_that_stays_costs_hardly_a_429() -> None:
    windows = run_submits(Windows([(0, 60)], 17), 3000, told=600)
    bucket = run_submits(Bucket([(0, 60)], 10), 3000, told=600)
    assert windows.throttled_share <= 0.004
    assert bucket.throttled_share <= 0.008
    assert windows.per_minute(300, 2700) >= 58.5
    assert bucket.per_minute(300, 2700) >= 58.5


@pytest.mark.parametrize("ahead", [-1.9, 1.9])
@pytest.mark.parametrize("tells_when_sent", [True, False])
def test_a_clock_that_is_two_seconds_off_costs_a_few_429s_and_no_more(
    ahead: float, tells_when_sent: bool
) -> None:
    for server in (Windows([(0, 60)], 17), Bucket([(0, 60)], 10)):
        seen = run_submits(server, 600, told=600, clock_ahead=ahead, tells_when_sent=tells_when_sent)
        assert seen.throttled_share <= 0.03
        assert seen.per_minute(180, 480) >= 56


def test_unpaced_until_a_429_teaches_a_rate() -> None:
    seen = run_submits(Windows([(0, 60)]), 200, told=None)
    assert seen.gate.rate is not None
    assert 57 <= seen.gate.rate <= 62
    assert simulate(_unpaced()) == START


async def _unpaced() -> float:
    gate = Pacing(rpm=None, now=wall)
    for _ in range(1000):
        await gate.turn(Kind.SUBMIT)
    return asyncio.get_running_loop().time()


def test_what_was_learned_serves_the_next_run() -> None:
    first = run_submits(Windows([(0, 60)], 17), 300, told=600)
    snapshot = json.loads(json.dumps(simulate(_snapshot(first.gate))))
    second = run_submits(Windows([(0, 60)], 40), 120, told=600, learned=snapshot)
    assert second.refused == []
    assert second.gate.rate is not None
    assert second.gate.rate <= 60


async def _snapshot(gate: Pacing) -> dict[str, Any]:
    return gate.snapshot()


@given(
    learned=st.dictionaries(
        st.sampled_from(["per_minute", "counted", "found_out", "at"]),
        st.none() | st.text() | st.floats() | st.integers() | st.booleans() | st.lists(st.integers()),
    )
)
def test_a_lesson_that_cannot_be_read_is_none(learned: dict[str, Any]) -> None:
    gate = Pacing(rpm=60, now=lambda: WALL, learned=learned)
    assert gate.rate is not None
    assert 0 < gate.rate <= 60


def test_an_old_lesson_is_forgotten_and_told_less_wins_over_it() -> None:
    lesson = {"per_minute": 30.0, "counted": "submits", "found_out": False, "at": WALL}
    assert Pacing(rpm=60, now=lambda: WALL, learned=lesson).rate == 30
    assert Pacing(rpm=20, now=lambda: WALL, learned=lesson).rate == 20
    assert Pacing(rpm=60, now=lambda: WALL + 8 * 86400, learned=lesson).rate == 60
    assert Pacing(rpm=60, now=lambda: WALL, metered="all", learned=lesson).rate == 60


@pytest.mark.parametrize("rpm", [0, -1, math.nan, math.inf])
def test_an_impossible_rate_is_refused(rpm: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Pacing(rpm=rpm, now=lambda: WALL)


def test_above_six_thousand_a_minute_ten_milliseconds_of_burst_at_most() -> None:
    async def story() -> list[float]:
        gate = Pacing(rpm=60_000, now=wall)
        return await with_gate(gate, lambda: asyncio.gather(*(gate.turn(Kind.SUBMIT) for _ in range(500))))

    times = simulate(story())
    for start in range(0, 500, 7):
        assert sum(times[start] <= at < times[start] + 0.1 for at in times) <= 111
    assert times[-1] - times[0] >= 0.48


def test_after_idle_time_there_is_no_burst() -> None:
    async def story() -> list[float]:
        gate = Pacing(rpm=60, now=wall)

        async def calls() -> list[float]:
            times = [await gate.turn(Kind.SUBMIT)]
            await asyncio.sleep(100)
            return times + list(await asyncio.gather(*(gate.turn(Kind.SUBMIT) for _ in range(5))))

        return await with_gate(gate, calls)

    times = simulate(story())
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] == pytest.approx(100)
    assert all(gap >= 1.0 for gap in gaps)


# ---- who goes first


def in_order(
    asked: list[tuple[Kind, float]],
    *,
    rpm: float = 60,
    metered: Any = "all",
    held: Callable[[int], bool] = lambda gone: False,
) -> list[int]:
    """The order in which calls that all wait get their turns."""

    async def story() -> list[int]:
        gate = Pacing(rpm=rpm, metered=metered, now=wall)
        order: list[int] = []
        gate.hold_submits_while(lambda: held(len(order)))

        async def one(number: int, kind: Kind, deadline: float) -> None:
            await gate.turn(kind, deadline)
            order.append(number)
            gate.look()

        async def everything() -> None:
            async with asyncio.TaskGroup() as group:
                for number, (kind, deadline) in enumerate(asked):
                    group.create_task(one(number, kind, deadline))

        await with_gate(gate, everything)
        return order

    return simulate(story())


SEVEN = [
    (Kind.SUBMIT, 1.0),
    (Kind.STATUS, WALL + 10_002),
    (Kind.RESULT, WALL + 10_009),
    (Kind.SYNC, 0.0),
    (Kind.RESULT, WALL + 10_001),
    (Kind.STATUS, WALL + 10_001),
    (Kind.SUBMIT, math.inf),
]


def test_results_by_deadline_then_statuses_by_theirs_in_turns_with_submits_as_they_came() -> None:
    assert in_order(SEVEN) == [4, 2, 5, 0, 3, 1, 6]


def test_while_the_expiry_guard_holds_submits_everything_else_goes_before_them() -> None:
    assert in_order(SEVEN, held=lambda gone: gone < 4) == [4, 2, 5, 1, 0, 3, 6]
    assert in_order(SEVEN, metered="submits", held=lambda gone: True)[-1] == 6, "free calls need no guard"


asked_at_once = st.lists(
    st.tuples(st.sampled_from([Kind.RESULT, Kind.STATUS, Kind.SUBMIT]), st.integers(0, 50))
)


@given(asked_at_once)
def test_everybody_who_waits_gets_one_turn_and_urgency_decides(asked: list[tuple[Kind, int]]) -> None:
    calls = [(kind, WALL + 1e6 + deadline) for kind, deadline in asked]
    expected = {
        kind: sorted(
            (n for n, call in enumerate(calls) if call[0] is kind),
            key=lambda n: (0 if kind is Kind.SUBMIT else calls[n][1], n),
        )
        for kind in (Kind.RESULT, Kind.STATUS, Kind.SUBMIT)
    }
    order = in_order(calls, rpm=6000)
    for kind, numbers in expected.items():
        assert [n for n in order if calls[n][0] is kind] == numbers
    others = order[len(expected[Kind.RESULT]) :]
    assert order[: len(expected[Kind.RESULT])] == expected[Kind.RESULT]
    statuses, submits = len(expected[Kind.STATUS]), len(expected[Kind.SUBMIT])
    turns = [Kind.STATUS, Kind.SUBMIT, Kind.SUBMIT] * min(statuses, submits // 2)
    assert [calls[n][0] for n in others[: len(turns)]] == turns, "two submits to a status, while both wait"


def test_nothing_starves_but_a_result_about_to_expire_goes_before_the_starving() -> None:
    safe = [(Kind.SUBMIT, math.inf), *[(Kind.RESULT, WALL + 1e6)] * 200]
    assert 55 <= in_order(safe).index(0) <= 65
    doomed = [(Kind.SUBMIT, math.inf), *[(Kind.RESULT, WALL + START + 100)] * 90]
    assert in_order(doomed).index(0) == 90


def test_unmetered_calls_do_not_wait_for_the_budget_and_metered_ones_do() -> None:
    async def story(metered: Any) -> float:
        gate = Pacing(rpm=60, metered=metered, now=wall)

        async def calls() -> float:
            for kind in (Kind.STATUS, Kind.RESULT, Kind.CREDITS, Kind.UPLOAD, Kind.HISTORY) * 4:
                await gate.turn(kind)
            return asyncio.get_running_loop().time() - START

        return await with_gate(gate, calls)

    assert simulate(story("submits")) == 0
    assert 0 < simulate(story("auto")) <= 12 / 8, "they may count after all: few are under way at once"
    assert simulate(story("all")) == pytest.approx(11, rel=0.01), "uploads and history go to other hosts"


# ---- pauses


def test_a_stamped_429_pauses_every_call_to_the_api_and_the_restart_is_no_herd() -> None:
    async def story() -> tuple[list[float], list[float], float]:
        gate = Pacing(rpm=600, metered="submits", now=wall)

        async def calls() -> tuple[list[float], list[float], float]:
            sent = await gate.turn(Kind.SUBMIT)
            for _ in range(3):
                gate.throttled(Kind.SUBMIT, wall() + 30, wall(), sent)
            upload = await gate.turn(Kind.UPLOAD)
            submits = asyncio.gather(*(gate.turn(Kind.SUBMIT) for _ in range(20)))
            statuses = asyncio.gather(*(gate.turn(Kind.STATUS) for _ in range(1000)))
            return await submits, await statuses, upload

        result = await with_gate(gate, calls)
        assert gate.statistics().resets == 1
        assert gate.statistics().throttled == 3
        return result

    submits, statuses, upload = simulate(story())
    assert upload == START
    assert min(submits) >= START + 30
    assert min(statuses) >= START + 30
    assert all(b - a >= 0.0999 for a, b in itertools.pairwise(submits))
    assert max(sum(at <= other < at + 0.1 for other in statuses) for at in statuses[::50]) <= 60
    assert max(statuses) <= START + 33


def test_a_pause_lasts_two_minutes_at_most_whatever_the_stamp_says() -> None:
    async def story() -> tuple[float, float | None]:
        gate = Pacing(rpm=60, now=wall)

        async def calls() -> float:
            sent = await gate.turn(Kind.SUBMIT)
            gate.throttled(Kind.SUBMIT, wall() + 1e9, wall(), sent)
            return await gate.turn(Kind.SUBMIT)

        return await with_gate(gate, calls), gate.rate

    at, rate = simulate(story())
    assert at == pytest.approx(START + 120)
    assert rate == 60


def test_an_unstamped_429_pauses_nobody_and_teaches_nothing() -> None:
    async def story() -> float:
        gate = Pacing(rpm=600, now=wall)

        async def calls() -> float:
            for kind in (Kind.SUBMIT, Kind.STATUS, Kind.RESULT):
                gate.throttled(kind, None, wall(), await gate.turn(kind))
            return await gate.turn(Kind.SUBMIT)

        at = await with_gate(gate, calls)
        assert (gate.rate, gate.metered, gate.statistics().throttled) == (600, "submits", 3)
        return at

    assert simulate(story()) <= START + 0.2


def test_a_result_that_would_not_survive_the_pause_goes_out_within_it() -> None:
    async def story() -> tuple[float, float]:
        gate = Pacing(rpm=60, metered="all", now=wall)

        async def calls() -> tuple[float, float]:
            gate.throttled(Kind.SUBMIT, wall() + 100, wall(), await gate.turn(Kind.SUBMIT))
            safe = asyncio.ensure_future(gate.turn(Kind.RESULT, wall() + 1000))
            return await gate.turn(Kind.RESULT, wall() + 50), await safe

        return await with_gate(gate, calls)

    doomed, safe = simulate(story())
    assert doomed <= START + 2
    assert safe >= START + 100


# ---- 429s that no limit explains


def test_lessons_that_refute_each_other_are_forgotten_until_resets_agree_or_all_is_quiet() -> None:
    strays = Strays(10.0)
    assert [strays.refute(rate, before) for rate, before in ((5, 10), (2.5, 5), (1.2, 2.5))] == [
        False,
        False,
        True,
    ]
    assert (strays.suspected, strays.held) == (True, 10.0)
    assert [strays.agree(rate) for rate in (3.0, 1.0, 2.0, 2.1, 2.05, 1.98)][-2:] == [False, True]
    assert not strays.suspected
    for rate, before in ((5, 10), (4.9, 5), (2, 4.9), (1.9, 2)):
        assert not strays.refute(rate, before), "a limit that fell, told twice"
    strays.quiet(1.9, 300.0)
    assert strays.held == 1.9


# ---- which calls count


def test_a_stamped_429_on_a_status_call_proves_that_all_count_told_once_and_the_told_rate_returns() -> None:
    events: list[PacingEvent] = []

    async def story() -> None:
        gate = Pacing(rpm=60, now=wall, tell=events.append)

        async def calls() -> None:
            for _ in range(3):
                sent = await gate.turn(Kind.SUBMIT)
            gate.throttled(Kind.SUBMIT, wall() + 20, wall(), sent)
            await gate.turn(Kind.SUBMIT)
            assert gate.rate is not None
            assert gate.rate < 60
            sent = await gate.turn(Kind.STATUS)
            for _ in range(2):
                gate.throttled(Kind.STATUS, wall() + 10, wall(), sent)
            assert (gate.metered, gate.rate) == ("all", 60)
            waiting = asyncio.gather(*(gate.turn(Kind.STATUS) for _ in range(5)), gate.turn(Kind.SUBMIT))
            await asyncio.sleep(0)
            assert gate.scarce
            times = sorted(await waiting)
            assert all(b - a >= 1.0 for a, b in itertools.pairwise(times))
            assert not gate.scarce

        await with_gate(gate, calls)
        assert gate.snapshot()["found_out"] is True
        assert Pacing(rpm=60, now=wall, learned=gate.snapshot()).metered == "all"

    simulate(story())
    assert [event.what for event in events].count("metered") == 1


def test_what_the_user_said_about_metering_is_not_overruled() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, metered="submits", now=wall)
        gate.throttled(Kind.STATUS, wall() + 10, wall(), await gate.turn(Kind.STATUS))
        assert (gate.metered, gate.rate) == ("submits", 60)

    simulate(story())


def test_where_all_calls_count_the_whole_limit_is_used_once_that_is_known() -> None:
    server, seen = Windows([(0, 60)], 20), Seen()

    async def call(gate: Pacing, kind: Kind) -> None:
        while True:
            sent = await gate.turn(kind)
            at = asyncio.get_running_loop().time() - START
            reset = server.admit(at)
            (seen.accepted if reset is None else seen.refused).append(at)
            await asyncio.sleep(0.01)
            if reset is None:
                return gate.accepted(kind)
            gate.throttled(kind, WALL + START + reset, wall(), sent)

    async def task(gate: Pacing) -> None:
        await call(gate, Kind.SUBMIT)
        for kind in (Kind.STATUS, Kind.RESULT):
            await asyncio.sleep(15)
            await call(gate, kind)

    async def story() -> Pacing:
        gate = Pacing(rpm=60, now=wall)

        async def everything() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(200):
                    group.create_task(task(gate))

        await with_gate(gate, everything)
        return gate

    assert simulate(story()).metered == "all"
    assert len(seen.refused) <= 10
    assert seen.makespan <= 1.08 * 600


@given(
    limits=st.sampled_from([Windows([(0, 60)], 17), Windows([(0, 60)]), Bucket([(0, 60)], 60)]),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=600),
)
def test_an_account_that_counts_every_call_never_seems_to_let_them_pass_free(
    limits: Windows | Bucket, gaps: list[float]
) -> None:
    server, free, at = copy.deepcopy(limits), Free(), 0.0
    for gap in gaps:
        at += gap
        if server.admit(at) is None:
            free.passed(at, 1.0)
        assert not free.proved


def test_calls_that_do_not_count_prove_it_by_their_number_until_the_next_429() -> None:
    free = Free()
    for call in range(121):
        assert not free.proved
        free.passed(call / 10, 1.0)
    assert free.proved
    free.refused()
    assert not free.proved
    free.passed(13.0, 1.0)
    assert not free.proved


def test_calls_that_proved_to_be_free_need_no_caution() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, now=wall)

        async def calls() -> None:
            times = []
            for _ in range(140):
                times.append(await gate.turn(Kind.STATUS))
                gate.accepted(Kind.STATUS)
            assert times[100] - times[0] == pytest.approx(100 / 8, rel=0.05), (
                "eight times the rate until then"
            )
            assert gate.free
            assert times[139] == times[130]

        await with_gate(gate, calls)

    simulate(story())


@pytest.mark.parametrize(
    ("rpm", "metered", "free"),
    [
        (60, "submits", True),
        (None, "auto", True),
        (60, "auto", False),
        (60, "all", False),
        (None, "all", False),
    ],
)
def test_calls_are_known_to_be_free_where_it_was_said_or_nothing_is_limited(
    rpm: float | None, metered: Literal["submits", "all", "auto"], free: bool
) -> None:
    assert Pacing(rpm=rpm, metered=metered, now=lambda: WALL).free is free


# ---- what it leaves behind


def test_cancelled_waiters_are_skipped_and_leave_nothing_behind() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, now=wall)

        async def calls() -> None:
            waiting = [asyncio.ensure_future(gate.turn(Kind.SUBMIT)) for _ in range(100)]
            await asyncio.sleep(2.5)
            for future in waiting[3:99]:
                future.cancel()
            await asyncio.sleep(0)
            assert gate.waiting == {Kind.SUBMIT: 1}
            assert await waiting[99] <= START + 3.1
            statistics = gate.statistics()
            assert statistics.waiting == {}
            assert statistics.granted == {Kind.SUBMIT: 4}

        await with_gate(gate, calls)

    simulate(story())


def test_a_turn_that_comes_at_the_moment_of_cancelling_is_given_back() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, now=wall)
        dispatcher = asyncio.ensure_future(gate.run())
        waiting = asyncio.ensure_future(gate.turn(Kind.SUBMIT))
        while not gate.statistics().granted.get(Kind.SUBMIT):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        assert gate.statistics().granted == {Kind.SUBMIT: 0}
        dispatcher.cancel()
        await asyncio.gather(dispatcher, return_exceptions=True)

    simulate(story())


def test_it_can_be_read_at_three_in_the_morning() -> None:
    async def story() -> None:
        gate = Pacing(rpm=60, now=wall)
        waiting = asyncio.ensure_future(gate.turn(Kind.SUBMIT))
        await asyncio.sleep(0)
        assert repr(gate) == "<Pacing <Rate 60 of 60 a minute>, metered submits, waiting 1 submit, 0 429s>"
        assert gate.reason == "at the limit of 60 submits a minute"
        gate.throttled(Kind.SUBMIT, wall() + 5, wall())
        assert "1 submit, paused, 1 429s" in repr(gate)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    simulate(story())


# ---- the rate alone


@given(
    told=st.floats(0.01, 1000),
    steps=st.lists(
        st.tuples(st.sampled_from(["sent", "refused", "reset"]), st.floats(0.001, 200)), max_size=200
    ),
)
def test_the_rate_stays_between_nothing_and_what_was_told(
    told: float, steps: list[tuple[str, float]]
) -> None:
    rate, at = Rate(told), 0.0
    for what, seconds in steps:
        at += seconds
        before = rate.per_second
        if what == "sent":
            rate.sent(at)
        elif what == "refused":
            rate.refused(at)
        else:
            rate.reset(at)
            assert rate.per_second <= before
        assert 0 < rate.per_second <= told
        assert 0 < rate.proved <= rate.per_second


def test_two_resets_tell_the_rate() -> None:
    rate = Rate(10.0)
    rate.sent(0.0)
    rate.reset(25.0)
    assert rate.per_second == 5.0, "the first alone does not"
    for call in range(30):
        rate.sent(25.0 + call / 5)
    rate.reset(85.0)
    assert 0.98 * 30 / 60 <= rate.per_second < 30 / 60


def test_a_429_that_the_count_does_not_explain_lowers_the_rate_a_little() -> None:
    rate = Rate(1.0, learned=0.5)
    rate.reset(0.0)
    for call in range(100):
        rate.sent(call * 2.0)
    rate.reset(150.0)
    assert rate.per_second == pytest.approx(0.495)


# ---- what the headers say

NOW = 1_767_614_400.0
RESET = "x-rate-limit-reset-at-utc"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({RESET: "2026-01-05T12:00:30Z"}, 30),
        ({RESET: "2026-01-05T12:00:30.250Z"}, 30.25),
        ({RESET: "2026-01-05 12:00:30 UTC"}, 30),
        ({RESET: "2026-01-05T12:00:30.123456789Z"}, 30.123456),
        ({RESET: "2026-01-05T12:00:30"}, 30),
        ({RESET: "2026-01-05 12:00:30"}, 30),
        ({RESET: "2026-01-05T13:00:30+01:00"}, 30),
        ({RESET.upper(): " 2026-01-05T12:00:30+00:00 "}, 30),
        ({RESET: "1767614430"}, 30),
        ({RESET: "1767614430.5"}, 30.5),
        ({RESET: "1767614430250"}, 30.25),
        ({RESET: "30"}, 30),
        ({RESET: "Mon, 05 Jan 2026 12:00:30 GMT"}, 30),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "7.5"}, 7.5),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "Mon, 05 Jan 2026 12:00:09 GMT"}, 9),
        ({RESET: "soon", "Retry-After": "7"}, 7),
        ({RESET: "2026-01-05T12:00:30Z", "Retry-After": "7"}, 30),
    ],
)
def test_a_stamp_is_read_in_every_form(headers: dict[str, str], seconds: float) -> None:
    stamp = reset_stamp(headers, NOW, Skew())
    assert stamp is not None
    assert stamp - NOW == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "nan", "inf", "-inf", "1e999", "2026-13-45", "Mon, 99 Foo", "\0"]
)
def test_what_is_no_stamp_is_none(text: str) -> None:
    assert reset_stamp({RESET: text, "Retry-After": text}, NOW, Skew()) is None
    assert reset_stamp({}, NOW, Skew()) is None


@given(st.text(), st.text())
def test_no_header_raises(reset: str, after: str) -> None:
    skew = Skew()
    skew.observe({"Date": reset}, NOW)
    stamp = reset_stamp({RESET: reset, "Retry-After": after}, NOW, skew)
    assert stamp is None or math.isfinite(stamp)


@given(moment=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)))
def test_iso_and_epoch_mean_the_same_moment(moment: datetime) -> None:
    iso = reset_stamp({RESET: moment.isoformat()}, NOW, Skew())
    epoch = reset_stamp({RESET: repr(moment.timestamp())}, NOW, Skew())
    assert iso is not None
    assert iso == pytest.approx(epoch, abs=1e-3)


@given(
    ahead=st.floats(-3600, 3600),
    answers=st.lists(st.tuples(st.floats(0, 0.999), st.floats(0, 0.4)), min_size=20, max_size=60),
)
def test_skew_is_corrected_beyond_two_seconds_only(ahead: float, answers: list[tuple[float, float]]) -> None:
    skew = Skew()
    for number, (fraction, travelled) in enumerate(answers):
        server = NOW + number + fraction
        date = format_datetime(datetime.fromtimestamp(math.floor(server), UTC), usegmt=True)
        skew.observe({"date": date}, server - ahead + travelled)
    if abs(ahead) <= 0.6:
        assert skew.seconds == 0
    elif abs(ahead) >= 3.5:
        assert abs(skew.seconds - ahead) <= 1.5
        assert skew.ours(NOW) == NOW - skew.seconds
    assert skew.seconds == 0 or abs(skew.seconds) > 2


def test_a_moment_is_corrected_by_the_skew_and_a_delay_is_not() -> None:
    skew = Skew()
    skew.observe({"Date": "Mon, 05 Jan 2026 12:01:00 GMT"}, NOW)
    assert skew.seconds == 60
    assert reset_stamp({RESET: "2026-01-05T12:01:30Z"}, NOW, skew) == NOW + 30
    assert reset_stamp({"Retry-After": "7"}, NOW, skew) == NOW + 7


async def test_a_hundred_waiters_cancelled_at_once_leave_the_gate_as_it_was() -> None:
    """A stop cancels all who wait: their futures are all cancelled before the first of them withdraws."""
    gate = Pacing(rpm=60, now=lambda: 0.0)
    async with anyio.create_task_group() as group:
        group.start_soon(gate.run)
        with anyio.move_on_after(0.5):
            async with anyio.create_task_group() as waiting:
                for _ in range(100):
                    waiting.start_soon(gate.turn, Kind.SUBMIT)
        assert sum(gate.waiting.values()) == 0
        with anyio.fail_after(5):
            await gate.turn(Kind.SUBMIT)
        group.cancel_scope.cancel()
