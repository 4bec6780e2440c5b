"""COCO: read by COCO's own library, and compared with what is to be seen in the pictures themselves."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batcher.errors import UsageError
from batcher.results.export import ExportOptions, ExportResult, Splits, export
from batcher.results.export.placed_objects import ObjectFacts
from batcher.results.export.writer import OF_OBJECTS, ExportFormat
from tests.support.drawn import FRAME, Drawn, frame_of, lattice
from tests.support.shelf import Shelf

HALVES = Splits.parse("train=0.5,test=0.5")


def exported(shelf: Shelf, name: str = "dataset", **wishes: Any) -> tuple[ExportResult, Path]:
    into = shelf.folder / name
    return export(shelf.output, ExportOptions(to="coco", into=into, **wishes)), into


def read(into: Path, split: str = "train") -> Any:
    """COCO's own reader, which prints."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(into / "annotations" / f"instances_{split}.json"))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_boxes_outlines_and_masks_cover_the_frame_that_is_drawn_in_the_picture(drawn: Drawn) -> None:
    drawn.deliver("cat", "dog")
    told, into = exported(drawn.shelf, originals=True)
    assert (told.pictures, told.originals, told.missing, told.notes) == (2, 2, (), ())
    coco = read(into)
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["cat", "dog"]
    seen = 0
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(into / "train" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
            x, y, width, height = frame_of(picture)
        for one in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
            assert one["bbox"] == [x, y, width, height]
            mask = coco.annToMask(one)
            assert mask.shape == (image["height"], image["width"])
            assert mask[y : y + height, x : x + width].all()
            assert mask.sum() == width * height == one["area"]
            seen += 1
    assert seen == 8, "an outline and a mask on each of two variants and two originals"


def test_what_else_a_data_set_says_of_an_object_goes_along_and_a_crowd_stays_one(drawn: Drawn) -> None:
    drawn.deliver("cat", attributes=[{"iscrowd": 0, "id": 17, "score": 0.5}, {"iscrowd": 1}])
    _, into = exported(drawn.shelf)
    coco = read(into)
    first, second = coco.loadAnns(coco.getAnnIds())
    assert (first["iscrowd"], first["source_id"], first["score"]) == (0, 17, 0.5)
    assert (second["iscrowd"], second["segmentation"]["size"]) == (1, [48, 100])
    assert "source_id" not in second


def test_ids_are_the_same_in_every_export_and_none_comes_twice(drawn: Drawn) -> None:
    drawn.deliver("cat", "dog")
    _, first = exported(drawn.shelf, "first")
    drawn.deliver("bird")
    _, second = exported(drawn.shelf, "second", originals=True, splits=HALVES)
    before = {image["file_name"]: image["id"] for image in read(first).dataset["images"]}
    after: dict[str, int] = {}
    annotations: list[int] = []
    for path in (second / "annotations").iterdir():
        found = json.loads(path.read_text())
        after |= {image["file_name"]: image["id"] for image in found["images"]}
        annotations += [one["id"] for one in found["annotations"]]
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after) == 6
    assert len(set(annotations)) == len(annotations) == 12
    assert max(annotations) < 2**53, "a reader of JSON may hold numbers as doubles"
    assert {one["id"] for one in read(first).dataset["annotations"]} <= set(annotations)


def test_a_picture_without_objects_is_one_and_what_the_picture_does_not_show_is_told(shelf: Shelf) -> None:
    shelf.deliver(
        shelf.variant("none", shelf.photo("a.png"), boxes=[], box_classes=[]),
        shelf.variant("some", shelf.photo("b.png"), boxes=[[0, 0, 20, 20], [8, 4, 0.1, 12]]),
    )
    told, into = exported(shelf)
    coco = read(into)
    images = {image["file_name"]: image["id"] for image in coco.dataset["images"]}
    assert images.keys() == {"none.png", "some.png"}
    assert {one["image_id"] for one in coco.dataset["annotations"]} == {images["some.png"]}
    assert [one["name"] for one in coco.dataset["categories"]] == ["object"]
    assert told.notes == (
        "1 object is left out: the pictures do not show that part of their source",
        "objects of which no row says the class are called object",
    )


def test_a_picture_whose_objects_nobody_can_place_is_left_out_and_named(shelf: Shelf) -> None:
    url = "https://photos.example/one.png"
    shelf.deliver(
        shelf.variant("far", url, boxes=[[1, 2, 3, 4]]),
        shelf.variant("stray", shelf.photo("a.png"), boxes=[[900, 4, 5, 5]]),
        shelf.variant("good", shelf.photo("b.png"), boxes=[[1, 2, 3, 4]]),
    )
    told, into = exported(shelf)
    assert [image["file_name"] for image in read(into).dataset["images"]] == ["good.png"]
    assert (told.pictures, told.exit_code, len(told.missing)) == (1, 3, 2)
    images = shelf.output / "images"
    assert told.missing == (
        f"{images}/far.png: it has objects, and it is not known where they lie in it",
        f"{images}/stray.png: box 1: [900, 4, 5, 5] lies outside its picture (64 x 48)",
    )


