"""Without a terminal: a line a minute, and JSON for machines."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from batcher.progress import Event, Finished, Message, Planning, Snapshot, Started, StateChanged
from batcher.progress.lines import JsonLines, Lines, Log
from batcher.task import State
from tests.support.scenes import COMMAND, MIDDLE, STARTED, counts, course, ended

NOON = 1_767_614_400.0


def now() -> float:
    return NOON


def lines_of(events: Iterable[Event], *, quiet: bool = False) -> list[str]:
    stream = io.StringIO()
    listener = Lines(stream, command=COMMAND, now=now, quiet=quiet)
    for event in events:
        listener(event)
    return stream.getvalue().splitlines()


def objects_of(events: Iterable[Event]) -> list[dict[str, Any]]:
    stream = io.StringIO()
    listener = JsonLines(stream, now=now)
    for event in events:
        listener(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def at(seconds: float, **changes: Any) -> Snapshot:
    return replace(MIDDLE, elapsed=seconds, **changes)


def test_the_start_is_one_line() -> None:
    assert lines_of([STARTED]) == [
        "2026-01-05T12:00:00Z streets: sd1.5-outpaint, 1,000 tasks: 1,000 new, 0 done; into out/streets"
    ]
    resumed = replace(STARTED, new=3, done=990, in_flight=2, failed=5)
    assert "1,000 tasks: 3 new, 990 done, 2 in flight, 5 failed; into" in lines_of([resumed])[0]
    assert (
        "3 new, 990 done, 2 in flight, 5 failed; 1 of the new ones this time; into"
        in (lines_of([replace(resumed, submits=1)])[0])
    )


def test_a_part_of_the_plan_is_told_as_that_part() -> None:
    part = at(60, this_time=counts(planned=1, submitted=1, done=2))
    (line,) = lines_of([part])
    assert "1:00, 50 % of 4 this time; 1 planned, 1 in flight, 0 fetching, 2 done, 0 failed; " in line


def test_a_line_a_minute_of_the_runs_own_time() -> None:
    quarter_seconds = (at(tick / 4) for tick in range(4 * 301))
    assert len(lines_of(quarter_seconds)) == 5


def test_a_silence_of_many_minutes_is_one_line() -> None:
    written = lines_of([at(61.0), at(600.5), at(601.0), at(659.9), at(660.0)])
    assert [line.split(": ")[1].split(",")[0] for line in written] == ["1:01", "10:00", "11:00"]


def test_the_line_has_every_fact() -> None:
    (line,) = lines_of([MIDDLE])
    assert line == (
        "2026-01-05T12:00:00Z streets: 10:41, 61 % of 1,000; "
        "324 planned, 48 in flight, 12 fetching, 608 done, 8 failed; "
        "57.3 images/min, limit 60 a minute, 3.1 calls/image, 2 x 429, "
        "up to 83 in flight (auto); "
        "15.20 credits spent, about 24.85 in all, 1.20 reserved, 0.05 doubtful; "
        "left: 6 to 7 min; at the limit of 60 a minute"
    )


def test_a_stop_is_told_at_once_and_once() -> None:
    written = lines_of([at(5.0), at(6.0, stopping="SIGTERM"), at(7.0, stopping="SIGTERM")])
    assert len(written) == 1
    assert "stopping: SIGTERM" in written[0]


def test_notes_are_lines_with_their_level() -> None:
    assert [
        line.split(" ", 1)[1] for line in lines_of([Message("look out"), Message("by the way", "info")])
    ] == [
        "warning: look out",
        "by the way",
    ]


def test_foreign_text_cannot_forge_a_line() -> None:
    (line,) = lines_of([Message("bad file \x1b[2J\nstreets: all done")])
    assert "\x1b" not in line


def test_the_end_is_the_summary_with_the_command() -> None:
    headline, *rest = lines_of(
        [STARTED, ended(3, counts=counts(done=992, failed=8), failures={"FAILED: x": 8})]
    )[1:]
    assert headline.startswith("2026-01-05T12:00:00Z streets: finished with failures, 992 of 1,000")
    assert "  failed   8 x FAILED: x" in rest
    assert "  images   out/streets/images" in rest
    assert rest[-1] == f"           {COMMAND} --retry-failed"


def test_planning_and_moves_make_no_lines() -> None:
    assert lines_of([Planning(5000), StateChanged("a", "k", State.READY, State.DONE)]) == []


def test_quiet_says_nothing_about_a_run_that_goes_well() -> None:
    assert lines_of([STARTED, *course(), Message("look out"), ended(0)], quiet=True) == []


def test_quiet_tells_errors_and_a_bad_end() -> None:
    written = lines_of([STARTED, Message("it broke", "error"), ended(5, "DOWN: x")], quiet=True)
    assert "error: it broke" in written[0]
    assert [line for line in written if "exit" in line] == ["  exit     code 5"]


def test_an_output_that_knows_only_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Lines(stream, command=COMMAND, now=now)(Message("café-冬.jpg"))
    assert b"caf?-?.jpg" in raw.getvalue()


class GonePipe(io.StringIO):
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise BrokenPipeError


@pytest.mark.parametrize(
    "make", [lambda s: Lines(s, command=COMMAND, now=now), lambda s: JsonLines(s, now=now)]
)
def test_a_reader_who_is_gone_does_not_stop_the_run(make: Any) -> None:
    stream = GonePipe()
    listener = make(stream)
    listener(STARTED)
    listener(ended(0))
    assert stream.writes == 1


def test_json_has_one_object_per_event_named_and_stamped() -> None:
    events: list[Event] = [
        Planning(12),
        STARTED,
        StateChanged("a", "k1", State.SUBMITTED, State.FAILED, "FAILED: x"),
        Message("look out"),
        MIDDLE,
        ended(3, "why"),
    ]
    found = objects_of(events)
    assert [item["event"] for item in found] == [
        "planning",
        "started",
        "state_changed",
        "message",
        "snapshot",
        "finished",
    ]
    assert {item["ts"] for item in found} == {"2026-01-05T12:00:00.000Z"}
    assert datetime.fromisoformat(found[0]["ts"]).timestamp() == NOON
    assert found[0]["tasks"] == 12
    assert found[2] | {"ts": 0} == {
        "ts": 0,
        "event": "state_changed",
        "task": "a",
        "key": "k1",
        "origin": "submitted",
        "target": "failed",
        "reason": "FAILED: x",
    }
    assert found[3]["text"] == "look out"
    assert found[3]["level"] == "warning"


@pytest.mark.parametrize("event", [STARTED, MIDDLE, ended(0)])
def test_json_carries_every_field_of_an_event(event: Started | Snapshot | Finished) -> None:
    (found,) = objects_of([event])
    assert set(found) == {"ts", "event"} | {item.name for item in fields(event)}


def test_json_counts_have_the_words_of_the_states() -> None:
    snapshot, finished = objects_of([MIDDLE, ended(0)])
    assert set(snapshot["counts"]) == {state.value for state in State}
    assert snapshot["counts"]["done"] == 608
    assert finished["snapshot"]["counts"]["done"] == 1000
    assert finished["causes"] == []


def test_json_has_null_for_what_is_not_finite() -> None:
    (found,) = objects_of([replace(MIDDLE, projected=float("nan"), eta_high=float("inf"))])
    assert found["projected"] is None
    assert found["eta_high"] is None


def test_json_is_one_line_whatever_the_text_holds() -> None:
    (found,) = objects_of([Message("two\nlines \u2028 and \ud800 half a pair")])
    assert found["text"].startswith("two\nlines")


def test_json_is_flushed_line_by_line() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    JsonLines(stream, now=now)(Planning(1))
    assert raw.getvalue().endswith(b"\n")


def test_the_log_keeps_what_people_are_told_and_what_did_not_go_its_way(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for night in range(2):
        log = Log(path, now=now)
        log(Planning(3))
        log(Message("a row was left out"))
        log(Started("streets", "a-model", "out/streets", 3, 3))
        log(StateChanged("rome", "k", State.PLANNED, State.SUBMITTING))
        log(StateChanged("rome", "k", State.SUBMITTED, State.FAILED, "FAILED: out of memory"))
        log(Message(f"night {night}"))
        log.close()
        log(Message("too late"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["message", "started", "state_changed", "message"] * 2
    assert [line["text"] for line in lines if line["event"] == "message"] == [
        "a row was left out", "night 0", "a row was left out", "night 1"
    ]  # fmt: skip
    assert lines[2]["reason"] == "FAILED: out of memory"


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path / "nowhere" / "log.jsonl", now=now)
    log(Started("streets", "a-model", "out/streets", 3, 3))
    log(Message("on"))
    log.close()
    assert list(tmp_path.iterdir()) == []
