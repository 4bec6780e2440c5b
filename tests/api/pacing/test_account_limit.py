"""What is known of a limit, moment by moment: no loop, no clock."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from batcher.api.pacing import CallKind, PacingEvent
from batcher.api.pacing.account_limit import AccountLimit, QueueAction

SUBMIT, STATUS, UPLOAD = CallKind.SUBMIT, CallKind.STATUS, CallKind.UPLOAD


class Told:
    """A limit, and what it told."""

    def __init__(
        self,
        rpm: float | None = 60,
        metered: Literal["submits", "all", "auto"] = "auto",
        patience: float = 600,
    ) -> None:
        self.events: list[PacingEvent] = []
        self.limit = AccountLimit(
            rpm=rpm,
            metered=metered,
            now=lambda: 1_767_614_400.0,
            learned=None,
            patience=patience,
            tell=self.events.append,
        )

    @property
    def what(self) -> list[str]:
        return [event.what for event in self.events]


@pytest.mark.parametrize(
    ("metered", "news"),
    [("auto", QueueAction.SORT), ("submits", QueueAction.NONE), ("all", QueueAction.NONE)],
)
def test_a_stamped_429_on_a_status_call_asks_for_sorted_queues_once_where_nobody_said_what_counts(
    metered: Literal["submits", "all", "auto"], news: QueueAction
) -> None:
    told = Told(metered=metered)
    assert told.limit.throttled(STATUS, None, None, 1.0) is QueueAction.NONE
    assert told.limit.throttled(STATUS, 5.0, None, 2.0) is news
    assert told.limit.throttled(STATUS, 5.0, None, 3.0) is QueueAction.NONE
    assert told.limit.is_metered(STATUS) is (metered != "submits")
    assert not told.limit.is_metered(UPLOAD)


def test_where_submits_alone_count_their_429_lets_all_others_pass() -> None:
    limit = Told(metered="submits").limit
    limit.throttled(SUBMIT, 30.0, None, 0.0)
    assert (limit.left(1.0), limit.pauses_submits_alone(1.0)) == (0.0, True)
    assert limit.submits_left(1.0) == limit.next_end(1.0) == pytest.approx(29, abs=0.1)


def test_a_pause_is_ended_once_and_until_then_has_taught_nothing() -> None:
    told = Told(rpm=600, metered="all")
    limit = told.limit
    for second in range(60):
        limit.sent(float(second))
    limit.throttled(SUBMIT, 1.0, 59.5, 59.5)
    assert limit.rate.per_second == 10
    assert not limit.end_pauses(60.0)
    assert limit.end_pauses(61.0)
    assert not limit.end_pauses(61.0)
    assert limit.rate.per_second < 10
    assert (limit.left(61.0), limit.next_end(61.0), limit.is_paused, limit.resets) == (0, math.inf, False, 1)
    assert told.what == ["paused", "rate"]


def test_the_lower_of_two_limits_holds_and_the_higher_one_returns_when_its_run_ends() -> None:
    told = Told(rpm=120)
    limit = told.limit
    assert limit.configure_others(60, "job b")
    assert not limit.configure_others(60, "job b")
    assert (limit.rate.per_second, limit.own_rpm, told.what) == (1, 120, ["shared"])
    assert limit.configure_others(300, "job c")
    assert (limit.rate.per_second, told.what) == (2, ["shared"])
    limit.configure(None)
    assert limit.rate.per_second == 5
    assert limit.configure_others(None, "")
    assert not limit.is_paced(SUBMIT)


def test_a_reset_beyond_the_users_patience_is_told_as_used_up() -> None:
    told = Told(patience=600)
    told.limit.throttled(SUBMIT, 7200.0, None, 0.0)
    assert told.what == ["paused", "exhausted"]
    assert told.events[-1].text == "the API's limit is used up until 2026-01-05 14:00 UTC: run again then"
