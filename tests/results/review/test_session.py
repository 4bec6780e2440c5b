"""A review: decisions at once, records when there is time, and a crash between the two."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batcher import errors
from batcher.cli import ended
from batcher.ledger import database, stale_records
from batcher.results import report
from batcher.results.review import ReviewSession, keep, who
from batcher.results.verify import check_output
from batcher.storage import layout, lock
from tests.support.bookkeeping import in_virtual_time
from tests.support.shelf import Shelf

AT = 1_795_000_000.0


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Four delivered pictures, and their records."""
    made = Shelf(tmp_path)
    made.deliver(*(made.variant(f"p{n}", None) for n in range(4)), job="shelf")
    report.write(report.of_folder(made.output, now=AT))
    return made


@pytest.fixture
def session(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> ReviewSession:
    monkeypatch.setattr(who.getpass, "getuser", lambda: "anna")
    return ReviewSession(shelf.output, now=lambda: AT)


def rows(shelf: Shelf, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(layout.ledger_path(shelf.output))) as connection:
        return connection.execute(query).fetchall()


def numbers(shelf: Shelf) -> list[int]:
    return [int(str(number)) for (number,) in rows(shelf, "SELECT id FROM tasks ORDER BY id")]


def named(shelf: Shelf, folder: str) -> list[str]:
    return sorted(path.name for path in (shelf.output / folder).glob("*"))


def told(shelf: Shelf, name: str) -> list[str]:
    lines = (shelf.output / name).read_text().splitlines()
    return [json.loads(line)["file_name"] for line in lines]


def findings(shelf: Shelf) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    async def look() -> None:
        checked = await check_output(shelf.output)
        found.extend((finding.path, finding.why) for finding in checked.findings)

    in_virtual_time(look())
    return found


def test_a_decision_is_in_the_ledger_and_its_file_in_its_place_and_the_records_come_later(
    shelf: Shelf, session: ReviewSession
) -> None:
    one, two, *_ = numbers(shelf)
    assert session.decide(one, "reject", "a  third\narm").status.reason == "a third arm"
    session.decide(two, "keep")
    assert named(shelf, "rejected") == ["p0.png"]
    assert len(told(shelf, "metadata.jsonl")) == 4, "not yet"
    assert session.records_are_stale()
    assert session.write_records()
    assert told(shelf, "rejected.jsonl") == ["rejected/p0.png"]
    assert len(told(shelf, "metadata.jsonl")) == 3
    assert not session.records_are_stale()
    assert rows(shelf, "SELECT * FROM reviews") == [(one, AT, "anna"), (two, AT, "anna")]
    assert (session.progress().tasks, session.progress().looked_at, session.progress().rejected) == (4, 2, 1)
    assert findings(shelf) == []


def test_decisions_are_taken_back_one_by_one_to_the_row(shelf: Shelf, session: ReviewSession) -> None:
    one, *_ = numbers(shelf)
    everything = "SELECT id, state, reason, rejected_by, rejected_at FROM tasks"
    before = rows(shelf, everything), rows(shelf, "SELECT * FROM reviews")
    session.decide(one, "keep")
    session.decide(one, "reject", "dark")
    session.decide(one, "reject", "blurred")
    session.decide(one, "reject")
    assert rows(shelf, "SELECT reason FROM tasks WHERE state = 'rejected'") == [("blurred",)]
    assert session.take_back().status.reason == "blurred"
    assert session.take_back().status.reason == "dark"
    assert session.take_back().status.state == "done"
    assert rows(shelf, "SELECT task FROM reviews") == [(one,)]
    session.take_back()
    assert (rows(shelf, everything), rows(shelf, "SELECT * FROM reviews")) == before
    assert named(shelf, "images") == ["p0.png", "p1.png", "p2.png", "p3.png"]
    with pytest.raises(errors.UsageError, match="no decision is left"):
        session.take_back()


def test_a_replacement_is_asked_for_and_that_is_taken_back(shelf: Shelf, session: ReviewSession) -> None:
    one, *_ = numbers(shelf)
    wanted = "SELECT state, reason, redo_wanted FROM tasks WHERE id = " + str(one)
    session.decide(one, "redo", "dark")
    assert rows(shelf, wanted) == [("rejected", "dark", 1)]
    session.take_back()
    assert rows(shelf, wanted) == [("done", None, 0)]
    session.decide(one, "reject", "dark")
    session.decide(one, "redo")
    assert rows(shelf, wanted) == [("rejected", "dark", 1)]
    session.take_back()
    assert rows(shelf, wanted) == [("rejected", "dark", 0)]
    assert session.take_back().has_another is False


def test_where_another_would_be_the_same_none_is_asked_for(shelf: Shelf) -> None:
    with closing(sqlite3.connect(layout.ledger_path(shelf.output))) as connection, connection:
        connection.execute("INSERT INTO meta VALUES ('draws', '0')")
    session = ReviewSession(shelf.output, now=lambda: AT)
    assert not session.can_redo
    with pytest.raises(errors.UsageError, match="would buy the same picture"):
        session.decide(numbers(shelf)[0], "redo")
    assert named(shelf, "rejected") == []


def test_what_a_check_rejected_and_a_person_kept_is_the_checks_again_when_that_is_taken_back(
    shelf: Shelf, session: ReviewSession
) -> None:
    one, *_ = numbers(shelf)
    with closing(sqlite3.connect(layout.ledger_path(shelf.output), isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO picture_checks (task, position, sha256, is_compared, rejected_by, reason) "
            "VALUES (?, 0, 'd', 0, 'blank', 'nearly one colour')",
            (one,),
        )
        connection.execute(
            "UPDATE tasks SET state = 'rejected', reason = 'nearly one colour', rejected_by = 'blank', "
            "rejected_at = 7 WHERE id = ?",
            (one,),
        )
    session.decide(one, "keep")
    assert rows(shelf, "SELECT rejected_by FROM picture_checks") == [(None,)]
    session.take_back()
    assert rows(shelf, "SELECT rejected_by, reason FROM picture_checks") == [("blank", "nearly one colour")]
    stands = rows(shelf, "SELECT rejected_by, rejected_at FROM tasks WHERE state = 'rejected'")
    assert stands == [("blank", 7.0)]
    assert rows(shelf, "SELECT * FROM reviews") == []
    session.decide(one, "reject")  # it is confirmed, and its reason stays
    assert rows(shelf, "SELECT reason, rejected_by FROM tasks WHERE state = 'rejected'") == [
        ("nearly one colour", "blank")
    ]


def test_what_somebody_else_decided_since_is_not_taken_back(shelf: Shelf, session: ReviewSession) -> None:
    one, *_ = numbers(shelf)
    session.decide(one, "reject", "dark")
    keep(shelf.output, ["p0"], now=lambda: AT + 1)
    with pytest.raises(errors.UsageError, match="somebody else decided"):
        session.take_back()
    assert named(shelf, "rejected") == []


def test_a_task_without_a_picture_is_refused(shelf: Shelf, session: ReviewSession) -> None:
    with pytest.raises(errors.UsageError, match="not of this job"):
        session.decide(10**9, "keep")


def test_a_review_that_is_killed_leaves_stale_records_which_the_next_one_writes(
    shelf: Shelf, session: ReviewSession
) -> None:
    session.decide(numbers(shelf)[0], "reject")
    del session  # killed: neither records nor anything else
    assert "metadata.jsonl" in {path for path, _ in findings(shelf)}
    again = ReviewSession(shelf.output, now=lambda: AT)
    assert again.records_are_stale()
    assert again.write_records()
    assert findings(shelf) == []


def test_a_reason_that_was_never_written_down_is_found_by_verify(
    shelf: Shelf, session: ReviewSession
) -> None:
    one, *_ = numbers(shelf)
    session.decide(one, "reject", "dark")
    session.write_records()
    session.decide(one, "reject", "blurred")
    assert findings(shelf) == [("rejected.jsonl", "does not tell of the last decision")]
    assert ended(["verify", str(shelf.output), "--repair"]) == 0
    assert json.loads((shelf.output / "rejected.jsonl").read_text())["reason"] == "blurred"
    assert findings(shelf) == []


def test_a_command_that_changes_nothing_writes_what_is_stale(shelf: Shelf, session: ReviewSession) -> None:
    session.decide(numbers(shelf)[0], "reject")
    assert ended(["reject", str(shelf.output), "p0"]) == 0
    assert not session.records_are_stale()
    assert told(shelf, "rejected.jsonl") == ["rejected/p0.png"]


def test_beside_a_run_the_records_are_left_to_it(shelf: Shelf, session: ReviewSession) -> None:
    with lock.hold(layout.lock_path(shelf.output), since="now"):
        session.decide(numbers(shelf)[0], "reject")
        assert not session.write_records()
        assert session.records_are_stale()
    assert session.write_records(page=True)


def test_a_decision_that_comes_while_the_records_are_written_leaves_them_stale(
    shelf: Shelf, session: ReviewSession
) -> None:
    with closing(database.open_file(layout.ledger_path(shelf.output))) as connection:
        with database.transaction(connection):
            stale_records.note_decision(connection)
        seen = stale_records.last_unwritten(connection)
        with database.transaction(connection):
            stale_records.note_decision(connection)
        stale_records.note_written(connection, seen)
        assert stale_records.last_unwritten(connection) == seen + 1
        stale_records.note_written(connection, seen + 1)
        stale_records.note_written(connection, seen)
        assert stale_records.last_unwritten(connection) == 0


def test_a_picture_that_is_made_anew_is_looked_at_anew(shelf: Shelf, session: ReviewSession) -> None:
    one, *_ = numbers(shelf)
    session.decide(one, "keep")
    with closing(sqlite3.connect(layout.ledger_path(shelf.output), isolation_level=None)) as connection:
        connection.execute("UPDATE tasks SET state = 'planned', submission = NULL WHERE id = ?", (one,))
    assert rows(shelf, "SELECT * FROM reviews") == []


def test_people_s_reasons_are_offered_again_and_no_check_s(shelf: Shelf, session: ReviewSession) -> None:
    one, two, three, four = numbers(shelf)
    for task, reason in ((one, "dark"), (two, "blurred"), (three, "blurred"), (four, "")):
        session.decide(task, "reject", reason)
    offered = ReviewSession(shelf.output, now=lambda: AT).reasons
    assert offered[:3] == ["blurred", "dark", "artefacts"]
    assert len(offered) == len(set(offered)) <= 9
    assert ReviewSession(shelf.output, now=lambda: AT, reasons=["a  b"]).reasons == ["a b"]


@pytest.mark.parametrize("output", ["none", "empty"])
def test_a_job_without_pictures_is_a_sentence(tmp_path: Path, output: str) -> None:
    folder = tmp_path / output
    if output == "empty":
        database.open_file(layout.ledger_path(folder)).close()
    with pytest.raises(errors.UsageError, match=r"nothing was run yet|no picture to look at yet"):
        ReviewSession(folder, now=lambda: AT)
