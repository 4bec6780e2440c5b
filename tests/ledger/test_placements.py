"""Where a source lies in its picture: kept when the task is done, told the same ever after."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batcher.ledger import database, records, source_facts
from tests.support.shelf import Shelf


def lines(shelf: Shelf) -> list[dict[str, Any]]:
    with closing(database.open_for_reading(shelf.output / ".batcher" / "ledger.sqlite")) as connection:
        return list(records.delivered(connection))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_line_has_the_placement_and_the_boxes_even_when_the_source_is_gone(shelf: Shelf) -> None:
    photo = shelf.photo("a.png")
    shelf.deliver(shelf.variant("a", photo, boxes="[[8, 4, 16, 12]]", box_classes=["cat"]))
    photo.unlink()
    (line,) = lines(shelf)
    assert line["placement"] == {"x": 36, "y": 0, "width": 64, "height": 48}
    assert (line["boxes"], line["box_classes"]) == ([[44.0, 4.0, 16.0, 12.0]], ["cat"])
    assert (line["source_boxes"], line["source_box_classes"]) == ([[8.0, 4.0, 16.0, 12.0]], ["cat"])


@pytest.mark.parametrize("place", ["beside", "relative"])
def test_a_yolo_file_is_read_once_and_kept(shelf: Shelf, place: str) -> None:
    photo = shelf.photo("a.png")
    text = photo.with_suffix(".txt")
    text.write_text("2 0.5 0.5 0.5 0.5\n")
    shelf.deliver(shelf.variant("a", photo, labels=str(text) if place == "beside" else "a.txt"))
    text.unlink()
    (line,) = lines(shelf)
    assert (line["boxes"], line["box_classes"]) == ([[52.0, 12.0, 32.0, 24.0]], [2])
    assert "labels" not in line
    assert line["source_labels"].endswith("a.txt")


def test_a_yolo_file_that_cannot_be_read_is_told_with_its_line(shelf: Shelf) -> None:
    photo = shelf.photo("a.png")
    photo.with_suffix(".txt").write_text("0 1 2\n")
    shelf.deliver(shelf.variant("a", photo, labels="a.txt"), shelf.variant("b", photo, labels="gone.txt"))
    told = {line["prompt"]: line["labels_problem"] for line in lines(shelf)}
    assert told["a a"].endswith("a.txt: line 1: 3 values; a box is `class x y width height`")
    assert told["a b"].endswith("gone.txt: No such file or directory")


def test_labels_that_are_words_are_a_column_like_any_other(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), labels="cat, dog"))
    assert lines(shelf)[0]["labels"] == "cat, dog"


def test_boxes_are_never_claimed_for_a_picture_whose_geometry_is_not_known(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, model="some-model")
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[[8, 4, 16, 12]], mask="/m.png"))
    (line,) = lines(shelf)
    assert not {"boxes", "placement", "mask"} & line.keys()
    assert (line["source_boxes"], line["source_mask"]) == ([[8, 4, 16, 12]], "/m.png")


def test_a_source_that_is_not_the_one_that_was_sent_gives_no_placement(shelf: Shelf) -> None:
    photo = shelf.photo("a.png")
    task = shelf.variant("a", photo)
    Image.new("RGB", (64, 48), (1, 2, 3)).save(photo)
    shelf.deliver(task)
    assert "placement" not in lines(shelf)[0]


def test_a_rule_that_the_run_noted_goes_before_the_catalogue(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png")), geometry="")
    assert "placement" not in lines(shelf)[0]


def test_a_ledger_of_the_first_schema_is_read_as_it_is_and_migrated_when_it_is_opened(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png")))
    path = shelf.output / ".batcher" / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DROP TABLE source_pictures")
        raw.execute("DROP TABLE left_out")
        raw.execute("DROP TABLE passed_over")
        raw.execute("DROP TABLE picture_checks")
        raw.execute("DROP TRIGGER a_review_goes_with_its_picture")
        raw.execute("DROP TABLE reviews")
        raw.execute("DROP INDEX file_moves")
        raw.execute("DROP INDEX file_names")
        raw.execute("ALTER TABLE files DROP COLUMN folder")
        raw.execute("ALTER TABLE files DROP COLUMN moved_from")
        raw.execute("CREATE UNIQUE INDEX file_names ON files (name) WHERE name IS NOT NULL")
        raw.execute("DROP TRIGGER a_notice_goes_with_its_state")
        raw.execute("DROP TABLE task_notices")
        raw.execute("DROP TABLE row_notices")
        raw.execute("DROP INDEX task_roots")
        for column in ("redo", "replaces", "root", "redo_wanted"):
            raw.execute(f"ALTER TABLE tasks DROP COLUMN {column}")
        raw.execute("PRAGMA user_version=1")
        raw.commit()
    assert "placement" not in lines(shelf)[0]
    with closing(database.open_file(path)) as opened:
        opened.execute(source_facts.KEEP, (1, json.dumps({"width": 64, "height": 48})))
    assert lines(shelf)[0]["placement"]["x"] == 36


def test_outlines_masks_and_attributes_of_objects_go_with_their_boxes(shelf: Shelf) -> None:
    photo = shelf.photo("a.png")
    objects = {"bbox": [[8, 4, 16, 12]], "category": ["cat"], "segmentation": [[[8, 4, 24, 4, 24, 16]]]}
    shelf.deliver(shelf.variant("a", photo, objects={**objects, "iscrowd": [0]}))
    (line,) = lines(shelf)
    assert (line["boxes"], line["box_classes"]) == ([[44.0, 4.0, 16.0, 12.0]], ["cat"])
    assert line["box_polygons"] == [[[44.0, 4.0, 60.0, 4.0, 60.0, 16.0]]]
    assert line["source_box_polygons"] == [[[8.0, 4.0, 24.0, 4.0, 24.0, 16.0]]]
    assert line["box_attributes"] == line["source_box_attributes"] == [{"iscrowd": 0}]
    assert "objects" not in line
    assert line["source_objects"]["bbox"] == objects["bbox"]


def test_outlines_of_a_yolo_file_are_kept_and_carried(shelf: Shelf) -> None:
    photo = shelf.photo("a.png")
    photo.with_suffix(".txt").write_text("1 0.25 0.25 0.5 0.25 0.5 0.5\n")
    shelf.deliver(shelf.variant("a", photo, labels="a.txt"))
    (line,) = lines(shelf)
    assert line["boxes"] == [[52.0, 12.0, 16.0, 12.0]]
    assert line["box_polygons"] == [[[52.0, 12.0, 68.0, 12.0, 68.0, 24.0]]]
