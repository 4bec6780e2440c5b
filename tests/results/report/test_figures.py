"""Paces, spending and lengths of time, counted from the rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.ledger import database
from batcher.ledger.ledger import Ledger
from batcher.results.report import figures
from batcher.results.report.figures import BARS, POINTS, SESSIONS, Figures, Lengths, lengths
from tests.support.bookkeeping import ACCEPTED, NOW, a_ledger, a_result


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> float:
        return self.at


def deliver(ledger: Ledger, clock: Clock, number: int, *, service: float = 2.0, delay: float = 1.0) -> None:
    """The next planned task, submitted now and in its place after `service` + `delay` seconds."""
    entry = ledger.next_planned(0, 1)[0]
    entry = ledger.submitting(entry, api="v2", reserved=10_000)
    entry = ledger.submitted(entry, ACCEPTED)
    clock.at += service + delay
    result = a_result(0.01, total_time=service)
    entry = ledger.ready(entry, result, [(output, None) for output in result.outputs])
    ledger.named(entry, 0, f"{number}.png", "ab" * 32)
    ledger.delivered(entry, 0, size=10, width=4, height=3)
    ledger.done(entry)


def of(path: Path) -> Figures:
    connection = database.open_for_reading(path)
    try:
        return figures.of_ledger(connection)
    finally:
        connection.close()


async def test_an_empty_ledger_has_no_figures(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "ledger.sqlite"):
        pass
    assert of(tmp_path / "ledger.sqlite") == Figures((), Lengths(), Lengths())


async def test_every_image_request_and_credit_is_in_a_session(tmp_path: Path) -> None:
    clock = Clock()
    with a_ledger(tmp_path / "ledger.sqlite", 30, now=clock) as ledger:
        for number in range(30):
            deliver(ledger, clock, number)
    (session,) = of(tmp_path / "ledger.sqlite").sessions
    assert (sum(session.delivered), sum(session.submitted)) == (30, 30)
    assert session.spent[-1] == pytest.approx(0.3)
    assert list(session.spent) == sorted(session.spent)
    assert len(session.delivered) == len(session.submitted) == len(session.spent) <= POINTS
    assert session.began <= NOW < session.began + session.step


async def test_a_long_pause_begins_another_session(tmp_path: Path) -> None:
    clock = Clock()
    with a_ledger(tmp_path / "ledger.sqlite", 6, now=clock) as ledger:
        for number in range(6):
            deliver(ledger, clock, number)
            if number == 3:
                clock.at += 86_400
    first, second = of(tmp_path / "ledger.sqlite").sessions
    assert (sum(first.delivered), sum(second.delivered)) == (4, 2)
    assert (first.spent[-1], second.spent[-1]) == (pytest.approx(0.04), pytest.approx(0.02))


async def test_only_the_latest_sessions_are_told_and_months_are_counted_coarsely(tmp_path: Path) -> None:
    clock = Clock()
    with a_ledger(tmp_path / "ledger.sqlite", SESSIONS + 3, now=clock) as ledger:
        for number in range(SESSIONS + 3):
            deliver(ledger, clock, number)
            clock.at += 7 * 86_400
    sessions = of(tmp_path / "ledger.sqlite").sessions
    assert len(sessions) == SESSIONS
    assert all(sum(session.delivered) == 1 and session.step >= 60 for session in sessions)


async def test_service_time_is_the_providers_and_delay_is_what_came_on_top(tmp_path: Path) -> None:
    clock = Clock()
    with a_ledger(tmp_path / "ledger.sqlite", 4, now=clock) as ledger:
        for number in range(4):
            deliver(ledger, clock, number, service=3.0, delay=0.5)
    found = of(tmp_path / "ledger.sqlite")
    assert (found.service.n, found.service.median) == (4, pytest.approx(3.0, abs=0.011))
    assert (found.delay.n, found.delay.median) == (4, pytest.approx(0.5, abs=0.011))


@given(st.dictionaries(st.integers(0, 400_000), st.integers(1, 1000), min_size=1, max_size=50))
def test_bars_hold_every_length_and_quantiles_are_in_order(counted: dict[int, int]) -> None:
    found = lengths(counted.items())
    assert sum(found.bars) == found.n == sum(counted.values())
    assert 1 <= len(found.bars) <= BARS
    assert 0 <= found.median <= found.p90 <= found.p99 <= found.longest
    if not found.open:
        assert found.longest <= found.width * len(found.bars)


def test_a_few_stragglers_do_not_flatten_the_rest() -> None:
    found = lengths({200: 500, 300: 499, 600_000: 1}.items())
    assert found.longest == 6000
    assert found.open
    assert found.width * len(found.bars) < 10
    assert found.bars[-1] >= 1
