"""The reserve: max_cost is never exceeded, and used up as far as it goes."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher import errors
from batcher.api.wire import Result
from batcher.engine.admission import Budget
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.ledger.totals import micro
from tests.support.bookkeeping import ACCEPTED, a_ledger, a_result, equals_its_rows, first, in_virtual_time

CENT = micro(0.01)


def committed(ledger: Ledger, price: int) -> int:
    """What the rule bounds: spent + reserved + doubtful + lost, unsure ones at the dearest seen or told."""
    money = ledger.money_of_run()
    dearest = max(price, money.dearest)
    unsure = money.unpriced_images + money.doubtful_images + money.lost_images
    return money.spent + money.reserved + unsure * dearest


def submit(ledger: Ledger, budget: Budget, entry: TaskEntry, amount: int) -> TaskEntry:
    entry = ledger.submitting(entry, api="v2", reserved=amount)
    budget.recorded(entry.id)
    return entry


def finish(ledger: Ledger, entry: TaskEntry, result: Result) -> TaskEntry:
    entry = ledger.submitted(entry, ACCEPTED)
    return ledger.ready(entry, result, [(output, None) for output in result.outputs])


async def test_without_a_limit_nobody_waits_and_the_price_is_set_aside(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "l", 3, images=4) as ledger:
        budget = Budget(ledger, limit=None, price=CENT)
        for entry in ledger.next_planned(0, 3):
            assert await budget.reserve(entry.id, 4) == 4 * CENT
        assert await Budget(ledger, limit=None, price=None).reserve(1, 4) == 0


async def test_a_limit_below_one_price_lets_nothing_leave(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "l") as ledger:
        for limit in (0, CENT - 1):
            with pytest.raises(errors.BudgetSpent, match="max_cost") as caught:
                await Budget(ledger, limit=limit, price=CENT).reserve(1, 1)
            assert caught.value.exit_code == 4
        assert await Budget(ledger, limit=CENT, price=CENT).reserve(1, 1) == CENT


async def test_what_has_no_known_price_does_not_leave_where_nothing_is_left(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "l") as ledger:
        budget = Budget(ledger, limit=0, price=None)
        assert budget.room == 0
        with pytest.raises(errors.BudgetSpent, match="what the next request costs is not known"):
            await budget.reserve(1, 1)


async def test_one_probe_goes_first_until_a_bill_has_confirmed_the_price(tmp_path: Path) -> None:
    for price in (None, CENT):
        with a_ledger(tmp_path / f"{price}", 5) as ledger:
            budget = Budget(ledger, limit=100 * CENT, price=price)
            entries = ledger.next_planned(0, 5)
            probe = submit(ledger, budget, entries[0], await budget.reserve(entries[0].id, 1))
            passed: list[int] = []

            async def wait(entry: TaskEntry, budget: Budget = budget, passed: list[int] = passed) -> None:
                passed.append(await budget.reserve(entry.id, 1))

            async with anyio.create_task_group() as group:
                for entry in entries[1:]:
                    group.start_soon(wait, entry)
                await anyio.sleep(60)
                assert passed == []
                finish(ledger, probe, a_result(0.03))
                budget.notify()
            assert passed == [3 * CENT] * 4


async def test_a_freed_reservation_is_used_again_and_only_then_it_is_over(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "l", 4) as ledger:
        budget = Budget(ledger, limit=3 * CENT, price=CENT)
        one, two, three, four = ledger.next_planned(0, 4)
        finish(ledger, submit(ledger, budget, one, await budget.reserve(one.id, 1)), a_result(0.01))
        second = submit(ledger, budget, two, await budget.reserve(two.id, 1))
        third = submit(ledger, budget, three, await budget.reserve(three.id, 1))
        ends: list[object] = []

        async def wait() -> None:
            try:
                ends.append(await budget.reserve(four.id, 1))
            except errors.BudgetSpent as error:
                ends.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(60)
            assert ends == []
            finish(ledger, second, a_result(0.01))
            budget.notify()
            await anyio.sleep(60)
            assert ends == []
            ledger.planned(third, "refused", "429", counts_attempt=False)
            budget.notify()
        assert ends == [CENT]
        budget.released(four.id)
        with a_ledger(tmp_path / "m", 2) as other:
            budget = Budget(other, limit=CENT, price=CENT)
            done = finish(
                other, submit(other, budget, first(other), await budget.reserve(1, 1)), a_result(0.01)
            )
            assert done.submission is not None
            with pytest.raises(errors.BudgetSpent, match=r"0\.01 are spent"):
                await budget.reserve(2, 1)


async def test_who_is_released_makes_room_and_releasing_twice_is_once(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "l", 2) as ledger:
        budget = Budget(ledger, limit=CENT, price=CENT)
        await budget.reserve(1, 1)
        async with anyio.create_task_group() as group:
            group.start_soon(budget.reserve, 2, 1)
            await anyio.sleep(1)
            budget.released(1)
            budget.released(1)
        with pytest.raises(TimeoutError), anyio.fail_after(5):
            await budget.reserve(1, 1)


@pytest.mark.parametrize("price", [CENT, None])
async def test_a_limit_that_is_set_counts_what_was_set_aside_before_the_oldest_first(
    tmp_path: Path, price: int | None
) -> None:
    with a_ledger(tmp_path / "l", 5) as ledger:
        budget = Budget(ledger, limit=None, price=price)
        reserved = [await budget.reserve(entry.id, 1) for entry in ledger.next_planned(0, 5)]
        finish(ledger, submit(ledger, budget, first(ledger), reserved[0]), a_result(0.01))
        budget.configure(3 * CENT)
        # One is spent; nothing was set aside for those whose price was not known.
        kept = [task for task in (2, 3, 4, 5) if budget.is_current(task)]
        assert kept == ([2, 3] if price else [])
        for task in {2, 3} - {*kept}:
            assert await budget.reserve(task, 1) == CENT
        with pytest.raises(TimeoutError), anyio.fail_after(5):
            await budget.reserve(4, 1)
        budget.configure(2 * CENT)
        assert [task for task in (2, 3, 4, 5) if budget.is_current(task)] == [2]
        budget.configure(CENT)
        with pytest.raises(errors.BudgetSpent, match=r"0\.01 are spent"):
            await budget.reserve(4, 1)


@pytest.mark.parametrize("outcome", ["gateway", "doubtful", "lost"])
async def test_what_is_perhaps_paid_counts_as_spent_and_is_never_freed(tmp_path: Path, outcome: str) -> None:
    with a_ledger(tmp_path / "l", 3, images=2) as ledger:
        budget = Budget(ledger, limit=2 * CENT, price=CENT)
        entry = submit(ledger, budget, first(ledger), await budget.reserve(1, 2))
        if outcome == "lost":
            entry = ledger.submitted(entry, ACCEPTED)
        if outcome == "doubtful":
            entry = ledger.doubtful(entry, "cut")
        ledger.planned(entry, outcome, "why")
        assert committed(ledger, CENT) == 2 * CENT
        with pytest.raises(errors.BudgetSpent):
            await budget.reserve(2, 2)


async def test_a_resume_goes_on_with_what_the_run_has_spent_and_a_new_run_starts_anew(
    tmp_path: Path, now: Callable[[], float]
) -> None:
    path = tmp_path / "l"
    with a_ledger(path, 2, now=now) as ledger:
        budget = Budget(ledger, limit=CENT, price=CENT)
        finish(ledger, submit(ledger, budget, first(ledger), await budget.reserve(1, 1)), a_result(0.01))
        run = ledger.run
    with a_ledger(path, now=now) as ledger:
        assert ledger.run == run
        with pytest.raises(errors.BudgetSpent):
            await Budget(ledger, limit=CENT, price=CENT).reserve(2, 1)
        ledger.failed(first(ledger), "X: y")
        entry = ledger.in_flight((0.0, 0), 99, 1)[0]
        ledger.named(entry, 0, "a.png", "0" * 64)
        ledger.delivered(entry, 0, size=1, width=1, height=1)
        ledger.done(entry)
        ledger.end_run()
    with a_ledger(path, now=now) as ledger:
        assert ledger.run == run + 1
        assert ledger.retry_failed() == 1
        assert await Budget(ledger, limit=CENT, price=CENT).reserve(2, 1) == CENT


@dataclass(frozen=True)
class Story:
    """One random run against a limit."""

    limit: int
    price: int | None
    images: int
    tasks: int
    seed: int


stories = st.builds(
    Story,
    limit=st.integers(0, 40 * CENT),
    price=st.none() | st.sampled_from([0, 1, CENT, 3 * CENT]),
    images=st.integers(1, 4),
    tasks=st.integers(1, 14),
    seed=st.integers(0, 10**6),
)


@given(stories)
@settings(max_examples=20, deadline=None)
def test_max_cost_is_never_exceeded_whatever_becomes_of_each_submit(story: Story) -> None:
    with tempfile.TemporaryDirectory() as folder:
        in_virtual_time(_spend(Path(folder) / "ledger", story))


async def _spend(path: Path, story: Story) -> None:
    """Many tasks at once; each POST ends in a random way after a random time, at the price or less."""
    chance = random.Random(story.seed)
    price = CENT if story.price is None else story.price
    with a_ledger(path, story.tasks, images=story.images) as ledger:
        budget = Budget(ledger, limit=story.limit, price=story.price)
        ended: list[str] = []
        probes: list[int] = []

        async def live(entry: TaskEntry) -> None:
            await anyio.sleep(chance.random())
            while True:
                try:
                    amount = await budget.reserve(entry.id, story.images)
                except errors.BudgetSpent:
                    assert ledger.money_of_run().open == 0
                    ended.append("budget")
                    return
                await anyio.sleep(chance.random())
                if chance.random() < 0.1:
                    budget.released(entry.id)
                    continue
                entry = submit(ledger, budget, entry, amount)
                probes.extend([entry.id] if ledger.money.dearest == 0 else [])
                bounded()
                await anyio.sleep(chance.random() * 5)
                way = chance.choice(
                    ["paid", "paid", "paid", "refused", "gateway", "doubtful", "lost", "failed"]
                )
                if way == "paid":
                    # A bill may be missing; it is never higher than the price, once one is known.
                    cost = chance.choice([price, price, price / 2, None]) if story.price else price
                    told = None if cost is None else cost * story.images / 1e6
                    entry = finish(ledger, entry, a_result(told))
                else:
                    if way in ("lost", "failed"):
                        entry = ledger.submitted(entry, ACCEPTED)
                    elif way == "doubtful":
                        entry = ledger.doubtful(entry, "cut")
                    entry = ledger.planned(entry, way, "why")
                bounded()
                budget.notify()
                if way == "paid":
                    ended.append("paid")
                    return

        def bounded() -> None:
            # Where no price is known, probes go one by one until a bill tells it: they cost what they cost.
            unknown = 0 if story.price else price * story.images * len(probes)
            assert committed(ledger, story.price or 0) <= story.limit + unknown
            equals_its_rows(ledger)

        async with anyio.create_task_group() as group:
            for entry in ledger.next_planned(0, story.tasks):
                group.start_soon(live, entry)
        assert len(ended) == story.tasks
        assert not budget._reserved


async def test_nobody_waits_for_ever_on_a_budget_that_is_spent(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "l", 50) as ledger:
        budget = Budget(ledger, limit=CENT, price=CENT)
        entry = submit(ledger, budget, first(ledger), await budget.reserve(1, 1))
        waiting = [asyncio.ensure_future(budget.reserve(n, 1)) for n in range(2, 51)]
        await anyio.sleep(1)
        finish(ledger, entry, a_result(0.01))
        budget.notify()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {errors.BudgetSpent}


async def spend(ledger: Ledger, budget: Budget, costs: list[float | None], hands: int) -> list[int]:
    """Submits as many tasks as the budget lets through, `hands` side by side, each billed its cost after a
    while; what was paid above what was set aside, request by request (micro-credits)."""
    surprises: list[int] = []
    waiting = iter(zip(ledger.next_planned(0, len(costs)), costs, strict=True))

    async def work() -> None:
        for entry, cost in waiting:
            try:
                amount = await budget.reserve(entry.id, 1)
            except errors.BudgetSpent:
                return
            sent = submit(ledger, budget, entry, amount)
            await anyio.sleep(1 + entry.id % 7)
            finish(ledger, sent, a_result(cost))
            surprises.append(max(0, micro(cost or 0) - amount))
            budget.notify()

    async with anyio.create_task_group() as group:
        for _ in range(hands):
            group.start_soon(work)
    return surprises


@pytest.mark.parametrize("cost", [None, 0.0])
async def test_where_nobody_tells_a_price_a_few_requests_end_the_run(
    tmp_path: Path, cost: float | None
) -> None:
    with a_ledger(tmp_path / "l", 20) as ledger:
        budget = Budget(ledger, limit=micro(0.05), price=None)
        await spend(ledger, budget, [cost] * 20, hands=8)
        assert ledger.money.paid_images + ledger.money.unpriced_images == 3
        with pytest.raises(errors.BudgetSpent, match="told no cost; say what one costs") as caught:
            await budget.reserve(20, 1)
        assert "price: 0.02" in str(caught.value)


async def test_a_first_bill_of_nothing_teaches_nothing(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "l", 40) as ledger:
        budget = Budget(ledger, limit=micro(0.3), price=None)
        surprises = await spend(ledger, budget, [0.0] + [0.1] * 39, hands=32)
        assert ledger.money.spent == micro(0.3)
        assert sum(surprises) == micro(0.1)  # the first that cost something


async def test_prices_that_differ_exceed_it_by_no_more_than_what_was_in_flight(tmp_path: Path) -> None:
    with a_ledger(tmp_path / "l", 200) as ledger:
        budget = Budget(ledger, limit=micro(1), price=CENT)
        costs: list[float | None] = [(0.01, 0.02, 0.1)[n % 3] for n in range(200)]
        await spend(ledger, budget, costs, hands=64)
        assert micro(0.9) <= ledger.money.spent <= micro(1)


@given(
    costs=st.lists(st.none() | st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.05, 0.2]), min_size=1, max_size=40),
    limit=st.sampled_from([0.01, 0.05, 0.2, 1.0, 5.0]),
    price=st.none() | st.sampled_from([CENT, 2 * CENT]),
    hands=st.sampled_from([1, 4, 64]),
)
@settings(max_examples=60)
def test_whatever_is_billed_the_most_that_can_be_paid_is_known(
    costs: list[float | None], limit: float, price: int | None, hands: int
) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as folder, a_ledger(Path(folder) / "l", len(costs)) as ledger:
            budget = Budget(ledger, limit=micro(limit), price=price)
            surprises = await spend(ledger, budget, costs, hands)
            assert ledger.money.spent <= micro(limit) + sum(surprises)

    in_virtual_time(story())
