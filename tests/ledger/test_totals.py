"""What the ledger adds up to, and how money is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.ledger import totals
from batcher.ledger.totals import Money, credits, micro
from batcher.task import State
from tests.support.bookkeeping import blank_ledger


def test_nothing_adds_up_to_nothing_and_every_state_is_there() -> None:
    connection = blank_ledger()
    assert totals.money(connection) == Money()
    assert totals.counts(connection) == dict.fromkeys(State, 0)
    assert (totals.images(connection), totals.calls(connection), totals.failures(connection)) == (0, {}, {})
    connection.close()


@given(st.integers(0, 10**15))
def test_credits_and_micro_credits_are_each_others_reverse(amount: int) -> None:
    assert micro(credits(amount)) == amount


def test_a_cent_is_a_cent_however_often_it_is_added() -> None:
    assert credits(sum(micro(0.0105) for _ in range(100_000))) == 1050.0


def test_what_is_unsure_is_valued_by_the_mean_real_cost_and_else_by_the_price() -> None:
    money = Money(
        spent=60_000, paid_images=3, doubtful_images=2, lost_images=1, unpriced_images=1, reserved=10_000
    )
    assert money.in_credits(1) == {"spent": 0.08, "reserved": 0.01, "doubtful": 0.04, "lost": 0.02}
    unknown = Money(doubtful_images=2, lost_images=1, unpriced_images=1)
    assert unknown.in_credits(10_000) == {"spent": 0.01, "reserved": 0.0, "doubtful": 0.02, "lost": 0.01}
    assert unknown.in_credits(None) == {"spent": 0.0, "reserved": 0.0, "doubtful": 0.0, "lost": 0.0}


@pytest.mark.parametrize(
    ("after", "cost", "changed"),
    [
        ("completed", 40_000, {"spent": 40_000, "paid_images": 4, "dearest": 10_000}),
        ("completed", 1, {"spent": 1, "paid_images": 4, "dearest": 1}),
        ("completed", 0, {"paid_images": 4}),
        ("completed", None, {"unpriced_images": 4}),
        ("refused", None, {}),
        ("failed", None, {}),
        ("gateway", None, {"doubtful_images": 4}),
        ("doubtful", None, {"doubtful_images": 4}),
        ("lost", None, {"lost_images": 4}),
    ],
)
def test_each_outcome_moves_the_money_where_it_belongs(
    after: str, cost: int | None, changed: dict[str, int]
) -> None:
    opened = Money().with_opened(30_000)
    assert opened == Money(open=1, reserved=30_000)
    assert opened.with_outcome("open", after, 4, 30_000, cost) == Money(**changed)


def test_an_attempt_in_doubt_that_is_found_again_is_in_doubt_no_more() -> None:
    money = Money().with_opened(5).with_outcome("open", "doubtful", 2, 5)
    assert money == Money(doubtful_images=2)
    assert money.with_outcome("doubtful", "open", 2, 5) == Money(open=1, reserved=5)
    assert money.with_outcome("doubtful", "completed", 2, 5, 9) == Money(spent=9, paid_images=2, dearest=5)


def test_a_run_knows_what_came_since_it_began_and_the_dearest_ever() -> None:
    earlier = Money(spent=10, paid_images=1, dearest=10)
    now = Money(spent=30, paid_images=3, dearest=12, doubtful_images=1)
    assert now.since(earlier) == Money(spent=20, paid_images=2, dearest=12, doubtful_images=1)
