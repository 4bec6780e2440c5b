"""The lines of metadata.jsonl and errors.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batcher.api.wire import Output
from batcher.ledger import records
from batcher.ledger.ledger import Ledger
from batcher.results.export.items import OriginalPicture, source_of
from tests.support.bookkeeping import ACCEPTED, NOW, PICTURE, a_result, a_task


@pytest.fixture
async def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", now=lambda: NOW)
    opened.set_meta("model", "a-model")
    yield opened
    opened.close()


def delivered(
    ledger: Ledger, *outputs: Output, told: dict[str, Any] | None = None, **task: Any
) -> list[dict[str, Any]]:
    """The metadata lines of one task, by the way that every task goes."""
    ledger.plan([a_task(1, images=len(outputs) or 1, **task)], json.dumps(task, default=str))
    ledger.start_run()
    entry = ledger.submitted(ledger.submitting(ledger.next_planned(0, 1)[0], api="v2", reserved=0), ACCEPTED)
    result = a_result(0.03, *outputs, **(told or {}))
    entry = ledger.ready(entry, result, [(output, None) for output in result.outputs])
    for file in ledger.files(entry):
        name = "rome.png" if len(result.outputs) == 1 else f"rome-{file.position}.png"
        ledger.named(entry, file.position, name, "0" * 64)
        ledger.delivered(entry, file.position, size=9, width=640, height=480)
    finished = ledger.done(entry)
    ledger.record_source_facts(finished)
    return ledger.metadata(finished)


async def test_a_line_says_where_a_picture_came_from_how_it_was_asked_for_and_what_it_cost(
    ledger: Ledger,
) -> None:
    (line,) = delivered(
        ledger,
        told={"seed": 7, "queue_time": 1.0, "inference_time": 2.0, "total_time": 3.0},
        columns={"image": "photos/rome.jpg", "place": "italy", "stem": "rome"},
        params={"image": "/abs/photos/rome.jpg", "prompt": "streets", "steps": 20},
        media={"image": "d" * 64},
    )
    assert next(iter(line)) == "file_name"
    assert line == {
        "file_name": "images/rome.png",
        "source_image": "photos/rome.jpg",
        "place": "italy",
        "stem": "rome",
        "prompt": "streets",
        "steps": 20,
        "model": "a-model",
        "seed": 7,
        "request_id": "r-1",
        "cost": 0.03,
        "submitted_at": NOW,
        "queue_time": 1.0,
        "inference_time": 2.0,
        "total_time": 3.0,
        "width": 640,
        "height": 480,
        "key": a_task(1).key,
        "sha256": "0" * 64,
    }
    json.dumps(line)


async def test_several_pictures_of_one_task_share_its_cost(ledger: Ledger) -> None:
    lines = delivered(ledger, PICTURE, PICTURE, PICTURE)
    assert [line["file_name"] for line in lines] == [f"images/rome-{n}.png" for n in range(3)]
    assert [line["cost"] for line in lines] == [0.01] * 3


async def test_a_column_whose_name_is_taken_becomes_a_source_of_its_own(ledger: Ledger) -> None:
    (line,) = delivered(
        ledger,
        columns={
            "model": "T",
            "cost": 5,
            "prompt": "streets in {{ x }}",
            "steps": 20,
            "file_name": "x.png",
            "seed": 1,
        },
        params={"prompt": "streets in rome", "steps": 20},
    )
    assert (line["source_model"], line["source_cost"], line["source_seed"]) == ("T", 5, 1)
    assert (line["prompt"], line["source_prompt"]) == ("streets in rome", "streets in {{ x }}")
    assert line["steps"] == 20
    assert "source_steps" not in line
    assert (line["file_name"], line["source_file_name"]) == ("images/rome.png", "x.png")


async def test_a_parameter_named_as_the_file_does_not_take_its_place(ledger: Ledger) -> None:
    (line,) = delivered(ledger, params={"file_name": "../../etc/passwd", "prompt": "x"}, columns={})
    assert next(iter(line.items())) == ("file_name", "images/rome.png")
    assert line["source_file_name"] == "../../etc/passwd"


async def test_a_picture_that_only_the_body_names_is_told_as_its_source(ledger: Ledger) -> None:
    (line,) = delivered(
        ledger, columns={}, params={"image": "http://x/a.png", "mask": "/m.png"}, media={"mask": "d"}
    )
    assert (line["source_image"], line["source_mask"]) == ("http://x/a.png", "/m.png")
    assert "image" not in line
    assert "mask" not in line


@pytest.mark.parametrize(
    ("told", "asked", "seed"),
    [
        (7, 1, 7),
        ("7", 1, 7),
        ("-7", 1, -7),
        ("seven", 1, "seven"),
        ("²", 1, "²"),
        ("--5", 1, "--5"),
        ("٣", 1, "٣"),
        ("9" * 5000, 1, "9" * 5000),
        (None, 1, 1),
        (None, None, None),
    ],
)
async def test_the_seed_is_the_one_that_was_used_else_the_one_asked_for(
    ledger: Ledger, told: Any, asked: Any, seed: Any
) -> None:
    params = {"prompt": "x"} if asked is None else {"prompt": "x", "seed": asked}
    (line,) = delivered(ledger, told={"seed": told}, params=params, columns={})
    assert line["seed"] == seed


async def test_a_line_for_each_task_that_was_tried_and_is_not_delivered(ledger: Ledger) -> None:
    ledger.plan([a_task(n, columns={"place": "italy"}) for n in range(4)], "")
    ledger.start_run()
    entry = ledger.planned(ledger.submitting(ledger.entry(1), api="v2", reserved=0), "gateway", "502")
    entry = ledger.submitted(ledger.submitting(entry, api="v2", reserved=0), ACCEPTED)
    entry = ledger.planned(entry, "lost", "gone")
    entry = ledger.submitted(ledger.submitting(entry, api="v2", reserved=0), ACCEPTED)
    failed = ledger.failed(entry, "NO_PICTURE: x", "completed", cost=0.05)
    ledger.doubtful(ledger.submitting(ledger.entry(2), api="v2", reserved=0), "no answer in time")
    ledger.failed(ledger.entry(3), "NOT_AN_IMAGE: /a.png: the file is empty")
    (line,) = ledger.missed(failed)
    assert line == {
        "name": "n0",
        "key": a_task(0).key,
        "state": "failed",
        "reason": "NO_PICTURE: x",
        "attempts": 2,
        "cost": {"spent": 0.05, "doubtful": 0.05, "lost": 0.05},
        "request_ids": ["r-1", "r-1"],
        "columns": {"place": "italy"},
        "params": {"prompt": "p0"},
    }
    (doubt,) = ledger.missed(ledger.entry(2))
    assert (doubt["reason"], doubt["cost"]["doubtful"]) == ("no answer in time", 0.05)
    (never_sent,) = ledger.missed(ledger.entry(3))
    assert never_sent["request_ids"] == []
    assert ledger.missed(ledger.entry(4)) == [], "it was never tried"


async def test_a_list_of_pictures_goes_as_a_whole(ledger: Ledger) -> None:
    files = ["/p/a.png", "http://h/x.png"]
    (line,) = delivered(
        ledger, PICTURE, params={"images": files, "prompt": "x"}, media={"images.0": "a" * 64}
    )
    assert line["source_images"] == files
    assert "images" not in line
    (picture,) = records.pictures(ledger.connection)
    assert source_of(picture, None) == OriginalPicture("a" * 64, "/p/a.png")
