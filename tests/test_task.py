"""The moves of a task: a table that the database itself keeps, whatever asks it to move otherwise."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher import errors
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.task import FINAL, IN_FLIGHT, TRANSITIONS, State
from tests.support.bookkeeping import (
    ACCEPTED,
    NOW,
    PICTURE,
    a_ledger,
    a_result,
    blank_ledger,
    equals_its_rows,
    in_virtual_time,
)

PAIRS = list(product(State, State))


def test_every_state_has_its_row_and_leads_to_an_end() -> None:
    assert set(TRANSITIONS) == set(State)
    for state in State:
        reached, waiting = set(), [state]
        while waiting:
            here = waiting.pop()
            if here not in reached:
                reached.add(here)
                waiting += TRANSITIONS[here]
        assert reached >= FINAL, f"{state} must be able to end"


def test_a_task_is_planned_in_flight_or_at_its_end() -> None:
    assert IN_FLIGHT | FINAL | {State.PLANNED} == set(State)
    assert not IN_FLIGHT & FINAL
    assert State.SUBMITTING in TRANSITIONS[State.PLANNED]
    assert not any(State.SUBMITTING in TRANSITIONS[state] for state in State if state is not State.PLANNED)
    assert not any(state in TRANSITIONS[state] for state in State)


# --- raw SQL

SUBMISSION = {
    State.PLANNED: None,
    State.FAILED: 1,
    **dict.fromkeys((State.SUBMITTING, State.DOUBTFUL, State.SUBMITTED, State.READY, State.DONE), 1),
    State.REJECTED: 1,
}


def why(state: State) -> tuple[str | None, str | None, float | None]:
    """The reason, who rejected it and when, as a task in this state has them."""
    reason = "X: y" if state in (State.FAILED, State.REJECTED) else None
    return (reason, "person", 1.0) if state is State.REJECTED else (reason, None, None)


def a_row(connection: sqlite3.Connection, state: State) -> None:
    """A task in `state`, with everything that any move of it could need."""
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("INSERT INTO runs (started_at) VALUES (0)")
    connection.execute(
        "INSERT INTO tasks (id, key, name, name_key, plan, images, repeat, params, columns, media, state, "
        "submission, reason, rejected_by, rejected_at) "
        "VALUES (1, 'k', 'n', 'n', 1, 1, 0, '{}', '{}', '{}', ?, ?, ?, ?, ?)",
        (state, SUBMISSION[state], *why(state)),
    )
    connection.execute(
        "INSERT INTO submissions (id, task, run, attempt, api, submitted_at, request_id, images) "
        "VALUES (1, 1, 1, 1, 'v2', 0, 'r', 1)"
    )
    connection.execute(
        "INSERT INTO files (task, position, submission, url, name, sha256, delivered_at) "
        "VALUES (1, 0, 1, 'http://x', 'a.png', 'd', 0)"
    )


@pytest.mark.parametrize(("origin", "target"), PAIRS)
def test_the_database_refuses_every_move_that_the_table_does_not_allow(origin: State, target: State) -> None:
    connection = blank_ledger()
    a_row(connection, origin)
    move = "UPDATE tasks SET state = ?, submission = ?, reason = ?, rejected_by = ?, rejected_at = ?"
    values = (target, SUBMISSION[target], *why(target))
    if target in TRANSITIONS[origin] or target is origin:
        connection.execute(move, values)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="may not move that way"):
            connection.execute(move, values)
    now = target if target in TRANSITIONS[origin] else origin
    assert connection.execute("SELECT state FROM tasks").fetchone() == (now,)
    connection.close()


NONSENSE = [
    ("planned", "UPDATE tasks SET state = 'submitting'"),
    ("planned", "UPDATE tasks SET submission = 1"),
    ("planned", "UPDATE tasks SET reason = 'x'"),
    ("planned", "UPDATE tasks SET state = 'failed'"),
    ("planned", "UPDATE tasks SET state = 'paid'"),
    ("planned", "UPDATE tasks SET state = NULL"),
    ("planned", "UPDATE tasks SET images = 0"),
    ("submitting", "UPDATE submissions SET request_id = NULL; UPDATE tasks SET state = 'submitted'"),
    ("submitting", "DELETE FROM files; UPDATE tasks SET state = 'ready'"),
    ("submitted", "UPDATE tasks SET submission = NULL"),
    ("submitted", "UPDATE tasks SET state = 'planned'"),
    ("ready", "UPDATE files SET delivered_at = NULL; UPDATE tasks SET state = 'done'"),
    ("ready", "UPDATE files SET sha256 = NULL"),
    ("ready", "UPDATE files SET folder = 'elsewhere'"),
    ("done", "UPDATE files SET delivered_at = NULL; UPDATE tasks SET state = 'rejected', reason = 'x'"),
    ("done", "UPDATE tasks SET state = 'rejected', reason = 'x'"),
    ("done", "UPDATE tasks SET state = 'rejected', rejected_by = 'person', rejected_at = 1"),
    ("done", "UPDATE tasks SET rejected_by = 'person', rejected_at = 1"),
    ("rejected", "UPDATE tasks SET state = 'done', reason = NULL"),
    ("rejected", "UPDATE tasks SET rejected_at = NULL"),
    ("ready", "UPDATE files SET url = NULL"),
    ("failed", "UPDATE tasks SET state = 'planned', submission = NULL"),
    ("submitted", "UPDATE submissions SET outcome = 'completed'"),
    ("submitted", "UPDATE submissions SET outcome = 'free'"),
    ("submitted", "UPDATE submissions SET cost = -1"),
    ("submitted", "UPDATE submissions SET cost = 0.5"),
    ("submitted", "UPDATE submissions SET status_url = 'x'"),
    ("submitted", "UPDATE submissions SET run = 99"),
    ("submitted", "UPDATE submissions SET task = 99"),
]


@pytest.mark.parametrize(("state", "script"), NONSENSE)
def test_nonsense_cannot_be_stored(state: str, script: str) -> None:
    connection = blank_ledger()
    a_row(connection, State(state))
    *before, last = script.split("; ")
    for statement in before:
        connection.execute(statement)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(last)
    connection.close()


# --- the ledger's own moves

Move = Callable[[Ledger, TaskEntry, random.Random], TaskEntry]


def _deliver(ledger: Ledger, entry: TaskEntry, chance: random.Random) -> TaskEntry:
    for file in ledger.files(entry):
        ledger.named(entry, file.position, f"{entry.id}-{file.position}.png", "0" * 64)
        ledger.delivered(entry, file.position, size=1, width=1, height=1)
    return ledger.done(entry)


def _rejected(ledger: Ledger, entry: TaskEntry, chance: random.Random) -> TaskEntry:
    for file in ledger.files(entry):
        ledger.named(entry, file.position, f"{entry.id}-{file.position}.png", "0" * 64)
        ledger.delivered(entry, file.position, size=1, width=1, height=1)
    return ledger.rejected(entry, "blank", "blank")


def _ready(ledger: Ledger, entry: TaskEntry, chance: random.Random) -> TaskEntry:
    result = a_result(chance.choice([None, 0.0, 0.01, 0.07, 3.0]), *[PICTURE] * entry.task.images)
    return ledger.ready(entry, result, [(output, None) for output in result.outputs])


def _failed(ledger: Ledger, entry: TaskEntry, chance: random.Random) -> TaskEntry:
    outcome = chance.choice(["refused", "gateway", "doubtful", "failed", "lost", "completed", None])
    if outcome is None and entry.submission is not None and entry.submission.outcome == "open":
        outcome = "failed"
    cost = chance.choice([None, 0.02]) if outcome == "completed" else None
    return ledger.failed(entry, "X: y", None if entry.submission is None else outcome, cost=cost)


MOVES: dict[State, Move] = {
    State.SUBMITTING: lambda ledger, entry, chance: ledger.submitting(
        entry, api="v2", reserved=chance.choice([0, 10_000])
    ),
    State.SUBMITTED: lambda ledger, entry, chance: ledger.submitted(entry, ACCEPTED),
    State.DOUBTFUL: lambda ledger, entry, chance: ledger.doubtful(entry, "cut"),
    State.READY: _ready,
    State.DONE: _deliver,
    State.REJECTED: _rejected,
    State.FAILED: _failed,
    State.PLANNED: lambda ledger, entry, chance: ledger.planned(
        entry, chance.choice(["refused", "gateway", "doubtful", "failed", "lost"]), "why"
    ),
}


@pytest.mark.parametrize(
    ("origin", "target"), [pair for pair in PAIRS if pair[1] not in TRANSITIONS[pair[0]]]
)
async def test_a_move_that_may_not_be_changes_nothing(tmp_path: Path, origin: State, target: State) -> None:
    chance = random.Random(1)
    with a_ledger(tmp_path / "l") as ledger:
        entry = led_to(ledger, origin)
        before = snapshot(ledger)
        with pytest.raises(errors.LedgerError, match="may not go"):
            MOVES[target](ledger, entry, chance)
        if target not in (State.DONE, State.REJECTED):
            assert snapshot(ledger) == before
        equals_its_rows(ledger)


@pytest.mark.parametrize("target", list(State))
async def test_a_move_of_a_task_that_another_process_moved_changes_nothing(
    tmp_path: Path, target: State
) -> None:
    origin = next(state for state in State if target in TRANSITIONS[state] and state is not State.DONE)
    with a_ledger(tmp_path / "l") as ledger:
        entry = led_to(ledger, origin)
        elsewhere = next(state for state in TRANSITIONS[origin] if state is not target)
        MOVES[elsewhere](ledger, entry, random.Random(1))
        before = snapshot(ledger)
        with pytest.raises(errors.StaleTask, match="no longer"):
            MOVES[target](ledger, entry, random.Random(1))
        if target not in (State.DONE, State.REJECTED):
            assert snapshot(ledger) == before
        equals_its_rows(ledger)


def led_to(ledger: Ledger, state: State) -> TaskEntry:
    """The first task, brought into `state` by moves that may be."""
    ways = {
        State.PLANNED: [],
        State.SUBMITTING: [State.SUBMITTING],
        State.DOUBTFUL: [State.SUBMITTING, State.DOUBTFUL],
        State.SUBMITTED: [State.SUBMITTING, State.SUBMITTED],
        State.READY: [State.SUBMITTING, State.SUBMITTED, State.READY],
        State.DONE: [State.SUBMITTING, State.SUBMITTED, State.READY, State.DONE],
        State.REJECTED: [State.SUBMITTING, State.SUBMITTED, State.READY, State.REJECTED],
        State.FAILED: [State.SUBMITTING, State.FAILED],
    }
    entry = ledger.entry(1)
    for step in ways[state]:
        entry = MOVES[step](ledger, entry, random.Random(1))
    return entry


def snapshot(ledger: Ledger) -> list[object]:
    rows = [
        ledger.connection.execute(f"SELECT * FROM {name}").fetchall()
        for name in ("tasks", "submissions", "files")
    ]
    return [*rows, ledger.money, dict(ledger.counts), ledger.images]


@given(st.integers(0, 10**9), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_wherever_tasks_walk_the_totals_equal_a_count_over_the_rows(
    seed: int, tasks: int, images: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        in_virtual_time(_walk(Path(folder) / "ledger", random.Random(seed), tasks, images))


async def _walk(path: Path, chance: random.Random, tasks: int, images: int) -> None:
    before = None
    for _ in range(3):
        with a_ledger(path, tasks, images=images) as ledger:
            if before is not None:
                assert (ledger.money, ledger.images) == before, "reopened, it must know the same"
            equals_its_rows(ledger)
            ledger.mark_interrupted()
            entries = [ledger.entry(n) for n in range(1, tasks + 1)]
            for _ in range(25):
                which = chance.randrange(tasks)
                entry = entries[which]
                targets = sorted(TRANSITIONS[entry.state]) if entry.state is not State.FAILED else []
                if entry.state is State.FAILED and chance.random() < 0.3:
                    ledger.retry_failed()
                    entries = [ledger.entry(n) for n in range(1, tasks + 1)]
                elif targets:
                    target = chance.choice(targets)
                    entries[which] = MOVES[target](ledger, entry, chance)
                    assert entries[which].state is target
                    read = ledger.entry(entry.id)
                    assert (read.state, read.attempts) == (target, entries[which].attempts)
                ledger.count_call(chance.choice(["submit", "status", "throttled"]))
                equals_its_rows(ledger)
            ledger.end_run()
            assert ledger.money.spent >= 0
            before = (ledger.money, ledger.images)


def test_the_table_in_the_database_is_the_table_in_the_code() -> None:
    connection = blank_ledger()
    rows = set(connection.execute("SELECT origin, target FROM transitions"))
    assert rows == {(origin.value, target.value) for origin in State for target in TRANSITIONS[origin]}
    assert NOW > 0
    connection.close()