@pytest.mark.parametrize("none", [[], "[]"])
def test_a_picture_without_objects_is_one_wherever_its_source_lies(tmp_path: Path, none: Any) -> None:
    shelf = Shelf(tmp_path, model="my-model")
    shelf.deliver(shelf.variant("a", "https://photos.example/one.png", boxes=none))
    told, into = exported(shelf)
    assert (told.pictures, told.exit_code, read(into).dataset["annotations"]) == (1, 0, [])


def test_labels_that_change_while_they_are_exported_are_told(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kind in (("a", "cat"), ("b", "dog")):
        labels = {"boxes": [[1, 2, 3, 4]], "box_classes": [kind]}
        shelf.deliver(shelf.variant(name, shelf.photo(f"{name}.png"), **labels))
    learn = ObjectFacts.learn
    monkeypatch.setattr(ObjectFacts, "learn", lambda facts, item: item.name == "b.png" or learn(facts, item))
    told, into = exported(shelf)
    assert [image["file_name"] for image in read(into).dataset["images"]] == ["a.png"]
    sentence = "its labels have changed since the export began; export again"
    assert told.missing == (f"{shelf.output}/images/b.png: {sentence}",)


def test_where_no_picture_can_leave_the_reason_is_told(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, model="my-model")
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[[1, 2, 3, 4]]))
    with pytest.raises(UsageError, match=r"nothing to export as coco \(.*a\.png: it has objects"):
        exported(shelf)
    assert not (tmp_path / "dataset").exists()


@pytest.mark.parametrize("form", sorted(OF_OBJECTS))
def test_a_job_without_labels_makes_no_set_of_pictures_without_objects(
    shelf: Shelf, form: ExportFormat
) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), label="cat"), shelf.variant("b", None))
    with pytest.raises(UsageError, match=f"no picture has labels .*--to {form} would call all of them empty"):
        export(shelf.output, ExportOptions(to=form, into=shelf.folder / "dataset"))
    assert not (shelf.folder / "dataset").exists()


def test_pictures_of_some_of_which_nobody_says_what_is_on_them_leave_and_are_told(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[]), shelf.variant("b", None))
    told, into = exported(shelf)
    assert (told.pictures, read(into).dataset["annotations"]) == (2, [])
    assert told.notes == ("of 1 picture no row says what is on it: it counts as one without objects",)


def test_what_is_excluded_or_set_aside_is_in_no_annotation(shelf: Shelf) -> None:
    shelf.deliver(*(shelf.variant(name, shelf.photo(f"{name}.png"), boxes=[[1, 2, 3, 4]]) for name in "abc"))
    with sqlite3.connect(shelf.output / ".batcher" / "ledger.sqlite") as ledger:
        ledger.execute(
            "UPDATE tasks SET state = 'rejected', rejected_by = 'person', rejected_at = 1.0, reason = 'x' "
            "WHERE name = 'b'"
        )
    ledger.close()
    (shelf.folder / "out.csv").write_text("file_name,why\nimages/a.png,dark\n")
    told, into = exported(shelf, exclude=shelf.folder / "out.csv", originals=True)
    found = read(into).dataset
    assert sorted(image["file_name"][:2] for image in found["images"]) == ["c-", "c."]
    assert len(found["annotations"]) == 2
    assert (told.excluded, told.exit_code) == (1, 0)


def test_numbers_without_names_are_their_own_ids_and_names_stand_in_natural_order(shelf: Shelf) -> None:
    boxes = [[1, 2, 3, 4]] * 3
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=boxes, box_classes=[7, "c10", "c9"]))
    _, into = exported(shelf)
    found = [(one["id"], one["name"]) for one in read(into).dataset["categories"]]
    assert found == [(7, "class_7"), (8, "c9"), (9, "c10")]


def test_variants_and_originals_of_one_name_lie_side_by_side(shelf: Shelf) -> None:
    photo = shelf.photo("p.png")
    shelf.deliver(shelf.variant("v", photo, boxes=[[1, 2, 3, 4]]))
    _, into = exported(shelf, "first", originals=True)
    (original,) = (path.stem for path in (into / "train").glob("p-*.png"))
    shelf.deliver(shelf.variant(original.upper(), photo, boxes=[[1, 2, 3, 4]]))
    told, into = exported(shelf, "second", originals=True)
    assert (told.pictures, told.originals) == (2, 1)
    assert len({path.stem.lower() for path in (into / "train").glob("*.png")}) == 3


def test_names_are_what_they_were_whatever_they_hold(shelf: Shelf) -> None:
    name = 'a "cat"\n]} \x1b[31m ü'
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[[1, 2, 3, 4]], box_classes=[name]))
    _, into = exported(shelf)
    assert [one["name"] for one in read(into).dataset["categories"]] == [name]


def test_it_loads_with_datasets_too(drawn: Drawn, load_dataset: Any) -> None:
    drawn.deliver("cat", "dog")
    _, into = exported(drawn.shelf)
    rows = load_dataset("imagefolder", into / "train")["train"]
    assert sorted(row["box_classes"] for row in rows) == [["cat", "cat"], ["dog", "dog"]]
    assert lattice(rows[0]["image"]) == FRAME
