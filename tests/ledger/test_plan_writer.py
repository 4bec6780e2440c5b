"""The plan enters the ledger: whole or not at all, and what is paid for keeps its name."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher import errors
from batcher.ledger import plan_replacements, plan_writer
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.ledger.plan_caches import DigestCache, DuplicateCounter
from batcher.ledger.plan_writer import INDICES
from batcher.task import State, Task
from tests.support.bookkeeping import ACCEPTED, NOW, a_result, a_task, equals_its_rows, first, states


@pytest.fixture
async def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", now=lambda: NOW)
    yield opened
    opened.close()


def names(ledger: Ledger) -> dict[int, str]:
    return dict(ledger.connection.execute("SELECT id, name FROM tasks ORDER BY id").fetchall())


def pay(ledger: Ledger, entry: TaskEntry) -> TaskEntry:
    """Its result is here."""
    if not ledger.run:
        ledger.start_run()
    entry = ledger.submitted(ledger.submitting(entry, api="v2", reserved=0), ACCEPTED)
    result = a_result(0.01)
    return ledger.ready(entry, result, [(output, None) for output in result.outputs])


def index_names(ledger: Ledger) -> set[str]:
    rows = ledger.connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'tasks'"
    )
    return {row[0] for row in rows}


async def test_a_first_plan_enters_with_its_indices_and_says_how_much_is_new(ledger: Ledger) -> None:
    progress: list[int] = []
    planned = ledger.plan((a_task(n) for n in range(5)), "one", progress=progress.append)
    assert (planned.total, planned.new, planned.warnings) == (5, 5, ())
    assert progress == [5]
    assert ledger.meta("fingerprint") == "one"
    assert index_names(ledger) >= set(INDICES)
    assert states(ledger) == {State.PLANNED: 5}


async def test_large_plans_enter_in_batches(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_writer, "BATCH", 2)
    progress: list[int] = []
    ledger.plan((a_task(n) for n in range(5)), "", progress=progress.append)
    assert progress == [2, 4, 5]


async def test_another_plan_adds_what_is_new_and_drops_what_is_gone(ledger: Ledger) -> None:
    ledger.plan([a_task(1), a_task(2), a_task(3)], "one")
    pay(ledger, first(ledger))
    planned = ledger.plan([a_task(3), a_task(4)], "two")
    assert (planned.total, planned.new) == (2, 1)
    assert states(ledger) == {State.PLANNED: 2}
    assert [entry.task.name for entry in ledger.next_planned(0, 9)] == ["n3", "n4"]
    assert [entry.task.name for entry in ledger.in_flight((0.0, 0), 99, 9)] == ["n1"], (
        "what is owed is still fetched"
    )
    assert ledger.money.spent == 10_000
    equals_its_rows(ledger)
    assert ledger.plan([a_task(n) for n in (1, 2, 3, 4)], "three").new == 0
    assert states(ledger) == {State.PLANNED: 3, State.READY: 1}


async def test_an_empty_plan_is_a_plan(ledger: Ledger) -> None:
    ledger.plan([a_task(1)], "one")
    assert ledger.plan([], "two").total == 0
    assert states(ledger) == {}
    assert ledger.next_planned(0, 9) == []


@pytest.mark.parametrize("fresh", [True, False])
async def test_an_error_in_the_middle_changes_nothing(ledger: Ledger, fresh: bool) -> None:
    if not fresh:
        ledger.plan([a_task(1)], "one")
    before = list(ledger.connection.iterdump())

    def broken() -> Iterator[Task]:
        yield a_task(1, name="other")
        yield a_task(2)
        raise errors.ManifestError([errors.Problem("row 3 is wrong")])

    with pytest.raises(errors.ManifestError, match="row 3"):
        ledger.plan(broken(), "two")
    assert list(ledger.connection.iterdump()) == before
    assert index_names(ledger) >= set(INDICES)
    assert ledger.meta("fingerprint") == (None if fresh else "one")
    ledger.plan([a_task(1), a_task(2)], "three")
    assert states(ledger) == {State.PLANNED: 2}


# --- names


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    ("one", "two"), [("same", "same"), ("Same", "sAME"), ("ﬁle", "file"), ("größe", "GRÖSSE")]
)
async def test_two_tasks_of_one_plan_may_not_have_one_name(
    ledger: Ledger, one: str, two: str, fresh: bool
) -> None:
    if not fresh:
        ledger.plan([a_task(7)], "one")
    before = list(ledger.connection.iterdump())
    tasks = [a_task(1, name=one, columns={"place": "italy"}), a_task(2, name=two, columns={"place": "japan"})]
    with pytest.raises(errors.ManifestError, match=r"2 tasks would be named .*italy.*japan") as caught:
        ledger.plan(tasks, "two")
    assert caught.value.problems[0].key == "output.name"
    assert list(ledger.connection.iterdump()) == before


async def test_many_collisions_are_told_but_not_thousands(ledger: Ledger) -> None:
    with pytest.raises(errors.ManifestError) as caught:
        ledger.plan([a_task(n, name=f"n{n // 2}") for n in range(200)], "")
    assert 5 <= len(caught.value.problems) <= 20


async def test_a_new_task_whose_name_a_paid_one_holds_gets_eight_digits_of_its_key(ledger: Ledger) -> None:
    ledger.plan([a_task(1, name="Rome")], "one")
    pay(ledger, first(ledger))
    for _ in range(2):
        planned = ledger.plan([a_task(2, name="rome")], "two")
        assert names(ledger) == {1: "Rome", 2: f"rome-{a_task(2).key[:8]}"}
        assert len(planned.warnings) == 1
        assert "rome" in planned.warnings[0]


async def test_two_new_tasks_that_want_the_name_of_a_paid_one_are_an_error_all_the_same(
    ledger: Ledger,
) -> None:
    ledger.plan([a_task(1, name="rome")], "one")
    pay(ledger, first(ledger))
    with pytest.raises(errors.ManifestError, match="2 tasks would be named 'rome'"):
        ledger.plan([a_task(2, name="rome"), a_task(3, name="rome")], "two")
    assert names(ledger) == {1: "rome"}


async def test_a_name_that_only_a_planned_task_of_an_earlier_plan_had_is_free(ledger: Ledger) -> None:
    ledger.plan([a_task(1, name="rome")], "one")
    assert ledger.plan([a_task(2, name="rome")], "two").warnings == ()
    assert names(ledger)[2] == "rome"


async def test_another_naming_renames_what_waits_and_leaves_what_is_paid(ledger: Ledger) -> None:
    ledger.plan([a_task(1), a_task(2), a_task(3)], "one")
    pay(ledger, first(ledger))
    ledger.failed(ledger.entry(2), "X: y")
    ledger.plan([a_task(n, name=f"new{n}") for n in (1, 2, 3)], "two")
    assert names(ledger) == {1: "n1", 2: "new2", 3: "new3"}
    equals_its_rows(ledger)


async def test_a_renamed_task_that_meets_another_name_is_an_error(ledger: Ledger) -> None:
    ledger.plan([a_task(1, name="rome")], "one")
    pay(ledger, first(ledger))
    with pytest.raises(errors.ManifestError, match="would be named"):
        ledger.plan([a_task(2, name="rome"), a_task(3, name=f"rome-{a_task(2).key[:8]}")], "two")


async def test_a_failed_task_stays_failed_and_a_file_may_have_moved(ledger: Ledger) -> None:
    ledger.plan([a_task(1, params={"image": "/old/a.png"}, media={"image": "d"})], "one")
    ledger.start_run()
    ledger.failed(first(ledger), "X: y")
    ledger.plan([a_task(1, params={"image": "/new/a.png"}, media={"image": "d"})], "two")
    entry = ledger.entry(1)
    assert (entry.state, entry.task.params["image"]) == (State.FAILED, "/new/a.png")


# --- what planning asks the ledger


async def test_occurrences_count_from_nought_and_anew_for_each_plan(ledger: Ledger) -> None:
    seen = DuplicateCounter(ledger.connection)
    assert [seen(b"a" * 16), seen(b"b" * 16), seen(b"a" * 16), seen(b"a" * 16)] == [0, 0, 1, 2]
    assert DuplicateCounter(ledger.connection)(b"a" * 16) == 0


@pytest.mark.parametrize("waiting", [1, 7, 1000])
@pytest.mark.parametrize("looks", [0, 5, 1000])
async def test_occurrences_are_counted_however_sure_the_filter_is(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, waiting: int, looks: int
) -> None:
    monkeypatch.setattr(DuplicateCounter, "WAITING", waiting)
    monkeypatch.setattr(DuplicateCounter, "LOOKS", looks)
    monkeypatch.setattr(DuplicateCounter, "LOT", 4)
    dice = random.Random(waiting)
    identities = [dice.randbytes(16) for _ in range(60)]
    for sure in (True, False):
        seen, counted = DuplicateCounter(ledger.connection), Counter[bytes]()
        if not sure:
            seen._blocks = [(1 << 512) - 1] * DuplicateCounter.BLOCKS
        for identity in dice.choices(identities, k=300):
            assert seen(identity) == counted[identity]
            counted[identity] += 1


async def test_which_replacements_follow_a_plan_is_not_asked_of_every_task(ledger: Ledger) -> None:
    steps = ledger.connection.execute(f"EXPLAIN QUERY PLAN {plan_replacements.FOLLOWING}", (1,)).fetchall()
    assert [text for *_, text in steps if "SCAN" in text] == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_json_in_the_ledger_is_what_json_makes_of_it(value: Any) -> None:
    for one in (value, {"a": value}, [value]):
        assert plan_writer.compact(one) == json.dumps(one, ensure_ascii=False, separators=(",", ":"))
    with pytest.raises(TypeError):
        plan_writer.compact({"a": object()})
    assert plan_writer.compact({}) == "{}", "and what was refused leaves nothing behind"


def digests(ledger: Ledger) -> Callable[[str], str]:
    return DigestCache(ledger.connection).of


async def test_a_file_that_is_no_good_is_looked_at_again(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"one")

    def examine(file: IO[bytes], size: int) -> None:
        raise errors.BadDownload(f"{size} {file.read(2)!r}")

    for _ in range(2):
        with pytest.raises(errors.BadDownload, match="3 b'on'"):
            DigestCache(ledger.connection, examine).of(str(file))
    assert digests(ledger)(str(file)) == hashlib.sha256(b"one").hexdigest()


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        (
            {"stem": "a", "place": "rome", "style": "x" * 300},
            {"stem": "a", "place": "oslo", "style": "x" * 300},
            "for example [place=rome] and [place=oslo]; make the name differ, for example with {{ place }}",
        ),
        (
            {"image": "/p/a.png", "stem": "a", "folder": "p"},
            {"image": "/q/a.png", "stem": "a", "folder": "q"},
            "make the name differ, for example with {{ folder }}",
        ),
        ({"place": "rome"}, {"place": "rome"}, "and no column tells them apart"),
        (
            {"image": "/home/me/a.png"},
            {"image": "/home/me/b.png"},
            "give the rows a column with a name for each",
        ),
        ({"long": "y" * 300}, {"long": "z"}, "y…] and [long=z]"),
    ],
)
async def test_tasks_of_one_name_are_told_by_the_columns_that_differ(
    ledger: Ledger, one: dict[str, str], two: dict[str, str], says: str
) -> None:
    tasks = [a_task(n, name="same", columns=columns) for n, columns in enumerate((one, two))]
    with pytest.raises(errors.ManifestError) as caught:
        ledger.plan(tasks, "f")
    assert says in str(caught.value)


async def test_what_is_left_out_belongs_to_the_plan(ledger: Ledger) -> None:
    def tasks(*wrong: int) -> Iterator[Task]:
        for number in (*wrong, *wrong):
            plan_writer.LeftOutRows(ledger.connection)(
                errors.Problem(f"row {number} is bad", "t.csv", number)
            )
        yield a_task(1)

    ledger.plan(tasks(3, 5), "one")
    assert ledger.read(plan_writer.left_out, 1) == (2, [errors.Problem("row 3 is bad", "t.csv", 3)])
    with pytest.raises(ZeroDivisionError):
        ledger.plan((1 / 0 for _ in tasks(7)), "two")  # type: ignore[arg-type]
    assert ledger.read(plan_writer.left_out, 1)[0] == 2
    ledger.plan(tasks(), "three")
    assert ledger.read(plan_writer.left_out, 1) == (0, [])


async def test_a_file_is_read_once_as_long_as_it_is_the_same(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"one")
    os.utime(file, ns=(10**18, 10**18))
    told = digests(ledger)(str(file))
    file.write_bytes(b"two")
    os.utime(file, ns=(10**18, 10**18))
    assert digests(ledger)(str(file)) == told, "same path, size and time: not read again"
    os.utime(file, ns=(10**18, 10**18 + 1))
    other = digests(ledger)(str(file))
    assert other != told
    file.write_bytes(b"longer")
    os.utime(file, ns=(10**18, 10**18 + 1))
    assert digests(ledger)(str(file)) not in (told, other)
    file.unlink()
    with pytest.raises(OSError, match="No such file"):
        digests(ledger)(str(file))
