"""The ledger as its one writer uses it: the queue, the steps of a life, and what a start-up finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batcher import errors
from batcher.api.wire import Accepted, Output
from batcher.ledger import totals
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.task import State
from tests.support.bookkeeping import (
    ACCEPTED,
    NOW,
    PICTURE,
    a_ledger,
    a_result,
    a_task,
    equals_its_rows,
    first,
    on_disk,
    states,
)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".batcher" / "ledger.sqlite"


@pytest.fixture
async def ledger(path: Path, clock: Clock) -> Iterator[Ledger]:
    with a_ledger(path, 10, now=clock) as opened:
        yield opened


def submitted(ledger: Ledger, number: int) -> TaskEntry:
    return ledger.submitted(ledger.submitting(ledger.entry(number), api="v2", reserved=10_000), ACCEPTED)


def ready(ledger: Ledger, number: int, *outputs: Output) -> TaskEntry:
    result = a_result(0.01, *outputs)
    return ledger.ready(submitted(ledger, number), result, [(output, None) for output in result.outputs])


# --- the queue


async def test_planned_tasks_are_claimed_in_the_plans_order_and_in_windows(ledger: Ledger) -> None:
    assert [entry.id for entry in ledger.next_planned(0, 3)] == [1, 2, 3]
    ledger.submitting(ledger.entry(5), api="v2", reserved=0)
    assert [entry.id for entry in ledger.next_planned(3, 3)] == [4, 6, 7]
    assert [entry.id for entry in ledger.next_planned(9, 9)] == [10]
    assert ledger.next_planned(10, 9) == []
    assert ledger.next_planned(0, 1)[0].task == a_task(0)


async def test_what_is_owed_comes_with_the_earliest_submitted_first(ledger: Ledger, clock: Clock) -> None:
    for number, seconds in ((4, 30), (2, 10), (7, 20), (1, 10)):
        clock.time = NOW + seconds
        submitted(ledger, number)
    clock.time = NOW + 5
    ledger.doubtful(ledger.submitting(ledger.entry(9), api="v2", reserved=0), "cut")
    ready(ledger, 10)
    ledger.submitting(ledger.entry(8), api="v2", reserved=0)
    up_to = ledger.last_submission()
    order = [entry.id for entry in ledger.in_flight((float("-inf"), 0), up_to, 99)]
    assert order == [9, 10, 1, 2, 7, 4]
    seen: list[int] = []
    after = (float("-inf"), 0)
    while batch := ledger.in_flight(after, up_to, 2):
        seen += [entry.id for entry in batch]
        last = batch[-1]
        assert last.submission is not None
        after = (last.submission.submitted_at, last.id)
    assert seen == order
    submitted(ledger, 3)
    assert 3 not in [entry.id for entry in ledger.in_flight((0.0, 0), up_to, 99)]


# --- the steps


async def test_an_intent_carries_the_moment_before_its_post(ledger: Ledger, clock: Clock, path: Path) -> None:
    entry = ledger.submitting(first(ledger), api="v1", reserved=7)
    clock.time += 60
    await ledger.committed()
    assert on_disk(path, "SELECT submitted_at, attempt, api, outcome, reserved FROM submissions") == [
        (NOW, 1, "v1", "open", 7)
    ]
    assert entry.submission is not None
    assert entry.submission.submitted_at == NOW


async def test_each_step_is_told_with_the_entry_before_and_after(path: Path) -> None:
    told: list[tuple[str, str, str]] = []
    ledger = Ledger(path, now=lambda: NOW, moved=lambda a, b, why: told.append((a.state, b.state, why)))
    ledger.plan([a_task(1)], "")
    ledger.start_run()
    entry = ledger.doubtful(ledger.submitting(first(ledger), api="v2", reserved=0), "cut")
    ledger.failed(entry, "LOST: cut", "doubtful")
    ledger.close()
    assert told == [
        ("planned", "submitting", ""),
        ("submitting", "doubtful", "cut"),
        ("doubtful", "failed", "LOST: cut"),
    ]


async def test_attempts_are_spent_only_where_it_is_said(ledger: Ledger) -> None:
    entry = ledger.submitting(first(ledger), api="v2", reserved=0)
    entry = ledger.planned(entry, "gateway", "502", not_before=NOW + 5)
    assert (entry.attempts, entry.not_before) == (1, NOW + 5)
    entry = ledger.planned(
        ledger.submitting(entry, api="v2", reserved=0), "refused", "429", counts_attempt=False
    )
    assert (entry.attempts, entry.not_before) == (1, 0.0)
    entry = ledger.put_off(entry, NOW + 9, counts_attempt=True)
    assert (entry.attempts, entry.not_before) == (2, NOW + 9)
    assert ledger.entry(1) == entry
    assert ledger.submitting(entry, api="v2", reserved=0).submission.attempt == 3  # type: ignore[union-attr]  # it has one


async def test_a_bill_stands_whatever_becomes_of_its_files(ledger: Ledger) -> None:
    entry = ready(ledger, 1)
    ledger.planned(entry, "lost", "its files' days are over")
    assert (ledger.money.spent, ledger.money.paid_images, ledger.money.lost_images) == (10_000, 1, 0)
    equals_its_rows(ledger)


async def test_a_files_name_is_its_own(ledger: Ledger) -> None:
    one, two = ready(ledger, 1), ready(ledger, 2)
    ledger.named(one, 0, "a.png", "0" * 64)
    ledger.named(one, 0, "a.png", "0" * 64)
    with pytest.raises(ValueError, match=r"a\.png"):
        ledger.named(two, 0, "a.png", "0" * 64)
    ledger.named(two, 0, "b.png", "0" * 64)
    with pytest.raises(ValueError, match=r"b\.png"):
        ledger.named(one, 0, "b.png", "0" * 64)


async def test_several_files_are_delivered_one_by_one_and_counted_once(ledger: Ledger) -> None:
    entry = ready(ledger, 1, PICTURE, PICTURE, PICTURE)
    for file in ledger.files(entry):
        ledger.named(entry, file.position, f"{file.position}.png", "0" * 64)
        for _ in range(2):
            ledger.delivered(entry, file.position, size=1, width=2, height=3)
    assert ledger.images == 3
    ledger.done(entry)
    equals_its_rows(ledger)


async def test_fresh_links_take_the_place_of_dead_ones(ledger: Ledger) -> None:
    entry = ready(ledger, 1, Output(url="http://f/1"), Output(url="http://f/2"))
    ledger.relinked(entry, {1: "http://f/3", 2: "http://f/4"})
    assert [file.url for file in ledger.files(entry)] == ["http://f/1", "http://f/3"]


async def test_hostile_text_of_an_answer_is_stored_as_it_is(ledger: Ledger) -> None:
    text = "'; DROP TABLE tasks; --\0 \u202e 💥"
    accepted = Accepted(text, text, text)
    entry = ledger.submitted(ledger.submitting(first(ledger), api="v2", reserved=0), accepted)
    assert ledger.entry(1).submission == entry.submission
    ledger.failed(entry, text, "failed")
    assert ledger.read(totals.failures) == {text: 1}
    assert len(ledger.next_planned(0, 99)) == 9


# --- start-up


async def test_what_was_in_the_air_is_in_doubt_after_a_crash(path: Path) -> None:
    with a_ledger(path, 3) as ledger:
        ledger.submitting(ledger.entry(1), api="v2", reserved=10_000)
        submitted(ledger, 2)
    with a_ledger(path) as ledger:
        assert ledger.money.open == 2
        assert ledger.mark_interrupted() == 1
        assert states(ledger) == {State.DOUBTFUL: 1, State.SUBMITTED: 1, State.PLANNED: 1}
        assert (ledger.money.open, ledger.money.doubtful_images) == (1, 1)
        equals_its_rows(ledger)
        assert ledger.mark_interrupted() == 0


async def test_what_was_in_flight_at_an_api_that_is_gone_is_planned_again(ledger: Ledger) -> None:
    submitted(ledger, 1)
    ready(ledger, 2)
    ledger.doubtful(ledger.submitting(ledger.entry(3), api="v2", reserved=0), "cut")
    assert ledger.forget_in_flight("the sandbox ended") == 3
    assert states(ledger) == {State.PLANNED: 10}
    assert (ledger.money.open, ledger.money.lost_images, ledger.money.doubtful_images) == (0, 1, 1)
    assert ledger.money.spent == 10_000
    equals_its_rows(ledger)


async def test_a_run_goes_on_until_nothing_is_left_and_tasks_planned_later_start_a_new_one(
    path: Path,
) -> None:
    with a_ledger(path, 1) as ledger:
        run = ledger.run
        ledger.end_run()
    with a_ledger(path) as ledger:
        assert ledger.run == run
        ledger.failed(first(ledger), "X: y")
        ledger.end_run()
        ledger.plan([a_task(0), a_task(1)], "two")
    with a_ledger(path) as ledger:
        assert ledger.run == run + 1
        ready(ledger, 2)
        assert ledger.money_of_run().spent == 10_000
        await ledger.committed()
    with a_ledger(path) as ledger:
        assert ledger.money_of_run().spent == 10_000


async def test_the_opening_balance_is_the_first_one_told_and_the_closing_one_the_last(ledger: Ledger) -> None:
    ledger.record_balance("opening", 5.0)
    ledger.record_balance("opening", 4.0)
    ledger.record_balance("closing", 3.0)
    ledger.record_balance("closing", 2.5)
    balances = ledger.connection.execute("SELECT opening_balance, closing_balance FROM runs").fetchall()
    assert balances == [(5_000_000, 2_500_000)]


async def test_a_ledger_belongs_to_one_api(ledger: Ledger) -> None:
    ledger.bind_origin("https://api.segmind.com")
    ledger.bind_origin("https://api.segmind.com")
    with pytest.raises(errors.OtherOrigin, match=r"https://api\.segmind\.com.*http://other") as caught:
        ledger.bind_origin("http://other")
    assert caught.value.exit_code == 2


async def test_failed_tasks_of_the_present_plan_are_planned_again_with_all_their_attempts(
    ledger: Ledger,
) -> None:
    for number in (1, 2):
        entry = ledger.planned(
            ledger.submitting(ledger.entry(number), api="v2", reserved=0), "gateway", "502"
        )
        ledger.failed(ledger.submitting(entry, api="v2", reserved=0), "GATEWAY: 502", "gateway")
    assert ledger.read(totals.failures) == {"GATEWAY: 502": 2}
    ledger.plan([a_task(n) for n in range(1, 10)], "two")
    assert ledger.retry_failed() == 1
    entry = ledger.entry(2)
    assert (entry.state, entry.attempts, entry.submission) == (State.PLANNED, 0, None)
    assert ledger.entry(1).state is State.FAILED
    assert ledger.money.doubtful_images == 4, "a retry makes no doubt less"
    equals_its_rows(ledger)


async def test_failures_of_inference_are_counted_by_task_and_run(ledger: Ledger) -> None:
    entry = ledger.planned(submitted(ledger, 1), "failed", "CUDA", counts_attempt=False)
    entry = ledger.planned(submitted(ledger, 1), "failed", "CUDA", counts_attempt=False)
    assert ledger.failed_before(entry) == 2
    assert ledger.failed_before(ledger.entry(2)) == 0


async def test_calls_are_counted_and_reach_the_disk_soon(path: Path) -> None:
    import anyio

    with a_ledger(path) as ledger:
        for _ in range(3):
            ledger.count_call("submit")
        ledger.count_call("status")
        assert ledger.calls == {"submit": 3, "status": 1}
        await anyio.sleep(1)
        assert dict(on_disk(path, "SELECT kind, n FROM calls")) == {"submit": 3, "status": 1}
        ledger.count_call("submit")
        ledger.plan([a_task(0)], "again")
        assert ledger.calls["submit"] == 4
    with a_ledger(path) as ledger:
        assert ledger.calls == {"submit": 4, "status": 1}


async def test_an_upload_is_known_from_then_on(ledger: Ledger) -> None:
    assert ledger.uploaded("d") is None
    ledger.keep_upload("d", "http://f/1")
    ledger.keep_upload("d", "http://f/2")
    assert ledger.uploaded("d") == ("http://f/2", NOW)
    ledger.forget_upload("d")
    assert ledger.uploaded("d") is None
