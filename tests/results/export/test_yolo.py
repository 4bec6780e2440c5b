"""YOLO: read as ultralytics documents it, and compared with what is to be seen in the pictures themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from batcher.errors import UsageError
from batcher.job.labels.categories import Category
from batcher.ledger import database, label_categories
from batcher.results.export import ExportOptions, ExportResult, Splits, export
from tests.support.drawn import BOX, MARGIN, Drawn, frame_of, outline, runs
from tests.support.shelf import Shelf

HALVES = Splits.parse("train=0.5,val=0.5")


def exported(shelf: Shelf, name: str = "dataset", **wishes: Any) -> tuple[ExportResult, Path]:
    into = shelf.folder / name
    return export(shelf.output, ExportOptions(to="yolo", into=into, **wishes)), into


def data(into: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((into / "data.yaml").read_text())
    return found


def rows(into: Path, split: str = "train") -> dict[str, list[tuple[int, list[float]]]]:
    """The rows of each picture that data.yaml leads to, by the way that ultralytics goes: the last /images/
    of a path becomes /labels/."""
    found = {}
    folder = (into / data(into)["path"] / data(into)[split]).resolve()
    for picture in sorted(folder.iterdir()):
        if picture.suffix not in (".png", ".jpg"):
            continue
        text = Path("/labels/".join(str(picture).rsplit("/images/", 1))).with_suffix(".txt").read_text()
        lines = [line.split() for line in text.splitlines()]
        found[picture.name] = [(int(kind), [float(value) for value in values]) for kind, *values in lines]
    return found


def test_rows_say_where_the_frame_is_to_be_seen(drawn: Drawn) -> None:
    drawn.deliver("dog", "cat", outlined=False)
    told, into = exported(drawn.shelf, originals=True)
    assert (told.pictures, told.originals, told.missing) == (2, 2, ())
    assert data(into)["names"] == {0: "cat", 1: "dog"}
    found = rows(into)
    assert len(found) == 4
    for name, of_picture in found.items():
        with Image.open(into / "images" / "train" / name) as picture:
            frame, (width, height) = frame_of(picture), picture.size
        for kind, (x, y, across, down) in of_picture:
            assert kind == (1 if "dog" in name else 0)
            box = ((x - across / 2) * width, (y - down / 2) * height, across * width, down * height)
            assert box == pytest.approx(frame, abs=0.001)
        assert len(of_picture) == 2


def test_where_there_are_outlines_every_row_is_one(drawn: Drawn) -> None:
    drawn.deliver("cat")
    told, into = exported(drawn.shelf, originals=True)
    assert told.notes == ("no split is called val: data.yaml names train for it, for none trains without",)
    for name, of_picture in rows(into).items():
        with Image.open(into / "images" / "train" / name) as picture:
            (left, top, across, down), (width, height) = frame_of(picture), picture.size
        assert len(of_picture) == 2, "one has an outline, one a mask"
        for _, values in of_picture:
            corners = {(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)}
            wanted = {(x, y) for x in (left, left + across) for y in (top, top + down)}
            assert sorted(corners) == [pytest.approx(corner, abs=0.001) for corner in sorted(wanted)]


def test_a_box_without_an_outline_is_its_corners_and_a_crowd_is_left_out_and_both_are_told(
    shelf: Shelf,
) -> None:
    boxes = [list(BOX)] * 3
    labels = {
        "box_polygons": [[outline(BOX)], [], []],
        "box_rles": [None, None, runs(BOX, (64, 48))],
        "box_attributes": [{}, {}, {"iscrowd": 1}],
    }
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=boxes, **labels))
    told, into = exported(shelf)
    ((_, first), (_, second)) = rows(into)["a.png"]
    assert first == second
    assert told.notes[0] == "1 crowd left out: YOLO has no word for them"
    assert told.notes[1].startswith("1 object has no outline: the box's corners stand for it")
    assert told.notes[-1] == "objects of which no row says the class are called object"


def test_the_mask_of_a_crowd_makes_no_set_of_outlines(shelf: Shelf) -> None:
    labels = {"box_rles": [runs(BOX, (64, 48)), None], "box_attributes": [{"iscrowd": 1}, {"iscrowd": 0}]}
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[list(BOX)] * 2, **labels))
    told, into = exported(shelf)
    ((_, values),) = rows(into)["a.png"]
    assert len(values) == 4
    assert "1 crowd left out: YOLO has no word for them" in told.notes


def test_a_picture_without_objects_has_an_empty_file(shelf: Shelf) -> None:
    shelf.deliver(
        shelf.variant("none", shelf.photo("a.png"), boxes=[]),
        shelf.variant("some", shelf.photo("b.png"), boxes=[list(BOX)], box_classes=["cat"]),
    )
    _, into = exported(shelf)
    assert rows(into)["none.png"] == []
    assert (into / "labels" / "train" / "none.txt").read_bytes() == b""


def test_what_reaches_beyond_an_original_is_clipped(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("v", shelf.photo("a.png"), boxes=[[-10, 40, 20, 30]]))
    _, into = exported(shelf, originals=True)
    (original,) = (found for name, found in rows(into).items() if name != "v.png")
    ((_, values),) = original
    assert values == pytest.approx([5 / 64, 44 / 48, 10 / 64, 8 / 48], abs=1e-6)
    ((_, values),) = rows(into)["v.png"]
    assert values == pytest.approx([(MARGIN + 5) / 100, 44 / 48, 10 / 100, 8 / 48], abs=1e-6)


def test_classes_keep_their_old_numbers_also_those_of_which_nothing_is_there(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[list(BOX)], box_classes=["zebra"]))
    ledger = database.open_file(shelf.output / ".batcher" / "ledger.sqlite")
    label_categories.note(ledger, [Category(0, "zebra"), Category(1, "no: 'ant'\n"), Category(2, "1")])
    ledger.commit()
    ledger.close()
    _, into = exported(shelf)
    assert data(into)["names"] == {0: "zebra", 1: "no: 'ant'\n", 2: "1"}
    assert data(into)["nc"] == 3
    assert [kind for kind, _ in rows(into)["a.png"]] == [0]


def test_numbers_without_names_stay_these_numbers(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[list(BOX)] * 2, box_classes=[3, 1]))
    _, into = exported(shelf)
    assert data(into)["names"] == {number: f"class_{number}" for number in range(4)}
    assert [kind for kind, _ in rows(into)["a.png"]] == [3, 1]


@pytest.mark.parametrize(
    ("splits", "named", "notes"),
    [
        ("train=0.5,val=0.5", {"train": "train", "val": "val"}, 0),
        ("train=0.4,validation=0.3,test=0.3", {"train": "train", "val": "validation", "test": "test"}, 0),
        ("train=0.5,test=0.5", {"train": "train", "val": "test", "test": "test"}, 1),
        ("a=0.5,b=0.5", {"train": None, "val": None, "a": "a", "b": "b"}, 2),
    ],
)
def test_data_yaml_names_what_trainers_begin_with(
    shelf: Shelf, splits: str, named: dict[str, str | None], notes: int
) -> None:
    shelf.deliver(*(shelf.variant(f"v{n}", shelf.photo(f"{n}.png"), boxes=[]) for n in range(24)))
    told, into = exported(shelf, splits=Splits.parse(splits))
    found = data(into)
    assert found.keys() == {"path", "nc", "names", *named}
    for key, split in named.items():
        assert found[key] == f"images/{split}" if split else found[key] in ("images/a", "images/b")
        assert (into / found[key]).is_dir()
    assert sum("no split is called" in note for note in told.notes) == notes
    assert sum(len(rows(into, split)) for split in {value.split("/")[1]: key for key, value in found.items()
               if str(value).startswith("images/")}.values()) == 24  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "named"),
    [
        (("TEST", "Train", "Validation"), {"train": "Train", "val": "Validation", "test": "TEST"}),
        (("testing", "training", "dev"), {"train": "training", "val": "dev", "test": "testing"}),
        (("test", "more"), {"train": "more", "val": "test", "test": "test", "more": "more"}),
    ],
)
def test_no_trainer_is_given_the_pictures_that_it_is_judged_by(
    shelf: Shelf, splits: tuple[str, ...], named: dict[str, str]
) -> None:
    photos = [(split, shelf.photo(f"{split}.png")) for split in splits]
    shelf.deliver(*(shelf.variant(split, photo, split=split, boxes=[]) for split, photo in photos))
    _, into = exported(shelf)
    found = {key: value for key, value in data(into).items() if key not in ("path", "nc", "names")}
    assert found == {key: f"images/{split}" for key, split in named.items()}


def wrong(into: Path) -> list[str]:
    """What ultralytics' own check of a data set (`check_det_dataset`, `verify_image_label`) finds wrong by
    its documented rules: files, rows of one kind, shares of the picture, classes, rows that come twice."""
    found = data(into)
    complaints = [f"{key} is not there" for key in ("train", "val", "names") if key not in found]
    if len(found["names"]) != found["nc"]:
        complaints.append("nc is not the number of names")
    for key in {"train", "val", "test"} & found.keys():
        places = found[key] if isinstance(found[key], list) else [found[key]]
        for split in {place.rpartition("/")[2] for place in places}:
            pictures = [path for path in (into / "images" / split).iterdir() if path.suffix != ".jsonl"]
            for path in pictures:
                with Image.open(path) as picture:
                    picture.verify()
                    if min(picture.size) < 10:
                        complaints.append(f"{path.name} is smaller than 10 pixels")
            for label in (into / "labels" / split).iterdir():
                lines = [line.split() for line in label.read_text().splitlines()]
                outlined = any(len(line) > 6 for line in lines)
                if any(len(line) % 2 == 0 or (len(line) >= 7) != outlined for line in lines):
                    complaints.append(f"{label.name} mixes boxes and outlines")
                if any(not 0 <= float(value) <= 1 for line in lines for value in line[1:]):
                    complaints.append(f"{label.name} reaches beyond its picture")
                if any(int(line[0]) not in range(found["nc"]) for line in lines):
                    complaints.append(f"{label.name} has a class of no name")
                if len({*map(tuple, lines)}) < len(lines):
                    complaints.append(f"{label.name} has a row twice")
            if {path.stem for path in pictures} != {
                path.stem for path in (into / "labels" / split).iterdir()
            }:
                complaints.append(f"{split} has not a file of labels for each picture")
    return complaints


@pytest.mark.parametrize("outlined", [False, True])
def test_by_the_rules_of_ultralytics_own_check_nothing_is_wrong(shelf: Shelf, outlined: bool) -> None:
    boxes = [[-10, 40, 20, 30], [8, 4, 16, 12], [60, 44, 30, 30], [0, 0, 64, 48]]
    spike = [60, 44, 90, 44, 90, 74, 62, 47.9, 61, 74]
    more = {"box_polygons": [[], [outline(BOX)], [spike], []]} if outlined else {}
    tasks = []
    for number in range(6):
        photo = shelf.photo(f"{number}.png")
        split = "val" if number > 3 else "train"
        labels: dict[str, Any] = {"boxes": [], "box_classes": []}
        if number:
            labels = {"boxes": boxes, "box_classes": ["a", "b", "c", "a"], **more}
        tasks += [shelf.variant(f"{number}{word}", photo, split=split, **labels) for word in "xy"]
    shelf.deliver(*tasks)
    told, into = exported(shelf, originals=True)
    assert (told.pictures, told.originals, told.missing) == (12, 6, ())
    assert wrong(into) == []
    (into / "labels/train/1x.txt").write_text("0 0.5 0.5 0.2 1.2\n7 0 0 1 0 1 1\n")
    assert len(wrong(into)) == 3, "it finds what is wrong"


def test_a_split_cannot_be_called_as_a_folder_of_the_form(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[]))
    with pytest.raises(UsageError, match="the split images would lie where the form yolo"):
        exported(shelf, splits=Splits.parse("train=0.5,Images=0.5"))
