"""The rate alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.pacing import Rate


@given(
    configured=st.floats(0.01, 1000),
    steps=st.lists(
        st.tuples(st.sampled_from(["sent", "refused", "reset"]), st.floats(0.001, 200)), max_size=200
    ),
)
def test_the_rate_stays_between_nothing_and_what_was_told(
    configured: float, steps: list[tuple[str, float]]
) -> None:
    rate, at = Rate(configured), 0.0
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
        assert 0 < rate.per_second <= configured
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
