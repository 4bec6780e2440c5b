"""Answers that the ledger could not take: kept beside it, with room that was reserved, and read again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from batcher import errors
from batcher.api.wire import Output
from batcher.ledger import answer_file
from batcher.ledger.answer_file import Answer, AnswerFile
from batcher.ledger.ledger import Ledger
from tests.support.bookkeeping import (
    ACCEPTED,
    NOW,
    a_ledger,
    a_result,
    a_task,
    equals_its_rows,
    first,
    on_disk,
)

BEGUN = Answer("key", 1, 2, accepted=ACCEPTED)
ENDED = Answer(
    "other",
    3,
    4,
    result=a_result(0.02, Output(url="http://files/ü.png"), Output(data=b"bytes"), seed=7, request_id="r-9"),
    spool=(None, "4-1.bytes"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def kept(path: Path, *answers: Answer) -> None:
    file = AnswerFile(path)
    file.keep(answers)
    file.close()


def test_what_was_kept_is_read_again_whatever_it_is(path: Path) -> None:
    kept(path, BEGUN, ENDED)
    begun, ended = AnswerFile(path).read()
    assert begun == BEGUN
    assert (ended.request_id, ended.spool, ended.result.cost) == ("r-9", (None, "4-1.bytes"), 0.02)
    assert [output.url for output in ended.result.outputs] == ["http://files/ü.png", None]
    assert ended.result.outputs[1].data is None, "bytes of pictures lie in the spool"


def test_room_is_on_the_disk_before_it_is_needed_and_given_back(path: Path) -> None:
    file = AnswerFile(path)
    file.reserve()
    file.reserve()
    assert file.path.stat().st_blocks * 512 >= answer_file.RESERVED
    assert file.read() == []
    file.close()
    assert not file.path.exists()


def test_room_is_made_where_the_file_system_reserves_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refused)
    file = AnswerFile(path)
    file.reserve()
    assert file.path.stat().st_size == answer_file.RESERVED
    file.keep([BEGUN])
    assert AnswerFile(path).read() == [BEGUN]
    file.close()


def test_a_file_of_a_killed_process_has_its_room_behind_it_and_is_read_all_the_same(path: Path) -> None:
    AnswerFile(path).keep([BEGUN])
    assert (AnswerFile(path).path.stat().st_size, AnswerFile(path).read()) == (answer_file.RESERVED, [BEGUN])
    kept(path, ENDED)
    assert [answer.key for answer in AnswerFile(path).read()] == ["key", "other"]


def test_a_line_that_was_torn_takes_no_other_with_it(path: Path) -> None:
    kept(path, BEGUN)
    whole = AnswerFile(path).path.read_bytes()
    for length in range(len(whole)):
        AnswerFile(path).path.write_bytes(whole[:length])
        kept(path, ENDED)
        assert [answer.key for answer in AnswerFile(path).read()][-1] == "other"


def test_a_file_that_was_taken_away_is_made_anew(path: Path) -> None:
    file = AnswerFile(path)
    file.keep([BEGUN])
    file.path.unlink()
    file.keep([ENDED])
    assert [answer.key for answer in AnswerFile(path).read()] == ["other"]
    file.close()


async def test_no_intent_is_written_where_there_is_no_room_for_its_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with a_ledger(path) as ledger:
        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(errors.DiskError, match="No space left"):
            ledger.submitting(first(ledger), api="v2", reserved=5)
        await ledger.committed()
        equals_its_rows(ledger)
    assert on_disk(path, "SELECT count(*) FROM submissions") == [(0,)]
    assert not AnswerFile(path).path.exists()


async def test_where_they_cannot_be_kept_either_their_ids_are_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path, now=lambda: NOW)
    ledger.plan([a_task(1)], "a plan")
    ledger.start_run()
    entry = ledger.submitting(first(ledger), api="v2", reserved=5)
    await ledger.committed()
    ledger.connection.execute("PRAGMA query_only=ON")
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(errors.DiskError):
        ledger.submitted(entry, ACCEPTED)
    with pytest.raises(errors.DiskError, match=r"nor could the answers be kept.*r-1"):
        ledger.close()


async def test_only_answers_to_the_post_in_force_are_recorded(path: Path) -> None:
    with a_ledger(path, 4) as ledger:
        entries = [ledger.submitting(ledger.entry(n), api="v2", reserved=5) for n in (1, 2, 3)]
        answers = [
            Answer.to(entry, entry.submission, accepted=ACCEPTED._replace(request_id=f"r-{entry.id}"))
            for entry in entries
            if entry.submission is not None
        ]
        ledger.planned(entries[1], "refused", "429")
        strange = Answer("another task", 3, answers[2].submission, accepted=ACCEPTED)
    kept(path, answers[0], answers[1], strange, Answer("no task", 99, 99, accepted=ACCEPTED))
    with a_ledger(path) as ledger:
        assert ledger.recover_answers() == 1
        equals_its_rows(ledger)
        assert [ledger.entry(n).state for n in (1, 2, 3, 4)] == [
            "submitted",
            "planned",
            "submitting",
            "planned",
        ]
        assert not AnswerFile(path).path.exists()
        assert ledger.recover_answers() == 0
